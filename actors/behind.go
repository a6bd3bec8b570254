package actors

import "time"

// countBehindEvery is how often a shard counts the watchers that should know more than they were told. Only extensions
// that did something since, or had some that were behind, are looked at.
const countBehindEvery = 500 * time.Millisecond

// suspect notes that watchers of an extension may be behind.
func (s *shard) suspect(x *extension) {
	if len(x.state.Subscriptions()) == 0 {
		return
	}
	if s.suspects == nil {
		s.suspects = map[*extension]struct{}{}
	}
	s.suspects[x] = struct{}{}
}

func (s *shard) countBehind(now time.Time) {
	if now.Sub(s.counted) < countBehindEvery {
		return
	}
	s.counted = now
	var watchers int
	var oldest int64
	for x := range s.suspects {
		n, since := x.state.Behind()
		if n == 0 {
			delete(s.suspects, x)
			continue
		}
		watchers += n
		if at := since.UnixNano(); oldest == 0 || at < oldest {
			oldest = at
		}
	}
	if len(s.suspects) == 0 {
		s.suspects = nil // a map keeps the room that it once needed
	}
	s.showBehind(watchers, oldest)
}

func (s *shard) showBehind(watchers int, oldest int64) {
	s.sys.metrics.behind.Add(float64(watchers - s.behind))
	s.behind = watchers
	s.oldest.Store(oldest)
}

// behindFor is for how many seconds the watcher has been behind that has been for the longest time.
func (s *System) behindFor() float64 {
	var oldest int64
	for _, sh := range s.shards {
		if sh == nil {
			continue // not started
		}
		if at := sh.oldest.Load(); at != 0 && (oldest == 0 || at < oldest) {
			oldest = at
		}
	}
	if oldest == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, oldest)).Seconds(), 0)
}
