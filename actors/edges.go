package actors

import (
	"sync"
	"unique"

	"lamplight/actors/presence"
)

// behindEdge are the extensions of a shard that have watchers behind one edge, with the number of these watchers.
type behindEdge map[*extension]int32

// edges are the edges that watchers on this node are behind, each with the shards that have such watchers. Any goroutine may
// use it.
type edges struct {
	mu     sync.Mutex
	shards map[string]*ShardSet
}

// set notes whether a shard has watchers behind an edge.
func (e *edges) set(edge string, shard int, has bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.shards[edge]
	switch {
	case has && in == nil:
		in = &ShardSet{}
		e.shards[edge] = in
		fallthrough
	case has:
		in.Add(shard)
	case in != nil:
		if in.Remove(shard); in.Empty() {
			delete(e.shards, edge)
		}
	}
}

// of returns the shards that have watchers behind an edge.
func (e *edges) of(edge string) (in ShardSet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.shards[edge]; known != nil {
		in = *known
	}
	return in
}

// watches says whether any shard has watchers behind an edge.
func (e *edges) watches(edge string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shards[edge] != nil
}

// index notes which edges the watchers of an extension came behind or left.
func (s *shard) index(x *extension, changes []presence.EdgeChange) {
	for _, c := range changes {
		behind := s.edges[c.Edge]
		if behind == nil {
			behind = behindEdge{}
			edge := unique.Make(c.Edge).Value() // one copy for all shards, that keeps no subscription in memory
			if s.edges == nil {
				s.edges = map[string]behindEdge{}
			}
			s.edges[edge] = behind
			s.sys.edges.set(edge, s.id, true)
		}
		if behind[x] += c.By; behind[x] > 0 {
			continue
		}
		if delete(behind, x); len(behind) == 0 {
			delete(s.edges, c.Edge)
			s.sys.edges.set(c.Edge, s.id, false)
		}
	}
}

// indexAll notes the edges of all watchers of an extension that was read from the journal.
func (s *shard) indexAll(x *extension) {
	for _, w := range x.state.Subscriptions() {
		s.index(x, []presence.EdgeChange{{Edge: w.Edge(), By: 1}})
	}
}

// unindex forgets the edges of an extension's watchers. The extension may have panicked in the middle of a change, so unindex does
// not ask it.
func (s *shard) unindex(x *extension) {
	for edge, behind := range s.edges {
		if n := behind[x]; n > 0 {
			s.index(x, []presence.EdgeChange{{Edge: edge, By: -n}})
		}
	}
}

// RenotifyEdge notifies every watcher behind the edge again, a few extensions at a time. It costs a message for each shard that
// has such watchers, and nothing when there are none.
func (s *System) RenotifyEdge(edge string) { s.forBehind(edgeWork{edge: edge}) }

// EndTied ends the subscriptions behind the edge that are tied to its connections, as deactivated, a few extensions at a time. It costs
// what RenotifyEdge does.
func (s *System) EndTied(edge string) { s.forBehind(edgeWork{edge: edge, ends: true}) }

// forBehind tells all shards that have watchers behind the edge.
func (s *System) forBehind(m edgeWork) {
	in := s.edges.of(m.edge)
	for _, shard := range in.List() {
		s.tell(shard, m)
	}
}

// WatchesEdge says whether watchers on this node are behind the edge; "" is the edge of the watchers that name none.
func (s *System) WatchesEdge(edge string) bool { return s.edges.watches(edge) }
