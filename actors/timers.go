package actors

import (
	"container/heap"
	"time"
)

// timers are the extensions of a shard with something due, the soonest first.
type timers struct {
	heap []timed
}

type timed struct {
	at time.Time
	x  *extension
}

func (t *timers) Len() int           { return len(t.heap) }
func (t *timers) Less(i, j int) bool { return t.heap[i].at.Before(t.heap[j].at) }
func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.heap[i].x.timer, t.heap[j].x.timer = i, j
}
func (t *timers) Push(v any) {
	e := v.(timed)
	e.x.timer = len(t.heap)
	t.heap = append(t.heap, e)
}
func (t *timers) Pop() any {
	e := t.heap[len(t.heap)-1]
	t.heap[len(t.heap)-1] = timed{}
	t.heap = t.heap[:len(t.heap)-1]
	e.x.timer = -1
	return e
}

// set moves the extension to the time; zero takes it out.
func (t *timers) set(x *extension, at time.Time) {
	switch {
	case at.IsZero() && x.timer >= 0:
		heap.Remove(t, x.timer)
	case at.IsZero():
	case x.timer < 0:
		heap.Push(t, timed{at, x})
	case !t.heap[x.timer].at.Equal(at):
		t.heap[x.timer].at = at
		heap.Fix(t, x.timer)
	}
}

// next is when the first one is due; zero: never.
func (t *timers) next() time.Time {
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].at
}
