package route

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lamplight/actors"
	"lamplight/cluster/trace"
)

// Go hands a request on and does not block. done is called exactly once with the answer, from any goroutine, perhaps
// before Go returns. done must not block.
func (r *Router) Go(q actors.Request, done func(actors.Answer)) { r.first(q, done, false) }

// first makes the first try of a request. lend says that the caller waits for the answer anyway, so that the shard's turn
// may run in its goroutine (actors.System.Do).
func (r *Router) first(q actors.Request, done func(actors.Answer), lend bool) {
	if q.Deadline.IsZero() {
		q.Deadline = time.Now().Add(r.cfg.Timeout)
	}
	if q.Trace != "" {
		done = r.traced(&q, trace.Client, "ask the owner", done)
	}
	r.route(&try{req: q, done: done, router: r, shard: actors.ShardOf(q.To)}, lend)
}

// traced begins a span for a request, which is traced. It returns what ends the span and calls done.
func (r *Router) traced(q *actors.Request, kind trace.Kind, name string, done func(actors.Answer)) func(actors.Answer) {
	s := r.cfg.Tracer.Under(q.Trace, kind, name)
	s.Note("lamplight.message", fmt.Sprintf("%T", q.Message))
	q.Trace = s.Parent()
	return func(a actors.Answer) {
		s.End(a.Err)
		done(a)
	}
}

// waiter is what a call of Request waits with. It is used again once its answer has come.
type waiter struct {
	reply chan actors.Answer
	done  func(actors.Answer)
	late  *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{reply: make(chan actors.Answer, 1), late: time.NewTimer(time.Hour)}
	w.late.Stop()
	w.done = func(a actors.Answer) { w.reply <- a }
	return w
}}

// answerGrace is how much longer than the deadline Request waits. A request that is not answered by its deadline is ended
// soon after it, with an answer that says whether it may have changed something; that answer is worth more than none.
const answerGrace = 2 * expireEvery

// Request hands a request on and blocks until its answer comes, until answerGrace after its deadline, or until the context
// ends; a context that ends at the request's deadline counts as that deadline. The caller's goroutine may run the shard's
// turn meanwhile. Without an answer the error is ErrUnavailable for a Show, and ErrUnknown for anything else: it may have
// been done, or may be yet.
func (r *Router) Request(ctx context.Context, q actors.Request) actors.Answer {
	if q.Deadline.IsZero() {
		q.Deadline = time.Now().Add(r.cfg.Timeout)
	}
	w := waiters.Get().(*waiter)
	r.first(q, w.done, true)
	var a actors.Answer
	select {
	case a = <-w.reply: // the usual case for a read of this node's own shard
	default:
		var over <-chan struct{}
		if end, ok := ctx.Deadline(); !ok || !end.Equal(q.Deadline) {
			over = ctx.Done()
		}
		w.late.Reset(time.Until(q.Deadline) + answerGrace)
		select {
		case a = <-w.reply:
			w.late.Stop()
		case <-w.late.C:
			return r.unanswered(q) // the answer may still come, so w is not used again
		case <-over:
			return r.unanswered(q)
		}
	}
	waiters.Put(w)
	return a
}

// Look passes an extension of this node as it is to use, if that needs no waiting, and says whether it did: see actors.System.
func (r *Router) Look(to actors.Address, use func(*actors.Answer)) bool {
	return r.cfg.System.Look(to, use)
}

// unanswered is the answer to a request for which none came.
func (r *Router) unanswered(q actors.Request) actors.Answer {
	err := actors.ErrUnknown
	if _, read := q.Message.(actors.Show); read {
		err = actors.ErrUnavailable
	}
	return actors.Answer{Err: r.explain(err)}
}
