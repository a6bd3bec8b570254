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
	at int64 // Unix ns: a time.Time would double what each extension costs here
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

// set moves the extension to the time; zero takes it out.
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

// next is when the first one is due, in Unix ns; 0: never.
func (t *timers) next() int64 {
	if len(t.heap) == 0 {
		return 0
	}
	return t.heap[0].at
}
