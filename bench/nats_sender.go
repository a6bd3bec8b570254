package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/transport/client"
)

const (
	giveUpAfter = 15 * time.Second      // after the intended time: a request that was repeated until then counts as failed
	retryPause  = 50 * time.Millisecond // between a REST request that a node refused and the next try
)

// natsSender sends documents over several NATS connections and records how long each took until it was acknowledged. Its
// methods may be called from any goroutine.
type natsSender struct {
	senders    []*client.Sender
	next       atomic.Uint32
	unanswered atomic.Int64 // documents that were neither acknowledged, refused nor given up
	failures   errorSamples
}

func newNATSSender(conns []*nats.Conn) (*natsSender, error) {
	n := &natsSender{}
	for _, c := range conns {
		s := client.NewSender(c, "")
		if err := s.Start(context.Background()); err != nil {
			return nil, err
		}
		n.senders = append(n.senders, s)
	}
	return n, nil
}

func (n *natsSender) close() {
	for _, s := range n.senders {
		_ = s.Stop(context.Background())
	}
}

// send sends a document that was meant to leave at a time. then is called once: when the document is acknowledged (nil),
// refused or given up. It may be nil.
func (n *natsSender) send(subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	n.sendBy(int(n.next.Add(1)), subject, doc, at, rec, then)
}

// sendBy sends over one of the connections, so that documents with the same conn leave in order.
func (n *natsSender) sendBy(conn int, subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	n.unanswered.Add(1)
	n.senders[conn%len(n.senders)].Go(subject, doc, at.Add(giveUpAfter), func(s client.Sent) {
		n.unanswered.Add(-1)
		for range s.Repeats {
			rec.repeat()
		}
		if s.Err == nil {
			rec.record(at, s.At)
		} else {
			n.failures.add(s.Err)
			rec.fail()
		}
		if then != nil {
			then(s.Err)
		}
	})
}

// errorSamples keeps the first ten different errors, for the report.
type errorSamples struct {
	mu   sync.Mutex
	text []string
}

func (r *errorSamples) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.text {
		if t == err.Error() {
			return
		}
	}
	if len(r.text) < 10 {
		r.text = append(r.text, err.Error())
	}
}

func (r *errorSamples) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.text...)
}
