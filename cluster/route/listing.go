package route

import (
	"context"
	"errors"
	"slices"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// stretchTime is how long one node may take for one stretch of a listing, but no more than a quarter of the time for the
// whole listing. After that its shards are asked of their owners.
const stretchTime = time.Second

// List calls yield with the rows of the realm, sorted by extension, package and Call-ID, from all nodes. It
// blocks until the listing is complete or the context's deadline has come; without one, the default time of a request. The
// coverage names the shards that are missing. An error is yield's, and ends the listing.
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
	l := listing{router: r, query: q, nodes: map[string]*stretch{}, unable: map[string]bool{}, deadline: deadline,
		ownersUntil: time.Now().Add(left * 3 / 4), perStretch: min(left/4, stretchTime)}
	for _, node := range nodes {
		l.nodes[node] = nil
	}
	return l.run(ctx, yield)
}

// ownsAll says whether all shards are open on this node.
func (r *Router) ownsAll() bool {
	for shard := range actors.Shards {
		if r.cfg.System.Generation(shard) == 0 {
			return false
		}
	}
	return true
}

// stretch is a part of a listing that one node gave: rows in order, up to Next.
type stretch struct {
	actors.Window
	node string
	at   int // the rows before it have been passed on
}

// listing is one List over several nodes. Each node gives one stretch at a time. Rows before the nearest end of a stretch
// that has more behind it are merged and passed on. Of a shard that several stretches cover, the rows of the one with the
// highest generation count. Shards that no stretch covers are asked of their owners until ownersUntil. After that they are
// missing, and the listing goes on without them.
type listing struct {
	router      *Router
	query       actors.Query
	nodes       map[string]*stretch // by node: its last stretch; nil: it is still to be asked; a node that failed is taken out
	deadline    time.Time
	ownersUntil time.Time
	perStretch  time.Duration // how long a node may take for one stretch
	missing     actors.ShardSet
	unable      map[string]bool // nodes of a release that does not know the question
	cover       actors.Coverage
	listed      int // the number of extensions that were passed on
}

// run makes the listing. The error is yield's.
func (l *listing) run(ctx context.Context, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	for from := l.query.From; ; {
		l.advance(ctx, from)
		sources := make([]*stretch, 0, len(l.nodes))
		for _, s := range l.nodes {
			sources = append(sources, s)
		}
		until := nearest(sources)
		sources = l.patch(ctx, from, until, sources)
		if ctx.Err() != nil { // the rest of every shard is missing
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

// nearest returns the first extension that lies behind the end of some stretch; "": all stretches reach to the end.
func nearest(sources []*stretch) (until string) {
	for _, s := range sources {
		if s.Next != "" && (until == "" || s.Next < until) {
			until = s.Next
		}
	}
	return until
}

// advance asks those nodes for their next stretch whose last stretch has been passed on to its end.
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

// holders returns the stretch that counts for each shard, and the shards that no stretch covers and that are not known to
// be missing.
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

// patch asks the owners of shards that no stretch covers for the extensions between from and until, until there are none
// such shards or the time for it is over. It returns the sources with what they gave.
func (l *listing) patch(ctx context.Context, from, until string, sources []*stretch) []*stretch {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		_, holes := l.holders(sources)
		if holes.Empty() {
			return sources
		}
		owners := l.router.owners(&holes)
		for node, shards := range owners {
			if l.unable[node] {
				l.missing.Merge(shards)
				delete(owners, node)
			}
		}
		sources = append(sources, l.ask(ctx, owners, from, until, l.ownersUntil)...)
		_, holes = l.holders(sources)
		if holes.Empty() {
			return sources
		}
		if l.router.cutOff() || !sleep(ctx, l.ownersUntil, pause) {
			l.missing.Merge(&holes)
			return sources
		}
	}
}

// ask asks several nodes at the same time for a stretch of some shards each, and blocks until all have answered or
// failed. It leaves out what failed and, of other nodes, what may be out of date.
func (l *listing) ask(ctx context.Context, of map[string]*actors.ShardSet, from, until string, limit time.Time) (all []*stretch) {
	deadline := time.Now().Add(l.perStretch)
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
			l.unable[g.node] = l.unable[g.node] || errors.Is(g.err, presence.ErrInvalid)
			continue
		}
		if w, err := wire.ReadWindow(g.body); err == nil && !w.Stale && (w.Next == "" || w.Next > from) && !slices.ContainsFunc(w.Rows, l.foreign) {
			all = append(all, &stretch{node: g.node, Window: w})
		}
	}
	return all
}

// foreign says whether a row of another node is not of the kind that was asked for.
func (l *listing) foreign(s actors.SubscriptionView) bool {
	return l.query.Lit != (s.Lamp != nil && len(s.Lamp.Dialogs) > 0)
}

// window reads a stretch of this node's shards. It waits for the shards for three quarters of the time only, so that the
// stretch arrives in time even if a shard does not answer: a stretch that is late would miss all shards.
func (r *Router) window(ctx context.Context, m *wire.Window, deadline time.Time) actors.Window {
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)*3/4)
	defer cancel()
	return r.cfg.System.Window(ctx, m.Query, m.Until, &m.Only)
}

// merge passes on the rows before until in order, and stops at the query's limit.
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
