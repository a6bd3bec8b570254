package bench

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// pacer runs tasks at their times, one after the other in one goroutine. It leaves no task out: a task whose time has passed
// runs at once, and gets the time that it was meant for.
type pacer struct {
	mu      sync.Mutex
	due     taskQueue
	wake    chan struct{}
	maxLate time.Duration // how late a task was at most, since takeMaxLate
}

// task is something to do at a time.
type task struct {
	at          time.Time
	scheduledAt time.Time // it cannot run before this
	do          func(at time.Time)
}

// taskQueue is a heap (container/heap) with the earliest task first.
type taskQueue []task

func (s taskQueue) Len() int           { return len(s) }
func (s taskQueue) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s taskQueue) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *taskQueue) Push(x any)        { *s = append(*s, x.(task)) }
func (s *taskQueue) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = task{}
	*s = (*s)[:last]
	return a
}

func newPacer() *pacer { return &pacer{wake: make(chan struct{}, 1)} }

// schedule has do run at a time. Any goroutine may call it.
func (p *pacer) schedule(at time.Time, do func(at time.Time)) {
	p.mu.Lock()
	heap.Push(&p.due, task{at, time.Now(), do})
	first := p.due[0].at.Equal(at)
	p.mu.Unlock()
	if first {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// stream has do run rate times a second from one time until another, at the random distances of callers who know nothing of
// each other (a Poisson process).
func (p *pacer) stream(rate float64, random *rand.Rand, from, until time.Time, do func(at time.Time)) {
	var next func(at time.Time)
	next = func(at time.Time) {
		if at.After(until) {
			return
		}
		do(at)
		p.schedule(at.Add(time.Duration(random.ExpFloat64()/rate*float64(time.Second))), next)
	}
	p.schedule(from.Add(time.Duration(random.ExpFloat64()/rate*float64(time.Second))), next)
}

// run runs the tasks until ctx ends.
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
			a := heap.Pop(&p.due).(task)
			p.maxLate = max(p.maxLate, min(-wait, time.Since(a.scheduledAt)))
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

// takeMaxLate returns how late a task was at most since the last call. That is the generator's own part of a latency.
func (p *pacer) takeMaxLate() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.maxLate
	p.maxLate = 0
	return d
}

// idle says whether no task is left.
func (p *pacer) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.due) == 0
}
