package actors

import (
	"context"
	"slices"
	"time"

	"lamplight/actors/presence"
)

// pageSize is how many extensions of a listing are in memory at a time.
const pageSize = 500

// pageTime is how long a page may wait for what is in flight.
const pageTime = 12 * time.Second

// page asks a shard for the subscriptions of some of its extensions.
type page struct {
	query Query
	to    []Address
	reply chan<- pageOf
}

type pageOf struct {
	shard int
	rows  []SubscriptionView
	err   error
}

func (s *shard) page(p *page, now time.Time) {
	if !s.open {
		p.reply <- pageOf{shard: s.id, err: ErrUnavailable}
		return
	}
	inFlight := false
	for _, a := range p.to {
		x := s.extensions[a]
		inFlight = inFlight || x != nil && x.ticket > s.durable
	}
	rows := s.rows(p) // as it is now: what comes later may not be kept when this leaves
	e := entry{ticket: s.issued, call: &call{req: Request{Message: p, Deadline: now.Add(pageTime)}, done: func(a Answer) {
		if a.Err != nil {
			rows = nil
		}
		p.reply <- pageOf{shard: s.id, rows: rows, err: a.Err}
	}}}
	switch {
	case !inFlight && s.ready(&e):
		e.call.answer(Answer{})
	case s.standing() == CutOff: // what is in flight may stay so for long
		e.call.answer(Answer{Err: ErrUnavailable})
	default: // it leaves behind what is in flight: a listing never shows what is not kept
		s.queue = append(s.queue, e)
	}
}

func (s *shard) rows(p *page) (rows []SubscriptionView) {
	grace := int(s.sys.cfg.Rules.Grace / time.Second)
	for _, a := range p.to {
		x := s.extensions[a]
		if x == nil {
			continue
		}
		for _, w := range x.state.Subscriptions() {
			if !p.query.HasPackage || w.Package == p.query.Package {
				rows = append(rows, x.view(w, grace, p.query.Bodies))
			}
		}
	}
	return rows
}

// List gives the realm's subscriptions on this node to yield, sorted by extension, package and Call-ID. It holds
// the names of the realm's extensions and one page of subscriptions at a time.
func (s *System) List(ctx context.Context, q Query, yield func(SubscriptionView) error) (Coverage, error) {
	cover := Coverage{Stale: s.cfg.Journal.Away(), Sequence: s.version.Load()}
	users := s.realms.users(q.Realm, q.From)
	slices.Sort(users)
	missing := map[int]bool{}
	listed, last := 0, ""
	for len(users) > 0 {
		chunk := users[:min(pageSize, len(users))]
		users = users[len(chunk):]
		rows, lost, err := s.pageOf(ctx, q, chunk)
		for _, shard := range lost {
			missing[shard] = true
		}
		if err != nil {
			for _, u := range chunk {
				missing[ShardOf(Address{q.Realm, u})] = true
			}
			for _, u := range users {
				missing[ShardOf(Address{q.Realm, u})] = true
			}
			users = nil
		}
		for i := range rows {
			if rows[i].User != last {
				if q.Limit > 0 && listed == q.Limit {
					cover.Next = rows[i].User
					users = nil
					break
				}
				last = rows[i].User
				listed++
			}
			if err := yield(rows[i]); err != nil {
				return cover, err
			}
		}
	}
	for shard := range missing {
		cover.Missing = append(cover.Missing, shard)
	}
	slices.Sort(cover.Missing)
	return cover, nil
}

func (s *System) pageOf(ctx context.Context, q Query, users []string) (rows []SubscriptionView, lost []int, err error) {
	byShard := map[int][]Address{}
	for _, u := range users {
		a := Address{q.Realm, u}
		byShard[ShardOf(a)] = append(byShard[ShardOf(a)], a)
	}
	reply := make(chan pageOf, len(byShard))
	for shard, to := range byShard {
		s.tell(shard, &page{query: q, to: to, reply: reply})
	}
	for range byShard {
		select {
		case p := <-reply:
			if p.err != nil {
				lost = append(lost, p.shard)
			}
			rows = append(rows, p.rows...)
		case <-ctx.Done():
			return rows, lost, ctx.Err()
		}
	}
	slices.SortFunc(rows, func(a, b SubscriptionView) int {
		switch {
		case a.User != b.User:
			return compare(a.User, b.User)
		case a.Package != b.Package:
			return int(a.Package) - int(b.Package)
		}
		return compare(a.CallID, b.CallID)
	})
	return rows, lost, nil
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// Each asks every extension of the realm the same and answers how many refused and the last error.
func (s *System) Each(ctx context.Context, realm string, deadline time.Time, event presence.Event) (Coverage, error) {
	cover := Coverage{Stale: false}
	users := s.realms.users(realm, "")
	slices.Sort(users)
	type result struct {
		shard int
		err   error
	}
	missing := map[int]bool{}
	const parallel = 64
	replies := make(chan result, parallel)
	inFlight := 0
	collect := func() error {
		select {
		case r := <-replies:
			inFlight--
			if r.err != nil {
				missing[r.shard] = true
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, u := range users {
		for inFlight == parallel {
			if err := collect(); err != nil {
				return cover, err
			}
		}
		a := Address{realm, u}
		inFlight++
		s.Do(Request{To: a, Message: event, Deadline: deadline}, func(an Answer) { replies <- result{ShardOf(a), an.Err} })
	}
	for inFlight > 0 {
		if err := collect(); err != nil {
			return cover, err
		}
	}
	for shard := range missing {
		cover.Missing = append(cover.Missing, shard)
	}
	slices.Sort(cover.Missing)
	return cover, nil
}
