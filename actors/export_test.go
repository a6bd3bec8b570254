package actors

import (
	"fmt"
	"maps"
	"time"

	"lamplight/actors/presence"
)

// Rules are the system's rules, as extensions see them.
func (s *System) Rules() *presence.Rules { return &s.cfg.Rules }

// SetRoom sets Config.Room. No shard may have a turn meanwhile.
func (s *System) SetRoom(room func(realm string, holds int64) error) { s.cfg.Room = room }

// Break has an extension panic at its next event: it takes its state away.
func (s *System) Break(to Address) {
	s.shards[ShardOf(to)].extensions[to].state = presence.New(to.Realm, to.User, nil)
}

// TickedAt sets when a shard had its last tick.
func (s *System) TickedAt(shard int, at time.Time) { s.shards[shard].ticked = at }

// CheckCounts says what is wrong with the indexes from edges and switches to extensions of a shard that is idle; "": nothing is.
func (s *System) CheckCounts(shard int) string {
	sh := s.shards[shard]
	sh.running.Lock()
	defer sh.running.Unlock()
	edges, switches := map[string]map[*extension]int32{}, map[string]map[*extension]int32{}
	count := func(in map[string]map[*extension]int32, name string, x *extension, n int32) {
		if in[name] == nil {
			in[name] = map[*extension]int32{}
		}
		in[name][x] += n
	}
	for _, x := range sh.extensions {
		for _, w := range x.state.Subscriptions() {
			count(edges, w.Edge(), x, 1)
		}
		for _, c := range x.state.Switches() {
			count(switches, c.Name, x, c.By)
		}
	}
	for _, c := range []struct {
		what string
		have *shardCounts
		want map[string]map[*extension]int32
	}{{"edges", &sh.edges, edges}, {"switches", &sh.switches, switches}} {
		for name, n := range c.have.names {
			if !maps.Equal(n.of, c.want[name]) || !c.have.node.has(name) {
				return fmt.Sprintf("%s: under %q are %v, not %v", c.what, name, n.of, c.want[name])
			}
		}
		if len(c.have.names) != len(c.want) {
			return fmt.Sprintf("%d %s, not %d", len(c.have.names), c.what, len(c.want))
		}
	}
	return ""
}

func init() { countAnswersEvery = 20 * time.Millisecond }
