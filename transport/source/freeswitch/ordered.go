package freeswitch

import (
	"context"
	"sync"

	"lamplight/transport/source"
)

// ordered sends documents of which the last to arrive counts: the counts of a mailbox, and registrations. The sink keeps no order and
// repeats documents. So one document of each subject is under way at a time, and the newest of those that wait is sent after it.
type ordered struct {
	ctx    context.Context // ends with the source's Run, and in stop
	cancel context.CancelFunc
	sink   source.Sink

	mu      sync.Mutex
	waits   map[string]*source.Document // by the subject of a document that is under way; nil: nothing waits
	stopped bool
	sending sync.WaitGroup
}

func newOrdered(ctx context.Context, sink source.Sink) *ordered {
	ctx, cancel := context.WithCancel(ctx)
	return &ordered{ctx: ctx, cancel: cancel, sink: sink, waits: map[string]*source.Document{}}
}

// send sends a document, now or after the one of the same subject that is under way.
func (o *ordered) send(d source.Document) error {
	o.mu.Lock()
	_, busy := o.waits[d.Subject]
	o.waits[d.Subject] = nil
	if busy {
		o.waits[d.Subject] = &d
	}
	o.mu.Unlock()
	if busy {
		return nil
	}
	return o.pass(d)
}

// pass passes a document to the sink.
func (o *ordered) pass(d source.Document) error {
	return o.sink.Send(o.ctx, d, func(error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		next := o.waits[d.Subject]
		if next == nil || o.stopped {
			delete(o.waits, d.Subject)
			return
		}
		o.waits[d.Subject] = nil
		o.sending.Go(func() { _ = o.pass(*next) }) // which fails only when ctx ends
	})
}

// stop sends nothing any more, and waits until no send is under way.
func (o *ordered) stop() {
	o.mu.Lock()
	o.stopped = true
	o.mu.Unlock()
	o.cancel()
	o.sending.Wait()
}
