package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

const (
	topic  = "presence.dialog.acme%2Etest.k1"
	ok     = `{"Status":"ok"}`
	silent = "" // no answer
)

// failed is an error reply with a Code.
func failed(code string) string {
	return `{"Status":"error","Code":"` + code + `","Reason":"reason","Details":"details"}`
}

// senderBed is a Sender that repeats quickly, and a connection that plays the nodes.
type senderBed struct {
	t      *testing.T
	sender *Sender
	nodes  *nats.Conn
}

func newSenderBed(t *testing.T) *senderBed {
	t.Helper()
	url := natstest.Start(t, "").ClientURL()
	connect := func() *nats.Conn {
		c, err := Connect(Options{URL: url}, "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	b := &senderBed{t, NewSender(connect(), "p."), connect()}
	b.sender.resendAfter, b.sender.retryAfter = 20*time.Millisecond, 2*time.Millisecond
	if err := b.sender.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.sender.Stop(context.Background()) })
	return b
}

// answer makes the nodes give these answers, one to each copy of a document, and the last one to all that follow.
func (b *senderBed) answer(answers ...string) {
	b.t.Helper()
	if _, err := b.nodes.Subscribe("p."+topic, func(m *nats.Msg) {
		if answers[0] != silent {
			_ = m.Respond([]byte(answers[0]))
		}
		if len(answers) > 1 {
			answers = answers[1:]
		}
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.nodes.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// send sends a document and returns what became of it.
func (b *senderBed) send(until time.Duration) Sent {
	b.t.Helper()
	became := make(chan Sent, 1)
	b.sender.Go(topic, []byte(`{}`), time.Now().Add(until), func(s Sent) { became <- s })
	return b.await(became)
}

func (b *senderBed) await(became <-chan Sent) Sent {
	b.t.Helper()
	select {
	case s := <-became:
		return s
	case <-time.After(10 * time.Second):
		b.t.Fatal("the document was neither acknowledged nor given up")
	}
	return Sent{}
}

// A Sender repeats a document that is turned away or not answered, and does not repeat one that is acknowledged or refused.
func TestSenderRepeats(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		repeats int
		refused string // Code
	}{
		"acknowledged":                 {[]string{ok}, 0, ""},
		"refused":                      {[]string{failed("400"), ok}, 0, "400"},
		"an unknown realm":             {[]string{failed("404"), ok}, 0, "404"},
		"too many requests":            {[]string{failed("429"), failed("429"), ok}, 2, ""},
		"the owner is out of reach":    {[]string{failed("503"), ok}, 1, ""},
		"no answer":                    {[]string{silent, ok}, 1, ""},
		"turned away, then refused":    {[]string{failed("503"), failed("400"), ok}, 1, "400"},
		"an answer that is no JSON":    {[]string{"x", ok}, 0, "500"},
		"no answer, then out of reach": {[]string{silent, failed("503"), ok}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSenderBed(t)
			b.answer(c.answers...)
			s := b.send(time.Minute)
			var r *Refusal
			if errors.As(s.Err, &r) != (c.refused != "") || r != nil && r.Code != c.refused || r == nil && s.Err != nil || s.Repeats != c.repeats || s.At.IsZero() {
				t.Errorf("%+v, want %d repeats and the refusal %q", s, c.repeats, c.refused)
			}
			if n := b.sender.Waiting(); n != 0 {
				t.Errorf("%d documents wait", n)
			}
		})
	}
}

// A Sender repeats a document until a node listens.
func TestSenderWaitsForANode(t *testing.T) {
	b := newSenderBed(t)
	became := make(chan Sent, 1)
	b.sender.Go(topic, []byte(`{}`), time.Now().Add(time.Minute), func(s Sent) { became <- s })
	repeated := func() bool {
		b.sender.mu.Lock()
		defer b.sender.mu.Unlock()
		return b.sender.waiting[1].repeats > 0
	}
	for end := time.Now().Add(10 * time.Second); !repeated(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the document is not repeated")
		}
	}
	b.answer(ok)
	if s := b.await(became); s.Err != nil || s.Repeats == 0 {
		t.Errorf("%+v", s)
	}
}

// A Sender gives a document up when its time is over, and repeats it until then.
func TestSenderGivesUp(t *testing.T) {
	for name, answers := range map[string][]string{"no answer": {silent}, "turned away": {failed("503")}} {
		t.Run(name, func(t *testing.T) {
			b := newSenderBed(t)
			b.answer(answers...)
			if s := b.send(50 * time.Millisecond); !errors.Is(s.Err, ErrGivenUp) || s.Repeats == 0 {
				t.Errorf("%+v", s)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := b.sender.Send(ctx, topic, []byte(`{}`)); !errors.Is(err, ErrGivenUp) {
				t.Errorf("Send: %v", err)
			}
		})
	}
}

// After Stop nobody is told what became of a document, even if it is acknowledged then.
func TestSenderStops(t *testing.T) {
	b := newSenderBed(t)
	copies, err := b.nodes.SubscribeSync("p." + topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nodes.Flush(); err != nil {
		t.Fatal(err)
	}
	told := make(chan Sent, 1)
	b.sender.Go(topic, []byte(`{}`), time.Now().Add(time.Minute), func(s Sent) { told <- s })
	m, err := copies.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.sender.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Respond([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{b.nodes, b.sender.conn} { // the answer has reached the server, and gone out from there
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if b.sender.Waiting() != 1 || len(told) != 0 {
		t.Errorf("%d documents wait, %d callers were told", b.sender.Waiting(), len(told))
	}
	if err := NewSender(b.nodes, "").Stop(t.Context()); err != nil {
		t.Errorf("Stop of a Sender that was not started: %v", err)
	}
}

// The answer to news that changed nothing says why.
func TestSenderSaysWhatWasIgnored(t *testing.T) {
	b := newSenderBed(t)
	b.answer(`{"Event-Name":"subscription_ack","Status":"ok","Ignored":"overtaken"}`, ok)
	for _, want := range []string{"overtaken", ""} {
		sent := make(chan Sent, 1)
		b.sender.Go(topic, []byte(`{}`), time.Now().Add(10*time.Second), func(s Sent) { sent <- s })
		if s := <-sent; s.Err != nil || s.Ignored != want {
			t.Errorf("%+v, want %q", s, want)
		}
	}
}
