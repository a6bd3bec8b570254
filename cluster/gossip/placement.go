package gossip

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Rank returns a node's rendezvous weight for a shard: the member with the highest rank should hold the shard. When a
// member comes or goes, only the shards of which it has the highest rank move. All nodes must compute the same ranks, so
// the hash never changes.
func Rank(shard int, node string) uint64 {
	var d xxhash.Digest
	d.Reset()
	var s [2]byte
	binary.BigEndian.PutUint16(s[:], uint16(shard))
	_, _ = d.WriteString(node)
	_, _ = d.Write(s[:])
	return d.Sum64()
}

// Owner returns the node with the highest rank for a shard, and "" when there are no nodes.
func Owner(shard int, nodes []string) string {
	best, rank := "", uint64(0)
	for _, n := range nodes {
		if r := Rank(shard, n); best == "" || r > rank || r == rank && n < best {
			best, rank = n, r
		}
	}
	return best
}
