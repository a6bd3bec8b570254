package gossip

import (
	"fmt"
	"testing"

	"lamplight/actors"
)

// Rendezvous spreads the shards evenly: no node gets more than half as much again as the mean.
func TestPlacementBalance(t *testing.T) {
	for _, n := range []int{3, 5, 16} {
		names := make([]string, n)
		held := map[string]int{}
		for i := range names {
			names[i] = fmt.Sprintf("node-%d", i)
		}
		for shard := range actors.Shards {
			held[Owner(shard, names)]++
		}
		most := 0
		for _, h := range held {
			most = max(most, h)
		}
		ratio := float64(most) * float64(n) / actors.Shards
		t.Logf("%d nodes: max/mean %.2f", n, ratio)
		if ratio > 1.5 {
			t.Errorf("%d nodes: one holds %.2f times the mean", n, ratio)
		}
	}
}

func BenchmarkOwnerOf16(b *testing.B) {
	names := make([]string, 16)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = Owner(i%actors.Shards, names)
	}
}
