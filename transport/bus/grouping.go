package bus

import (
	"slices"
	"sync"

	"lamplight/actors/presence"
)

// grouping sorts the watchers of a notification by the edge that they are behind. It is used again, to save its memory.
type grouping struct {
	edges    []string                 // the names of the edges, in the order of their first watchers
	index    map[string]int           // from name to index in edges, for the edges from linearScanMax on
	of       []int                    // for each watcher, the index of its edge
	end      []int                    // for each edge, the index in watchers behind its last one
	watchers []*presence.Subscription // sorted by edge
}

// groupings are groupings to be used again. Whoever puts one back clears its watchers first, so that it keeps none in memory.
var groupings = sync.Pool{New: func() any { return &grouping{index: map[string]int{}} }}

// linearScanMax is the number of edges up to which a linear scan beats a map lookup.
const linearScanMax = 8

// group sorts watchers by edge. Watchers behind one edge keep their order.
func (g *grouping) group(watchers []*presence.Subscription) {
	g.edges, g.of, g.end = g.edges[:0], g.of[:0], g.end[:0]
	clear(g.index)
	for _, w := range watchers {
		i := g.edge(w.Edge())
		g.of, g.end[i] = append(g.of, i), g.end[i]+1
	}
	begin := 0
	for i, count := range g.end {
		g.end[i] = begin
		begin += count
	}
	g.watchers = slices.Grow(g.watchers[:0], len(watchers))[:len(watchers)]
	for k, w := range watchers {
		i := g.of[k]
		g.watchers[g.end[i]] = w
		g.end[i]++
	}
}

// edge returns the index of an edge, which it adds if it is new.
func (g *grouping) edge(name string) int {
	if i := slices.Index(g.edges[:min(len(g.edges), linearScanMax)], name); i >= 0 {
		return i
	}
	i, ok := g.index[name]
	if !ok {
		i = len(g.edges)
		g.edges, g.end = append(g.edges, name), append(g.end, 0)
		if i >= linearScanMax {
			g.index[name] = i
		}
	}
	return i
}

// behind returns the watchers behind the edge with index i.
func (g *grouping) behind(i int) []*presence.Subscription {
	if i == 0 {
		return g.watchers[:g.end[0]]
	}
	return g.watchers[g.end[i-1]:g.end[i]]
}
