package bench_test

import (
	"fmt"
	"math"
	"testing"

	"lamplight/actors"
	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
)

// owners counts the shards that each node should hold.
func owners(nodes []string) map[string]int {
	held := map[string]int{}
	for shard := range actors.Shards {
		held[gossip.Owner(journal.RangeOf(shard), nodes)]++
	}
	return held
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("node-%03d.pop.example.com", i)
	}
	return all
}

// perRange is the shards of a range, about.
const perRange = 4.0

// TestScaling checks how clusters of up to 100 nodes divide 1,024 shards: how evenly the shards are spread, how many a crash or a
// new node moves, and that a crash moves no shard of another node. `go test -v -run TestScaling ./bench` prints the table of
// docs/scaling.md.
func TestScaling(t *testing.T) {
	t.Logf("%5s %10s %10s %10s %14s %14s %16s", "nodes", "shards", "most", "max/mean", "a crash moves", "a join moves", "survivors share")
	for _, n := range []int{3, 5, 10, 16, 30, 50, 100} {
		nodes := names(n)
		before := owners(nodes)
		most, mean := 0, float64(actors.Shards)/float64(n)
		for _, shards := range before {
			most = max(most, shards)
		}
		// Rendezvous places ranges as if at random, so the fullest of n nodes is within five standard deviations of the mean.
		if limit := mean + 5*math.Sqrt(mean*perRange); float64(most) > limit {
			t.Errorf("%d nodes: the fullest holds %d shards, more than %.0f", n, most, limit)
		}
		survivors := nodes[1:]
		takers, moved := map[string]int{}, 0
		for shard := range actors.Shards {
			was, is := gossip.Owner(journal.RangeOf(shard), nodes), gossip.Owner(journal.RangeOf(shard), survivors)
			switch {
			case was == nodes[0]:
				takers[is]++
			case was != is:
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("%d nodes: a crash moves %d shards of others", n, moved)
		}
		fullest := 0
		for _, shards := range takers {
			fullest = max(fullest, shards)
		}
		joined := owners(append(names(n), "newcomer"))["newcomer"]
		if share := float64(actors.Shards) / float64(n+1); math.Abs(float64(joined)-share) > 5*math.Sqrt(share*perRange) {
			t.Errorf("%d nodes: a newcomer takes %d shards, its share is %.0f", n, joined, share)
		}
		t.Logf("%5d %10.1f %10d %10.2f %14d %14d %10d (%d each)", n, mean, most, float64(most)/mean, before[nodes[0]], joined, len(takers), fullest)
	}
}
