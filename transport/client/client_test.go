package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

// Ask returns every answer of a request, and an error for a refusal, a part that is missing, and no answer at all.
func TestAsk(t *testing.T) {
	conn, err := Connect(Options{URL: natstest.Start(t, "").ClientURL()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := New(Config{Conn: conn, App: "test", AppVersion: "1"})
	const part, last = `{"Event-Name":"search_partial_resp","Part":1}`, `{"Event-Name":"search_resp","Part":1}`
	var refusal *Refusal
	for name, k := range map[string]struct {
		answers []string
		got     int
		right   func(error) bool
	}{
		"one answer": {[]string{`{"Event-Name":"set_ack","Status":"ok"}`}, 1, func(err error) bool { return err == nil }},
		"parts":      {[]string{part, last}, 2, func(err error) bool { return err == nil }},
		"a part is lost": {[]string{last}, 1, func(err error) bool {
			return err != nil && err.Error() == "0 of 1 parts of the answer arrived; ask again"
		}},
		"refused": {[]string{failed("404")}, 0, func(err error) bool {
			return errors.As(err, &refusal) && refusal.Code == "404" && refusal.Details == "details"
		}},
		"no JSON":        {[]string{"x"}, 0, func(err error) bool { return err != nil }},
		"silence":        {[]string{}, 0, func(err error) bool { return errors.Is(err, ErrNoAnswer) }},
		"nobody listens": {nil, 0, func(err error) bool { return errors.Is(err, ErrNoNode) }},
		"half an answer": {[]string{part}, 1, func(err error) bool { return errors.Is(err, ErrNoAnswer) }},
	} {
		t.Run(name, func(t *testing.T) {
			if k.answers != nil {
				s, err := conn.Subscribe(topic, func(m *nats.Msg) {
					for _, a := range k.answers {
						_ = m.Respond([]byte(a))
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = s.Unsubscribe() }()
			}
			patience := 10 * time.Second
			if k.right(ErrNoAnswer) {
				patience = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := 0
			if err := c.Ask(ctx, topic, "x", nil, func(Answer) error { got++; return nil }); !k.right(err) || got != k.got {
				t.Errorf("%d answers, %v", got, err)
			}
		})
	}
}
