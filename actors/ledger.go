package actors

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// EdgeLag says how many watchers behind an edge may show something else than they should.
type EdgeLag struct {
	Watchers   int            // all watchers behind the edge
	Untold     int            // those that should know more than they were told
	Unanswered int            // those that were told it and have not answered for some seconds, or have answered with a failure
	Since      time.Time      // since when the first of both is; the zero time: none is
	Worst      []ExtensionLag // the extensions with such watchers, at most worstMost: those that have had them for longest
}

// ExtensionLag is an extension of which watchers behind one edge may show something else than they should.
type ExtensionLag struct {
	To                 Address
	Untold, Unanswered int
	Since              time.Time
}

// worstMost is the number of extensions that an EdgeLag names.
const worstMost = 5

// Merge adds what other shards or nodes have found of the same edge.
func (l *EdgeLag) Merge(more *EdgeLag) {
	l.Watchers += more.Watchers
	l.Untold += more.Untold
	l.Unanswered += more.Unanswered
	l.Since = earlier(l.Since, more.Since)
	l.Worst = append(l.Worst, more.Worst...)
	l.trim()
}

// trim keeps the worst extensions.
func (l *EdgeLag) trim() {
	slices.SortFunc(l.Worst, func(a, b ExtensionLag) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.To.String(), b.To.String()))
	})
	l.Worst = l.Worst[:min(len(l.Worst), worstMost)]
}

// earlier is the earlier of two times, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// ledger asks a shard what its watchers lag, by edge.
type ledger chan<- map[string]*EdgeLag

// Ledger says what the watchers of this node lag, by edge. "" is the edge of the watchers that name none. It looks at every subscription, so
// it is for people who ask now and then. complete is false when ctx ended before all shards had answered.
func (s *System) Ledger(ctx context.Context) (by map[string]*EdgeLag, complete bool) {
	replies := make(chan map[string]*EdgeLag, Shards)
	for shard := range s.shards {
		s.tell(shard, ledger(replies))
	}
	by = map[string]*EdgeLag{}
	for range s.shards {
		select {
		case some := <-replies:
			for edge, lag := range some {
				if by[edge] == nil {
					by[edge] = &EdgeLag{}
				}
				by[edge].Merge(lag)
			}
		case <-ctx.Done():
			return by, false
		}
	}
	return by, true
}

// ledger says what the watchers of the shard lag.
func (s *shard) ledger(now time.Time) map[string]*EdgeLag {
	by := map[string]*EdgeLag{}
	one := map[string]*ExtensionLag{} // of one extension
	for _, x := range s.extensions {
		for _, w := range x.state.Subscriptions() {
			edge := w.Edge()
			lag := by[edge]
			if lag == nil {
				lag = &EdgeLag{}
				by[edge] = lag
			}
			lag.Watchers++
			since, told := w.Lags(now)
			if since.IsZero() {
				continue
			}
			of := one[edge]
			if of == nil {
				of = &ExtensionLag{To: x.address()}
				one[edge] = of
			}
			if of.Since = earlier(of.Since, since); told {
				of.Unanswered++
			} else {
				of.Untold++
			}
		}
		for edge, of := range one {
			by[edge].Merge(&EdgeLag{Untold: of.Untold, Unanswered: of.Unanswered, Since: of.Since, Worst: []ExtensionLag{*of}})
		}
		clear(one)
	}
	return by
}
