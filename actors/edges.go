package actors

import "lamplight/actors/presence"

// countAll notes the watchers and calls of an extension that was read from the journal.
func (s *shard) countAll(x *extension) {
	for _, w := range x.state.Subscriptions() {
		s.edges.add(x, []presence.CountChange{{Name: w.Edge(), By: 1}})
	}
	s.switches.add(x, x.state.Switches())
}

// RenotifyEdge notifies every watcher behind the edge again, a few extensions at a time. It costs a message for each shard that
// has such watchers, and nothing when there are none.
func (s *System) RenotifyEdge(edge string) { s.forBehind(edgeWork{edge: edge}, edge) }

// EndTied ends the subscriptions behind the edge that are tied to its connections, as deactivated, a few extensions at a time. It costs
// what RenotifyEdge does.
func (s *System) EndTied(edge string) { s.forBehind(edgeWork{edge: edge, ends: true}, edge) }

// forBehind sends a message to all shards that have watchers behind the edge.
func (s *System) forBehind(m any, edge string) {
	in := s.edges.of(edge)
	for _, shard := range in.List() {
		s.tell(shard, m)
	}
}

// WatchesEdge says whether watchers on this node are behind the edge; "" is the edge of the watchers that name none.
func (s *System) WatchesEdge(edge string) bool { return s.edges.has(edge) }
