package route

import (
	"context"
	"time"

	"lamplight/actors"
	"lamplight/cluster/route/wire"
)

// stretchTime is how long one node may take for one stretch of a listing, and no more than a quarter of the whole
// listing's time; then its shards are asked of their owners.
const stretchTime = time.Second

// List yields the realm's subscriptions sorted by extension, package and Call-ID.
func (r *Router) List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	nodes := r.cfg.Nodes()
	if len(nodes) == 1 && nodes[0] == r.cfg.Node && r.ownsAll() {
		return r.cfg.System.List(ctx, q, yield)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.cfg.Timeout)
	}
	left := time.Until(deadline)
	l := listing{router: r, query: q, nodes: map[string]*stretch{}, deadline: deadline, patience: time.Now().Add(left * 3 / 4), each: min(left/4, stretchTime)}
	for _, node := range nodes {
		l.nodes[node] = nil
	}
	return l.run(ctx, yield)
}

func (r *Router) ownsAll() bool {
	for shard := range actors.Shards {
		if r.cfg.System.Generation(shard) == 0 {
			return false
		}
	}
	return true
}

// stretch is what one node gave of a listing, and how far it has been passed on.
type stretch struct {
	actors.Window
	node string
	at   int
}

// listing is one List over several nodes. Each gives a stretch at a time; what lies before the nearest end of a stretch
// that has more behind it is merged and passed on, a shard's rows from the node that covers it at the highest
// generation. Shards that no stretch covers are asked of their owners, until patience ends: then they are named as
// missing and the rest goes on.
type listing struct {
	router   *Router
	query    actors.Query
	nodes    map[string]*stretch // nil: to be asked; a node that failed once is taken out
	deadline time.Time
	patience time.Time
	each     time.Duration // for one stretch
	missing  actors.ShardSet
	cover    actors.Coverage
	listed   int
}

func (l *listing) run(ctx context.Context, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	for from := l.query.From; ; {
		l.advance(ctx, from)
		sources := make([]*stretch, 0, len(l.nodes))
		for _, s := range l.nodes {
			sources = append(sources, s)
		}
		until := nearest(sources)
		sources = l.patch(ctx, from, until, sources)
		if ctx.Err() != nil { // all that comes behind is missing everywhere
			l.missing = actors.AllShards()
			break
		}
		until = nearest(sources)
		if err := l.merge(sources, until, yield); err != nil {
			return l.cover, err
		}
		if from = until; until == "" || l.cover.Next != "" {
			break
		}
	}
	l.cover.Missing = l.missing.List()
	return l.cover, nil
}

// nearest is the first extension that some stretch leaves out; "": none does.
func nearest(sources []*stretch) (until string) {
	for _, s := range sources {
		if s.Next != "" && (until == "" || s.Next < until) {
			until = s.Next
		}
	}
	return until
}

// advance has every node give its next stretch that has come to the end of the last one.
func (l *listing) advance(ctx context.Context, from string) {
	all, asked := actors.AllShards(), map[string]*actors.ShardSet{}
	for node, s := range l.nodes {
		if s == nil || s.Next != "" && s.Next <= from {
			asked[node] = &all
			delete(l.nodes, node)
		}
	}
	for _, s := range l.ask(ctx, asked, from, "", l.deadline) {
		l.nodes[s.node] = s
		if from == l.query.From {
			l.cover.Sequence += s.Sequence
		}
	}
}

// holders says which source covers each shard, and which shards none does.
func (l *listing) holders(sources []*stretch) (by [actors.Shards]*stretch, holes actors.ShardSet) {
	for shard := range by {
		for _, s := range sources {
			if s.Covers[shard] > 0 && (by[shard] == nil || s.Covers[shard] > by[shard].Covers[shard]) {
				by[shard] = s
			}
		}
		if by[shard] == nil && !l.missing.Has(shard) {
			holes.Add(shard)
		}
	}
	return by, holes
}

// patch asks the owners of shards that no source covers for what they hold of them between from and until.
func (l *listing) patch(ctx context.Context, from, until string, sources []*stretch) []*stretch {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		_, holes := l.holders(sources)
		if holes.Empty() {
			return sources
		}
		sources = append(sources, l.ask(ctx, l.router.owners(&holes), from, until, l.patience)...)
		_, holes = l.holders(sources)
		if holes.Empty() {
			return sources
		}
		if l.router.cutOff() || !sleep(ctx, l.patience, pause) {
			l.missing.Merge(&holes)
			return sources
		}
	}
}

// ask asks several nodes at a time for a stretch of some shards.
func (l *listing) ask(ctx context.Context, of map[string]*actors.ShardSet, from, until string, limit time.Time) (all []*stretch) {
	deadline := time.Now().Add(l.each)
	if limit.Before(deadline) {
		deadline = limit
	}
	type given struct {
		node, body string
		err        error
	}
	results := make(chan given, len(of))
	q := l.query
	q.From, q.Limit = from, 0
	if l.query.Limit > 0 {
		q.Limit = l.query.Limit - l.listed + 1
	}
	waiting := 0
	for node, only := range of {
		if node == l.router.cfg.Node {
			continue
		}
		waiting++
		m := &wire.Window{Query: q, Until: until, Only: *only}
		l.router.ask(node, &try{router: l.router, req: actors.Request{Deadline: deadline},
			node: &question{window: m, answered: func(body string, err error) { results <- given{node, body, err} }}})
	}
	if only := of[l.router.cfg.Node]; only != nil {
		w := l.router.window(ctx, &wire.Window{Query: q, Until: until, Only: *only}, deadline)
		l.cover.Stale = l.cover.Stale || w.Stale
		all = append(all, &stretch{node: l.router.cfg.Node, Window: w})
	}
	for range waiting {
		g := <-results
		if g.err != nil {
			continue
		}
		if w, err := wire.ReadWindow(g.body); err == nil && !w.Stale && (w.Next == "" || w.Next > from) {
			all = append(all, &stretch{node: g.node, Window: w})
		}
	}
	return all
}

// window reads a stretch of this node's shards. A shard that is in trouble must not cost the others': the rest of the
// time is for their answer to arrive.
func (r *Router) window(ctx context.Context, m *wire.Window, deadline time.Time) actors.Window {
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)*3/4)
	defer cancel()
	return r.cfg.System.Window(ctx, m.Query, m.Until, &m.Only)
}

// merge passes on what lies before until.
func (l *listing) merge(sources []*stretch, until string, yield func(actors.SubscriptionView) error) error {
	by, _ := l.holders(sources)
	for {
		var first *stretch
		for _, s := range sources {
			if s.at < len(s.Rows) && (until == "" || s.Rows[s.at].User < until) && (first == nil || s.Rows[s.at].User < first.Rows[first.at].User) {
				first = s
			}
		}
		if first == nil {
			return nil
		}
		user := first.Rows[first.at].User
		counts := by[actors.ShardOf(actors.Address{Realm: l.query.Realm, User: user})] == first
		if counts && l.query.Limit > 0 && l.listed == l.query.Limit {
			l.cover.Next = user
			return nil
		}
		if counts {
			l.listed++
		}
		for ; first.at < len(first.Rows) && first.Rows[first.at].User == user; first.at++ {
			if counts {
				if err := yield(first.Rows[first.at]); err != nil {
					return err
				}
			}
		}
	}
}
