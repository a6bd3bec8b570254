package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
)

// How a Sender repeats. Documents about what happened may be applied twice without harm (docs/contract/nats.md,
// "Replies"); commands may not, and do not belong here.
const (
	sendAgain = 2 * time.Second       // a document without an answer is sent again after this
	sendPause = 50 * time.Millisecond // and one that was turned away after this
)

// ErrGivenUp says that a document was not acknowledged in time: the news in it may or may not be known.
var ErrGivenUp = errors.New("not acknowledged in time")

// Sent is what became of a document.
type Sent struct {
	Err     error // nil: acknowledged; a *Refusal: it is wrong and was not applied; ErrGivenUp
	At      time.Time
	Repeats int // how often it was sent again
}

// Sender sends documents about what happened as NATS requests, and again until they are acknowledged, refused or given
// up. It keeps any number of them under way; who sends faster than the nodes acknowledge has to stop by itself
// (Waiting). Its methods may be called from any goroutine.
type Sender struct {
	conn   *nats.Conn
	prefix subject.Prefix
	inbox  string
	heard  *nats.Subscription
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint64]*pending
	number  uint64
}

// pending is one document that is not acknowledged.
type pending struct {
	subject string
	data    []byte
	until   time.Time
	then    func(Sent)
	sent    time.Time // last
	refused bool      // it was turned away for now
	repeats int
}

// NewSender makes a Sender that has not started. Its connection is the caller's, who closes it after Stop.
func NewSender(conn *nats.Conn, prefix subject.Prefix) *Sender {
	return &Sender{conn: conn, prefix: prefix, inbox: conn.NewInbox(), waiting: map[uint64]*pending{}}
}

// Start begins to hear acknowledgements.
func (s *Sender) Start(context.Context) (err error) {
	if s.heard, err = s.conn.Subscribe(s.inbox+".*", s.answered); err != nil {
		return err
	}
	_ = s.heard.SetPendingLimits(-1, -1)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	return nil
}

// Stop gives up what is not acknowledged, and tells nobody.
func (s *Sender) Stop(context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.done.Wait()
	return s.heard.Unsubscribe()
}

// Waiting is how many documents are under way.
func (s *Sender) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Go sends a document to a subject that package subject makes. It repeats it until it is acknowledged or refused, or
// until the time is over. then is called once, from another goroutine, and must not block.
func (s *Sender) Go(topic string, data []byte, until time.Time, then func(Sent)) {
	p := &pending{subject: s.prefix.Of(topic), data: data, until: until, then: then, sent: time.Now()}
	s.mu.Lock()
	s.number++
	number := s.number
	s.waiting[number] = p
	s.mu.Unlock()
	s.publish(number, p)
}

// Send is Go for a caller that waits, at most until ctx ends.
func (s *Sender) Send(ctx context.Context, topic string, data []byte) error {
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(time.Hour)
	}
	answer := make(chan Sent, 1)
	s.Go(topic, data, until, func(a Sent) { answer <- a })
	select {
	case a := <-answer:
		return a.Err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrGivenUp, ctx.Err())
	}
}

func (s *Sender) publish(number uint64, p *pending) {
	if err := s.conn.PublishRequest(p.subject, s.inbox+"."+strconv.FormatUint(number, 10), p.data); err != nil {
		s.mu.Lock()
		p.refused = true
		s.mu.Unlock()
	}
}

// answered takes a reply.
func (s *Sender) answered(m *nats.Msg) {
	now := time.Now()
	number, err := strconv.ParseUint(subject.Last(m.Subject), 10, 64)
	if err != nil {
		return
	}
	refusal := refusalOf(m.Data)
	later := refusal != nil && (refusal.Code == "" || refusal.Code == "429" || refusal.Code == "503")
	s.mu.Lock()
	p := s.waiting[number]
	if p != nil && later {
		p.refused, p.sent, p = true, now, nil
	}
	if p != nil {
		delete(s.waiting, number)
	}
	s.mu.Unlock()
	if p == nil {
		return
	}
	a := Sent{At: now, Repeats: p.repeats}
	if refusal != nil {
		a.Err = refusal
	}
	p.then(a)
}

// refusalOf is what an answer refuses; nil for an acknowledgement. A refusal without a code is NATS's: nobody was there.
func refusalOf(data []byte) *Refusal {
	if bytes.Contains(data, []byte(`"Status":"ok"`)) {
		return nil
	}
	var r struct{ Code, Reason, Details string }
	if len(data) > 0 && json.Unmarshal(data, &r) != nil {
		r.Code, r.Details = "500", fmt.Sprintf("an answer that can't be read: %.200s", data)
	}
	return &Refusal{Code: r.Code, Reason: r.Reason, Details: r.Details}
}

// run sends again what was turned away or not answered.
func (s *Sender) run(ctx context.Context) {
	t := time.NewTicker(sendPause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.repeat(now)
		}
	}
}

func (s *Sender) repeat(now time.Time) {
	again := map[uint64]*pending{}
	var over []*pending
	s.mu.Lock()
	for number, p := range s.waiting {
		waited := now.Sub(p.sent)
		switch {
		case !p.refused && waited < sendAgain, p.refused && waited < sendPause:
		case now.After(p.until):
			delete(s.waiting, number)
			over = append(over, p)
		default:
			p.sent, p.refused = now, false
			p.repeats++
			again[number] = p
		}
	}
	s.mu.Unlock()
	for number, p := range again {
		s.publish(number, p)
	}
	for _, p := range over {
		p.then(Sent{Err: ErrGivenUp, At: now, Repeats: p.repeats})
	}
}
