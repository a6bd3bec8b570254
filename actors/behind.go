package actors

import "time"

// countBehindEvery is how often a shard counts the watchers that are behind: those that should know more than they were
// told.
const countBehindEvery = 500 * time.Millisecond

// suspect notes that watchers of an extension may be behind. Only the extensions that are noted are counted, so that a
// count does not cost a look at all extensions of the shard.
func (s *shard) suspect(x *extension) {
	if len(x.state.Subscriptions()) == 0 {
		return
	}
	if s.suspects == nil {
		s.suspects = map[*extension]struct{}{}
	}
	s.suspects[x] = struct{}{}
}

// countBehind counts the watchers that are behind, if the last count is long enough ago. It drops the extensions that
// have none.
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
		s.suspects = nil // an empty map keeps the memory of its largest size
	}
	s.showBehind(watchers, oldest)
}

// showBehind puts a count into the metrics. oldest is since when the first of these watchers has been behind, in Unix
// nanoseconds.
func (s *shard) showBehind(watchers int, oldest int64) {
	s.sys.metrics.behind.Add(float64(watchers - s.behind))
	s.behind = watchers
	s.oldest.Store(oldest)
}

// behindFor is how long the watcher that has been behind for the longest time has been so, in seconds.
func (s *System) behindFor() float64 {
	var oldest int64
	for _, sh := range s.shards {
		if sh == nil {
			continue // the System has not been started
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
