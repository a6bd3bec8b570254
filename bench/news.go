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
	patience = 15 * time.Second // until one that is repeated counts as failed
	pause    = 50 * time.Millisecond
)

// news sends documents over several connections and notes how long each took to be acknowledged.
type news struct {
	senders []*client.Sender
	next    atomic.Uint32
	out     atomic.Int64 // sent, and not answered
	why     reasons
}

func newNews(conns []*nats.Conn) (*news, error) {
	n := &news{}
	for _, c := range conns {
		s := client.NewSender(c, "")
		if err := s.Start(context.Background()); err != nil {
			return nil, err
		}
		n.senders = append(n.senders, s)
	}
	return n, nil
}

func (n *news) close() {
	for _, s := range n.senders {
		_ = s.Stop(context.Background())
	}
}

// send sends a document that was meant to leave at a time; then is called once, when it is acknowledged (nil), refused
// or given up.
func (n *news) send(subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	n.sendBy(int(n.next.Add(1)), subject, doc, at, rec, then)
}

// sendBy is send by one of the connections, so that documents stay in order.
func (n *news) sendBy(conn int, subject string, doc []byte, at time.Time, rec *recorder, then func(err error)) {
	n.out.Add(1)
	n.senders[conn%len(n.senders)].Go(subject, doc, at.Add(patience), func(s client.Sent) {
		n.out.Add(-1)
		for range s.Repeats {
			rec.repeat()
		}
		if s.Err == nil {
			rec.took(at, s.At)
		} else {
			n.why.add(s.Err)
			rec.fail()
		}
		if then != nil {
			then(s.Err)
		}
	})
}

// reasons keeps the first few different errors, for the report.
type reasons struct {
	mu   sync.Mutex
	text []string
}

func (r *reasons) add(err error) {
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

func (r *reasons) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.text...)
}
