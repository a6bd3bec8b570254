package directory

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Before this node says that something is unknown, its view must hold all that the bucket held when it was asked.
// One question ("up to which revision are you?") answers everyone who waits at the time, and questions are paced, so
// that a flood of unknown names costs the bucket at most 200 questions a second and this node a bounded queue.
const (
	maxAsking = 1024                 // who may wait for an answer
	askPace   = 5 * time.Millisecond // between two questions
	askTime   = 2 * time.Second      // to wait for the bucket and for the watch
)

// asking is who waits for the view to catch up.
type asking struct {
	mu      sync.Mutex
	waiting []func(error)
	busy    bool // a question is under way, or will be
	closed  bool
	last    time.Time
	ctx     context.Context
	stop    context.CancelFunc
}

func (a *asking) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
}

// later calls then once the view holds what the bucket holds now. It does not block.
func (d *Directory) later(then func(error)) {
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
			d.done.Go(d.askWhileAsked)
		}
	}
	a.mu.Unlock()
	if err != nil {
		then(err)
	}
}

func (d *Directory) catchUp(ctx context.Context) error {
	done := make(chan error, 1)
	d.later(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errAsk, ctx.Err())
	}
}

// askWhileAsked asks until nobody waits.
func (d *Directory) askWhileAsked() {
	a := &d.ask
	for {
		pace := time.NewTimer(time.Until(a.last.Add(askPace)))
		select {
		case <-pace.C:
		case <-a.ctx.Done():
			pace.Stop()
		}
		a.last = time.Now()
		a.mu.Lock() // the question comes after everyone whom it answers
		asked := a.waiting
		a.waiting = nil
		if a.busy = len(asked) > 0; !a.busy {
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		err := d.caughtUp(a.ctx)
		for _, then := range asked {
			then(err)
		}
	}
}

// caughtUp waits until the watch has brought all that the bucket holds now.
func (d *Directory) caughtUp(ctx context.Context) error {
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
			return fmt.Errorf("%w: its changes do not arrive: %w", errAsk, ctx.Err())
		}
	}
}

// reach notes how far the watch has come.
func (d *Directory) reach(revision uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reached = max(d.reached, revision)
	if d.moved != nil {
		close(d.moved)
		d.moved = nil
	}
}
