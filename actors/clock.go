package actors

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

const (
	clockPace  = 5 * time.Millisecond   // the clock looks at the shards no more often,
	clockSleep = 100 * time.Millisecond // and no less often, because the time of day may jump
)

// alarm wakes the clock when something becomes due before its next look.
type alarm struct {
	at   atomic.Int64 // when the clock looks next, in Unix ns
	wake chan struct{}
}

// set asks for a look at that time, in Unix ns. The caller has noted before what is due then.
func (a *alarm) set(due int64) {
	if due < a.at.Load() {
		select {
		case a.wake <- struct{}{}:
		default: // the clock is about to look
		}
	}
}

// clock sends a tick to each shard that has something due, until ctx ends.
func (s *System) clock(ctx context.Context) {
	t := time.NewTimer(clockSleep)
	defer t.Stop()
	for last := int64(0); ; {
		s.alarm.at.Store(math.MaxInt64) // what becomes due from here on asks for another look, or is seen by this one
		looked := time.Now()
		now := looked.UnixNano()
		back := now < last // the clock was put back: what is due by the clock as it was must not wait until then
		last = now
		next := now + int64(clockSleep)
		for id := range s.dues {
			switch d := s.dues[id].Load(); {
			case d == 0:
			case d > now && !back:
				next = min(next, d)
			default:
				next = now // another look, as soon as may be, sees when it is due after that
				if s.shards[id].ticking.CompareAndSwap(false, true) {
					s.tell(id, tick{})
				}
			}
		}
		s.alarm.at.Store(next)
		t.Reset(max(time.Duration(next-now), clockPace))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.alarm.wake:
			time.Sleep(clockPace - time.Since(looked))
		}
	}
}
