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
	"lamplight/transport/kazoo"
)

// How long a Sender waits before it sends a document again.
const (
	resendAfter = 2 * time.Second       // after the last time, when no answer came
	retryAfter  = 50 * time.Millisecond // after a node turned the document away, nobody listened, or it could not be published
	budgetPause = time.Second           // after a node turned the document away because the account is over its budget
)

// ErrGivenUp says that a document was not acknowledged in time. It may or may not have been applied.
var ErrGivenUp = errors.New("not acknowledged in time; the news may or may not be known")

// Sent says what became of a document.
type Sent struct {
	// Err is nil when the document was acknowledged: what it says is durable. A *Refusal says that the document is wrong
	// and was not applied. ErrGivenUp says that the time was over.
	Err     error
	Ignored string    // why acknowledged news changed nothing, such as overtaken; "": it did, or the node does not say
	At      time.Time // when the answer came, or the document was given up
	Repeats int       // how often it was sent again
}

// Sender sends news as NATS requests and repeats each document until it is acknowledged, refused or given up. So a document may
// be applied more than once, and two documents under way at the same time may be applied in either order. Only news of
// subscriptions and calls may be sent so. A command, a register or the counts of a mailbox would overwrite what came in
// between when it is repeated (docs/contract/nats.md, "Replies").
//
// A Sender keeps any number of documents under way. A caller that sends faster than the nodes acknowledge must limit itself:
// Waiting says how many there are. Its methods may be called from any goroutine.
type Sender struct {
	resendAfter, retryAfter time.Duration

	conn    *nats.Conn
	prefix  subject.Prefix
	inbox   string // the first part of the reply subjects; the number of the document follows
	replies *nats.Subscription
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	waiting map[uint64]*pending // by number
	number  uint64              // of the last document
}

// pending is one document that is under way.
type pending struct {
	subject    string
	data       []byte
	until      time.Time
	then       func(Sent)
	sent       time.Time // when it was last sent, or turned away
	turnedAway bool      // it is to be sent again after retryAfter
	repeats    int
}

// NewSender makes a Sender. It starts nothing. The connection belongs to the caller, who closes it after Stop.
func NewSender(conn *nats.Conn, prefix subject.Prefix) *Sender {
	return &Sender{resendAfter: resendAfter, retryAfter: retryAfter, conn: conn, prefix: prefix, inbox: conn.NewInbox(), waiting: map[uint64]*pending{}}
}

// Start subscribes to the replies and starts the goroutine that repeats documents.
func (s *Sender) Start(context.Context) (err error) {
	if s.replies, err = s.conn.Subscribe(s.inbox+".*", s.answered); err != nil {
		return err
	}
	_ = s.replies.SetPendingLimits(-1, -1)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	return nil
}

// Stop ends the repetition and waits for the goroutine. For the documents that are under way then is never called, and a Send
// that waits returns when its context ends.
func (s *Sender) Stop(context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.done.Wait()
	return s.replies.Unsubscribe()
}

// Waiting returns the number of documents that are under way.
func (s *Sender) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Go sends a document and returns. topic is a subject that package subject makes, without the prefix. The Sender repeats the
// document until it is acknowledged or refused, or until is over; the last may be noticed up to 2 s late. It calls then once,
// from a goroutine that serves all documents, so then must not wait. The caller must not change data until then is called.
func (s *Sender) Go(topic string, data []byte, until time.Time, then func(Sent)) {
	p := &pending{subject: s.prefix.Of(topic), data: data, until: until, then: then, sent: time.Now()}
	s.mu.Lock()
	s.number++
	number := s.number
	s.waiting[number] = p
	s.mu.Unlock()
	s.publish(number, p)
}

// Send sends a document as Go does and waits until it is acknowledged (nil), refused (a *Refusal), or ctx ends (ErrGivenUp).
// Without a deadline in ctx it gives up after an hour.
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

// publish sends a document once. One that could not be published is sent again after retryAfter.
func (s *Sender) publish(number uint64, p *pending) {
	if err := s.conn.PublishRequest(p.subject, s.inbox+"."+strconv.FormatUint(number, 10), p.data); err != nil {
		s.mu.Lock()
		p.turnedAway = true
		s.mu.Unlock()
	}
}

// answered handles a reply of a node, or NATS's answer that nobody listens.
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
		p.turnedAway, p.sent = true, now
		if refusal.Reason == kazoo.OverBudget {
			p.sent = now.Add(budgetPause - s.retryAfter)
		}
		p = nil
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
	} else if _, why, found := bytes.Cut(m.Data, []byte(`"Ignored":"`)); found {
		why, _, _ = bytes.Cut(why, []byte{'"'})
		a.Ignored = string(why)
	}
	p.then(a)
}

// refusalOf reads a reply. It returns nil for an acknowledgement. An empty reply is NATS's answer that nobody listens; its
// Refusal has no Code.
func refusalOf(data []byte) *Refusal {
	if bytes.Contains(data, []byte(`"Status":"ok"`)) {
		return nil
	}
	var r struct{ Code, Reason, Details string }
	if len(data) > 0 && json.Unmarshal(data, &r) != nil {
		r.Code, r.Details = "500", fmt.Sprintf("the answer is no JSON object: %.200s", data)
	}
	return &Refusal{Code: r.Code, Reason: r.Reason, Details: r.Details}
}

// run repeats documents until ctx ends.
func (s *Sender) run(ctx context.Context) {
	t := time.NewTicker(s.retryAfter)
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

// repeat sends the documents again that are due, and gives those up whose time is over.
func (s *Sender) repeat(now time.Time) {
	again := map[uint64]*pending{}
	var over []*pending
	s.mu.Lock()
	for number, p := range s.waiting {
		waited := now.Sub(p.sent)
		switch {
		case !p.turnedAway && waited < s.resendAfter, p.turnedAway && waited < s.retryAfter:
		case now.After(p.until):
			delete(s.waiting, number)
			over = append(over, p)
		default:
			p.sent, p.turnedAway = now, false
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
