package gossip

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Rank is a node's rendezvous weight for a shard: the node with the highest rank is where the shard should be.
func Rank(shard int, node string) uint64 {
	var d xxhash.Digest
	d.Reset()
	var s [2]byte
	binary.BigEndian.PutUint16(s[:], uint16(shard))
	_, _ = d.WriteString(node)
	_, _ = d.Write(s[:])
	return d.Sum64()
}

// Owner is the node with the highest rank, "" of none.
func Owner(shard int, nodes []string) string {
	best, rank := "", uint64(0)
	for _, n := range nodes {
		if r := Rank(shard, n); best == "" || r > rank || r == rank && n < best {
			best, rank = n, r
		}
	}
	return best
}
