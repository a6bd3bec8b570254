package actors

import (
	"container/heap"
	"time"

	"lamplight/actors/presence"
)

// timers are the extensions of a shard that have something due, as a heap with the soonest first. It implements
// heap.Interface. Each extension knows its index.
type timers struct {
	heap []timed
}

type timed struct {
	at int64 // Unix ns; a time.Time would double what each extension takes here
	x  *extension
}

func (t *timers) Len() int           { return len(t.heap) }
func (t *timers) Less(i, j int) bool { return t.heap[i].at < t.heap[j].at }
func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].x.timer, t.heap[j].x.timer = int32(i), int32(j)
}
func (t *timers) Push(v any) {
	e := v.(timed)
	e.x.timer = int32(len(t.heap))
	t.heap = append(t.heap, e)
}
func (t *timers) Pop() any {
	e := t.heap[len(t.heap)-1]
	t.heap[len(t.heap)-1] = timed{}
	t.heap = t.heap[:len(t.heap)-1]
	e.x.timer = -1
	return e
}

// set sets when the extension is due; the zero time takes it out.
func (t *timers) set(x *extension, at time.Time) {
	switch {
	case at.IsZero() && x.timer >= 0:
		heap.Remove(t, int(x.timer))
	case at.IsZero():
	case x.timer < 0:
		heap.Push(t, timed{at.UnixNano(), x})
	case t.heap[x.timer].at != at.UnixNano():
		t.heap[x.timer].at = at.UnixNano()
		heap.Fix(t, int(x.timer))
	}
}

// next returns when the soonest extension is due, in Unix ns; 0: none is.
func (t *timers) next() int64 {
	if len(t.heap) == 0 {
		return 0
	}
	return t.heap[0].at
}

// renotifyPerTick is how many extensions of the backlog a shard tells again in one tick, so that a takeover or an edge that
// returns does not hold up requests.
const renotifyPerTick = 20

// tick does all that time does to a shard: it lets the extensions that are due run their timers, tells a part of the
// backlog again, lets entries leave that waited for the lease, and answers callers whose deadline has passed.
func (s *shard) tick(now time.Time) {
	s.ticked = now
	for at := s.timers.next(); at != 0 && at <= now.UnixNano() && s.open && !s.flushing; at = s.timers.next() {
		x := heap.Pop(&s.timers).(timed).x
		if !x.broken {
			s.apply(x, presence.Tick{}, nil, now)
		}
	}
	for i := 0; i < renotifyPerTick && len(s.backlog) > 0 && !s.paused && !s.flushing && s.standing() == Fresh; i++ {
		r := s.backlog[0]
		s.backlog = s.backlog[1:]
		if s.extensions[r.x.address()] == r.x && !r.x.broken {
			s.apply(r.x, r.event(), nil, now)
		}
	}
	s.tickSources(now)
	s.release(now)
	given := s.givenUp(now)
	for i := range s.queue {
		if c := s.queue[i].caller; c != nil && c.done != nil && (now.After(c.deadline) || s.queue[i].wrote && s.queue[i].at.Before(given)) {
			if s.queue[i].wrote {
				c.answer(Answer{Err: ErrUnknown})
			} else {
				c.answer(Answer{Err: ErrUnavailable})
			}
		}
	}
	s.expire(now)
	s.countBehind(now)
	s.countAnswers(now)
	if s.waits > 0 {
		for _, x := range s.extensions {
			if len(x.waits) > 0 {
				s.replied(x, now)
			}
		}
	}
}

// giveUpAfter is how long a change waits for a NATS server that takes no writes. A server that is started again after an error
// takes writes within about this time.
const giveUpAfter = time.Second

// givenUp returns the moment before which no change that waits will be durable soon, because the node knows that its NATS server
// takes no writes, for example on a full disk. The zero time: it does not.
func (s *shard) givenUp(now time.Time) time.Time {
	if len(s.queue) == 0 || s.sys.cfg.Trouble == nil || s.standing() != CutOff || s.sys.cfg.Trouble() == nil {
		return time.Time{}
	}
	return now.Add(-giveUpAfter)
}

// expire answers the callers that wait for the shard to open and have waited long enough. It asks whether the shard is
// still to be opened here, because a shard that was never opened here is not dropped either.
func (s *shard) expire(now time.Time) {
	if len(s.waiting) == 0 {
		return
	}
	if !s.sys.cfg.Journal.Mine(s.id) {
		s.refuseWaiting()
		return
	}
	keep := s.waiting[:0]
	for _, c := range s.waiting {
		if now.After(c.deadline) {
			c.answer(Answer{Err: ErrUnavailable})
			continue
		}
		keep = append(keep, c)
	}
	clear(s.waiting[len(keep):])
	s.waiting = keep
}

// schedule sets when the clock ticks this shard next. Work that needs a look soon counts from the last tick and not from
// now: else requests in quick succession would put the tick off for ever.
func (s *shard) schedule(now time.Time) {
	var due int64
	if now.UnixNano() < s.ticked.UnixNano() {
		s.ticked = now // the clock was put back
	}
	soon := func(d time.Duration) {
		if at := s.ticked.Add(d).UnixNano(); due == 0 || at < due {
			due = at
		}
	}
	if s.open && !s.flushing {
		due = s.timers.next()
		s.watchSources(soon)
	}
	if len(s.queue) > 0 || len(s.backlog) > 0 || s.waits > 0 {
		soon(20 * time.Millisecond)
	}
	if len(s.suspects) > 0 {
		soon(countBehindEvery)
	}
	if len(s.unanswered) > 0 || s.unansweredBy.Load() != nil {
		soon(countAnswersEvery)
	}
	if len(s.waiting) > 0 {
		soon(50 * time.Millisecond)
	}
	if s.sys.dues[s.id].Swap(due) != due && due != 0 {
		s.sys.alarm.set(due)
	}
}
