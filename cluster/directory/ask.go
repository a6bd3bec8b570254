package directory

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Before this node says that something is unknown, its view must have all that the bucket had when the caller asked. One
// question to the bucket ("what is your last revision?") serves all callers that wait at that time, and there is a pause
// between two questions. So a flood of unknown names costs the bucket at most 200 questions a second, and this node a
// bounded queue.
const (
	maxAsking = 1024                 // callers that wait
	askPace   = 5 * time.Millisecond // the time between two questions
	askTime   = 2 * time.Second      // how long the bucket and the watch together may take
)

// asking is the callers that wait until the view has caught up with the bucket.
type asking struct {
	mu      sync.Mutex
	waiting []func(error)
	busy    bool // answerWaiting runs
	closed  bool
	last    time.Time // of the last question; only answerWaiting uses it
}

// close makes every later caller get an error. Those that wait get one because Directory.life has ended.
func (a *asking) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
}

// whenCaughtUp calls then once, when the view has all that the bucket has now, or with an error. It does not block. then
// runs on another goroutine, or, with ErrBusy and after Stop, before whenCaughtUp returns.
func (d *Directory) whenCaughtUp(then func(error)) {
	a := &d.ask
	a.mu.Lock()
	var err error
	switch {
	case a.closed:
		err = errAsk
	case len(a.waiting) >= maxAsking:
		err = ErrBusy
	default:
		a.waiting = append(a.waiting, then)
		if !a.busy {
			a.busy = true
			d.done.Go(d.answerWaiting)
		}
	}
	a.mu.Unlock()
	if err != nil {
		then(err)
	}
}

// catchUp blocks until the view has all that the bucket has now, or the context ends.
func (d *Directory) catchUp(ctx context.Context) error {
	done := make(chan error, 1)
	d.whenCaughtUp(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errAsk, ctx.Err())
	}
}

// answerWaiting asks the bucket, for all callers that wait, until there are none.
func (d *Directory) answerWaiting() {
	a := &d.ask
	for {
		pace := time.NewTimer(time.Until(a.last.Add(askPace)))
		select {
		case <-pace.C:
		case <-d.life.Done():
			pace.Stop()
		}
		a.last = time.Now()
		a.mu.Lock() // callers are taken before the question is sent, so the answer is new enough for all of them
		asked := a.waiting
		a.waiting = nil
		if a.busy = len(asked) > 0; !a.busy {
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		err := d.awaitWatch(d.life)
		for _, then := range asked {
			then(err)
		}
	}
}

// awaitWatch asks for the bucket's last revision, and blocks until the watch has brought it.
func (d *Directory) awaitWatch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	info, err := d.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errAsk, err)
	}
	for {
		d.mu.Lock()
		if d.reached >= info.State.LastSeq {
			d.mu.Unlock()
			return nil
		}
		if d.moved == nil {
			d.moved = make(chan struct{})
		}
		moved := d.moved
		d.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("%w: its watch lags behind: %w", errAsk, ctx.Err())
		}
	}
}

// noteRevision notes that the view has all that the bucket had at a revision, and wakes those who wait for it.
func (d *Directory) noteRevision(revision uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reached = max(d.reached, revision)
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}
