package actors

import (
	"fmt"
	"maps"
	"time"

	"lamplight/actors/presence"
)

// Rules are the system's rules, as extensions see them.
func (s *System) Rules() *presence.Rules { return &s.cfg.Rules }

// Break has an extension panic at its next event: it takes its state away.
func (s *System) Break(to Address) {
	s.shards[ShardOf(to)].extensions[to].state = presence.New(to.Realm, to.User, nil)
}

// TickedAt sets when a shard had its last tick.
func (s *System) TickedAt(shard int, at time.Time) { s.shards[shard].ticked = at }

// CheckEdges says what is wrong with the index from edges to extensions of a shard that is idle; "": nothing is.
func (s *System) CheckEdges(shard int) string {
	sh := s.shards[shard]
	sh.running.Lock()
	defer sh.running.Unlock()
	want := map[string]behindEdge{}
	for _, x := range sh.extensions {
		for _, w := range x.state.Subscriptions() {
			if want[w.Edge()] == nil {
				want[w.Edge()] = behindEdge{}
			}
			want[w.Edge()][x]++
		}
	}
	for edge, behind := range sh.edges {
		if !maps.Equal(behind, want[edge]) || !s.WatchesEdge(edge) {
			return fmt.Sprintf("behind %q are %v, not %v", edge, want[edge], behind)
		}
	}
	if len(sh.edges) != len(want) {
		return fmt.Sprintf("%d edges, not %d", len(want), len(sh.edges))
	}
	return ""
}
