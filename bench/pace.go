package bench

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pacer lets things happen at their time, one after the other in one goroutine. What comes late is not left out: it
// happens at once, and is told the time that it was meant for.
type pacer struct {
	mu     sync.Mutex
	due    schedule
	wake   chan struct{}
	behind time.Duration // the most that it was late
}

type appointment struct {
	at   time.Time
	made time.Time // it can't happen before
	do   func(at time.Time)
}

type schedule []appointment

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(appointment)) }
func (s *schedule) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = appointment{}
	*s = (*s)[:last]
	return a
}

func newPacer() *pacer { return &pacer{wake: make(chan struct{}, 1)} }

// at lets do happen at a time. Any goroutine may call it.
func (p *pacer) at(at time.Time, do func(at time.Time)) {
	p.mu.Lock()
	heap.Push(&p.due, appointment{at, time.Now(), do})
	first := p.due[0].at.Equal(at)
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// stream lets do happen rate times a second, as independent callers would (a Poisson process), from one time to another.
func (p *pacer) stream(rate float64, random *rand.Rand, from, until time.Time, do func(at time.Time)) {
	var next func(at time.Time)
	next = func(at time.Time) {
		if at.After(until) {
			return
		}
		do(at)
		p.at(at.Add(time.Duration(random.ExpFloat64()/rate*float64(time.Second))), next)
	}
	p.at(from.Add(time.Duration(random.ExpFloat64()/rate*float64(time.Second))), next)
}

// run works until ctx ends.
func (p *pacer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := time.Hour
		p.mu.Lock()
		if len(p.due) > 0 {
			wait = time.Until(p.due[0].at)
		}
		if wait <= 0 {
			a := heap.Pop(&p.due).(appointment)
			p.behind = max(p.behind, min(-wait, time.Since(a.made)))
			p.mu.Unlock()
			a.do(a.at)
			continue
		}
		p.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// late gives the most that anything was late since it was asked last: the generator's own part of a latency.
func (p *pacer) late() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.behind
	p.behind = 0
	return d
}

// idle says that nothing is due any more.
func (p *pacer) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.due) == 0
}
