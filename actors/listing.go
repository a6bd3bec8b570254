package actors

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Bounds of what a listing holds in memory at a time.
const (
	windowSize = 4 << 10          // extensions of a window
	windowRows = 4 << 10          // subscriptions, or dialogs of lamps; once a window has as many, it ends with the extensions asked so far
	firstPage  = 128              // extensions that are asked before it is known how many watchers they have
	pageTime   = 12 * time.Second // how long a page may wait for writes in flight, when its caller sets no deadline
)

// page asks a shard for what a listing shows of some of its extensions.
type page struct {
	caller
	query Query
	to    []Address
	reply chan<- pageOf
}

// pageOf is a shard's answer to a page.
type pageOf struct {
	shard int
	rows  []SubscriptionView
	err   error
}

// page answers a page at once, or behind the writes in flight that its rows show.
func (s *shard) page(p *page, now time.Time) {
	if !s.open || s.flushing {
		p.reply <- pageOf{shard: s.id, err: ErrNotMine}
		return
	}
	inFlight, size := false, 0
	var room [16]*extension
	found := room[:0]
	for _, a := range p.to {
		x := s.extensions[a]
		if x == nil {
			continue
		}
		if x.broken {
			p.reply <- pageOf{shard: s.id, err: ErrUnavailable}
			return
		}
		inFlight = inFlight || x.ticket > s.durable
		if !p.query.Lit {
			size += len(x.state.Subscriptions())
		}
		found = append(found, x)
	}
	rows := make([]SubscriptionView, 0, size) // as they are now: a later change may not be durable when this answer leaves
	for _, x := range found {
		if p.query.Lit {
			if v := x.state.View(); p.query.shows(v) {
				rows = append(rows, SubscriptionView{User: x.state.User(), Lamp: v})
			}
			continue
		}
		for _, w := range x.state.Subscriptions() {
			if !p.query.HasPackage || w.Package == p.query.Package {
				rows = s.view(rows, x, w, p.query.Bodies)
			}
		}
	}
	p.done = func(a Answer) {
		if a.Err != nil {
			rows = nil
		}
		p.reply <- pageOf{shard: s.id, rows: rows, err: a.Err}
	}
	e := entry{ticket: s.issued, caller: &p.caller, read: true}
	switch {
	case !inFlight && s.ready(&e):
		p.answer(Answer{})
	case s.standing() == CutOff: // a write in flight may stay so for long
		p.answer(Answer{Err: ErrUnavailable})
	default: // it leaves behind the writes in flight: a listing never shows what is not durable
		s.queue = append(s.queue, e)
	}
}

// Window is one stretch of a realm's listing on one node.
type Window struct {
	Rows     []SubscriptionView // sorted by extension, package and Call-ID; rows of a shard that is not covered do not count
	Next     string             // the first extension that was left out; "": this was the last stretch
	Covers   [Shards]uint64     // the generation of each shard that this stretch covers completely; 0: it does not
	Stale    bool               // the node can't reach NATS and answers from memory
	Sequence uint64             // grows with every durable change on the node
}

// fill is how much of a window is full.
type fill struct {
	extensions int // that have rows
	rows       int // subscriptions, or dialogs of lamps
}

// add counts the rows from the nth on.
func (f *fill) add(rows []SubscriptionView, nth int) {
	for ; nth < len(rows); nth++ {
		if nth == 0 || rows[nth].User != rows[nth-1].User {
			f.extensions++
		}
		f.rows++
		if v := rows[nth].Lamp; v != nil {
			f.rows += len(v.Dialogs) - 1
		}
	}
}

// Window reads a stretch of a realm's listing: the rows of the extensions from q.From on and, unless until is "", before
// until, in the shards of only (nil: in all). The stretch ends when q.Limit extensions have rows, and earlier if they have
// many rows or many extensions have none. It waits until all shards have answered or the context ends. A shard is covered
// when it was open all the while, answered before the context ended, and the lease is fresh in the end or NATS is out of
// reach.
func (s *System) Window(ctx context.Context, q Query, until string, only *ShardSet) Window {
	w := Window{Sequence: s.version.Load()}
	before := s.generations()
	var lost ShardSet
	var full fill
	limit := min(cmp.Or(q.Limit, windowSize), windowSize)
	size := min(firstPage, limit)
	for asked, from := 0, q.From; asked < windowSize && full.extensions < limit && full.rows < windowRows; from = w.Next {
		var names []Address
		names, w.Next = s.realms.names(q.Realm, from, until, only, min(size, windowSize-asked))
		asked += len(names)
		had := len(w.Rows)
		w.Rows = s.appendPage(ctx, w.Rows, q, names, &lost)
		full.add(w.Rows, had)
		if w.Next == "" || ctx.Err() != nil {
			break
		}
		if size *= 8; full.rows > 0 { // as many as fill the window, if the next ones have as many rows as the last ones
			size = max(1, min((windowRows-full.rows)*asked/full.rows, (limit-full.extensions)*asked/full.extensions))
		}
	}
	after := s.generations()
	w.Stale = s.cfg.Journal.Vouch(&after)
	for shard, generation := range after {
		if generation == before[shard] && !lost.Has(shard) && (only == nil || only.Has(shard)) {
			w.Covers[shard] = generation
		}
	}
	return w
}

// appendPage asks the shards of some extensions for their rows and appends these in the order of names. A shard
// that nothing else waits for answers in the caller's goroutine. Shards that do not answer are added to lost.
func (s *System) appendPage(ctx context.Context, rows []SubscriptionView, q Query, names []Address, lost *ShardSet) []SubscriptionView {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(pageTime)
	}
	var ends [Shards]int // where each shard's part of sorted ends
	for _, a := range names {
		ends[ShardOf(a)]++
	}
	asked := 0
	for shard, n := range ends {
		if n > 0 {
			asked++
		}
		if shard > 0 {
			ends[shard] += ends[shard-1]
		}
	}
	sorted, at := make([]Address, len(names)), ends
	for i := len(names) - 1; i >= 0; i-- {
		shard := ShardOf(names[i])
		at[shard]--
		sorted[at[shard]] = names[i]
	}
	reply := make(chan pageOf, asked)
	for shard, begin := range at {
		if begin < ends[shard] {
			lost.Add(shard)
			s.give(s.shards[shard], &page{caller: caller{deadline: deadline}, query: q, to: sorted[begin:ends[shard]], reply: reply}, true)
		}
	}
	var given [Shards][]SubscriptionView
	total := 0
	for n := 0; n < asked && ctx.Err() == nil; n++ {
		select {
		case p := <-reply:
			if p.err == nil {
				lost.Remove(p.shard)
			}
			given[p.shard] = p.rows
			total += len(p.rows)
		case <-ctx.Done():
		}
	}
	rows = slices.Grow(rows, total)
	for _, a := range names {
		of := &given[ShardOf(a)]
		n := 0
		for n < len(*of) && (*of)[n].User == a.User {
			n++
		}
		rows, *of = append(rows, (*of)[:n]...), (*of)[n:]
	}
	return rows
}

// List passes the rows of the realm on this node to yield, sorted by extension, package and Call-ID. It holds one window of
// them at a time. When yield returns an error, List returns it and passes on no more.
func (s *System) List(ctx context.Context, q Query, yield func(SubscriptionView) error) (Coverage, error) {
	cover := Coverage{Sequence: s.version.Load()}
	covered := AllShards()
	limit, listed, last := q.Limit, 0, ""
	for q.Limit = windowSize; ; {
		w := s.Window(ctx, q, "", nil)
		if ctx.Err() != nil { // all extensions behind this one are missing, so no shard is covered
			covered, w.Next = ShardSet{}, ""
		}
		cover.Stale = cover.Stale || w.Stale
		for shard, generation := range w.Covers {
			if generation == 0 {
				covered.Remove(shard)
			}
		}
		for i := range w.Rows {
			if w.Rows[i].User != last {
				if limit > 0 && listed == limit {
					cover.Next, w.Next = w.Rows[i].User, ""
					break
				}
				last = w.Rows[i].User
				listed++
			}
			if err := yield(w.Rows[i]); err != nil {
				return cover, err
			}
		}
		if q.From = w.Next; w.Next == "" {
			break
		}
	}
	cover.Missing = covered.Missing()
	return cover, nil
}
