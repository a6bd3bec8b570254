package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/subject"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

// fake is a Source that does what the test says.
type fake struct {
	run func(ctx context.Context, sink Sink) error
}

func (f *fake) Name() string                             { return "fake" }
func (f *fake) Run(ctx context.Context, sink Sink) error { return f.run(ctx, sink) }

// Documents are sent until the nodes acknowledge or refuse them. What a source says of itself comes before what it tells, and when it is
// stopped it says so.
func TestRun(t *testing.T) {
	s := natstest.Start(t, "")
	nodes := natstest.Connect(t, s)
	var turnedAway atomic.Int32
	ups := make(chan string, 100)
	listen := func(topic string, handle nats.MsgHandler) {
		t.Helper()
		if _, err := nodes.Subscribe("p."+topic, handle); err != nil {
			t.Fatal(err)
		}
	}
	listen(subject.AnyDialogUpdate, func(m *nats.Msg) {
		answer := `{"Status":"ok"}`
		switch {
		case strings.Contains(string(m.Data), "wrong"):
			answer = `{"Status":"error","Code":"400","Reason":"validation error","Details":"no"}`
		case turnedAway.Add(1) <= 3:
			answer = `{"Status":"error","Code":"503","Reason":"datastore_unreachable"}`
		}
		_ = m.Respond([]byte(answer))
	})
	listen(subject.AnySourceUp, func(m *nats.Msg) {
		var d struct {
			Incarnation string
			Expires     int
		}
		_ = json.Unmarshal(m.Data, &d)
		ups <- fmt.Sprint(d.Incarnation, " ", d.Expires)
		_ = m.Respond([]byte(`{"Status":"ok"}`))
	})
	listen(subject.SwitchGone, func(m *nats.Msg) { _ = m.Respond([]byte(`{"Status":"ok","Ended":7}`)) })
	if err := nodes.Flush(); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	document := func(from string) Document {
		return Document{Event: "dialog_update", Subject: subject.DialogUpdate("acme.test", "k"), Fields: map[string]any{"From": from}}
	}
	answers := make(chan error, 10)
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Config{Conn: natstest.Connect(t, s), Prefix: "p.", Version: "1", Log: slog.New(slog.DiscardHandler), Registerer: registry}, &fake{func(ctx context.Context, sink Sink) error {
			sink.Connected(true, nil)
			if err := sink.Up(ctx, "sip:one", "i1"); err != nil {
				return err
			}
			for _, from := range []string{"right", "wrong"} {
				if err := sink.Send(ctx, document(from), func(err error) { answers <- err }); err != nil {
					return err
				}
			}
			if n, err := sink.SwitchGone(ctx, "sip:one", time.Time{}); n != 7 || err != nil {
				return fmt.Errorf("%d ended, %v", n, err)
			}
			sink.Refused("no realm", "x")
			if err := sink.Up(ctx, "sip:one", "i2"); err != nil {
				return err
			}
			if err := sink.UpOf(ctx, "sip:two", "i3", time.Minute); err != nil {
				return err
			}
			if err := sink.DownOf(ctx, "sip:two"); err != nil {
				return err
			}
			close(ready)
			<-ctx.Done()
			return nil
		}})
	}()
	refused, taken := 0, 0
	for range 2 {
		switch err := <-answers; {
		case err == nil:
			taken++
		case errors.Is(err, ErrRefused):
			refused++
		}
	}
	if refused != 1 || taken != 1 || turnedAway.Load() != 4 {
		t.Errorf("%d refused, %d taken, %d times sent", refused, taken, turnedAway.Load())
	}
	<-ready
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"i1 30", "i2 30", "i3 60", "i3 0", "i2 0"} {
		if got := <-ups; got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			counted[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if counted["lamplight_source_documents_total"] != 1 || counted["lamplight_source_refused_total"] != 2 || counted["lamplight_source_connected"] != 1 {
		t.Errorf("%v", counted)
	}
}

// A source that falls silent says nothing any more, not even when it is stopped: the nodes are to take it for gone.
func TestSilent(t *testing.T) {
	s := natstest.Start(t, "")
	nodes := natstest.Connect(t, s)
	ups := make(chan []byte, 100)
	if _, err := nodes.Subscribe(subject.AnySourceUp, func(m *nats.Msg) { ups <- m.Data; _ = m.Respond([]byte(`{"Status":"ok"}`)) }); err != nil {
		t.Fatal(err)
	}
	if err := nodes.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := Run(ctx, Config{Conn: natstest.Connect(t, s), Version: "1", Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()},
		&fake{func(ctx context.Context, sink Sink) error {
			err := sink.Up(ctx, "sip:one", "i1")
			sink.Silent()
			cancel()
			return err
		}})
	if err != nil || len(ups) != 1 {
		t.Errorf("%v; it said %d times that it lives or stops", err, len(ups))
	}
}
