package cluster

import (
	"context"
	"errors"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Router takes a message to the owner of its extension and brings the answer back. Its methods may be called from
// any goroutine.
type Router struct {
	System  *actors.System
	Timeout time.Duration // of a request that brings no deadline
}

// Go hands a request on. done is called exactly once, from any goroutine, and must not block.
func (r *Router) Go(q actors.Request, done func(actors.Answer)) {
	if q.Deadline.IsZero() {
		q.Deadline = time.Now().Add(r.Timeout)
	}
	r.System.Do(q, done)
}

// Request is Go for a caller that waits. Its answer comes by the deadline; a change that was not confirmed by then
// is ErrUnknown.
func (r *Router) Request(ctx context.Context, q actors.Request) actors.Answer {
	reply := make(chan actors.Answer, 1)
	r.Go(q, func(a actors.Answer) { reply <- a })
	select {
	case a := <-reply:
		return a
	case <-ctx.Done():
		if _, read := q.Message.(actors.Show); read {
			return actors.Answer{Err: actors.ErrUnavailable}
		}
		return actors.Answer{Err: actors.ErrUnknown}
	}
}

// List yields the realm's subscriptions sorted by extension, package and Call-ID.
func (r *Router) List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	return r.System.List(ctx, q, yield)
}

// ResetRealm resets every extension of the realm.
func (r *Router) ResetRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.each(ctx, realm, presence.Reset{})
}

// EndRealm ends all that is held of a realm that no account has any more.
func (r *Router) EndRealm(ctx context.Context, realm string) (actors.Coverage, error) {
	return r.each(ctx, realm, presence.End{Reason: "noresource"})
}

func (r *Router) each(ctx context.Context, realm string, e presence.Event) (actors.Coverage, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(r.Timeout)
	}
	cover, err := r.System.Each(ctx, realm, deadline, e)
	if errors.Is(err, context.DeadlineExceeded) {
		err = actors.ErrUnknown
	}
	return cover, err
}
