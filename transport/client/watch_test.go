package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

// watched is a Watch under way, and what it called.
type watched struct {
	t    *testing.T
	tell chan string // changes by their extension, gaps by their reason
	gaps chan Gap
}

// startWatch watches acme.test.
func startWatch(t *testing.T, conn *nats.Conn, change func(Change) error) *watched {
	t.Helper()
	w := &watched{t: t, tell: make(chan string, 1<<17), gaps: make(chan Gap, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- New(Config{Conn: conn, App: "test", AppVersion: "1"}).Watch(ctx, "acme.test", "", Watcher{Ready: func() { close(ready) },
			Change: func(c Change) error { w.tell <- c.Extension; return change(c) },
			Gap:    func(_ context.Context, g Gap) error { w.tell <- g.Reason; w.gaps <- g; return nil }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	<-ready
	return w
}

// until reads what was told up to the word.
func (w *watched) until(word string) (before []string) {
	w.t.Helper()
	for late := time.After(30 * time.Second); ; {
		select {
		case s := <-w.tell:
			if s == word {
				return before
			}
			before = append(before, s)
		case <-late:
			w.t.Fatalf("%q was not told, but %v", word, before)
		}
	}
}

func (w *watched) publish(conn *nats.Conn, extension string) {
	w.t.Helper()
	if err := conn.Publish("lamplight.state.acme%2Etest."+extension, fmt.Appendf(nil, `{"extension":%q,"state":"early"}`, extension)); err != nil {
		w.t.Fatal(err)
	}
}

// A watch whose NATS server went away and came back says that changes may be missing, since before the server went, and goes on.
func TestWatchMarksALostConnection(t *testing.T) {
	s := natstest.Start(t, "")
	conn, err := Connect(Options{URL: s.ClientURL()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := startWatch(t, conn, func(Change) error { return nil })
	w.publish(conn, "1")
	if got := w.until("1"); got != nil {
		t.Errorf("%v was told", got)
	}
	port, gone := s.Addr().String(), time.Now()
	s.Shutdown()
	s.WaitForShutdown()
	var number int
	if _, err := fmt.Sscanf(port, "127.0.0.1:%d", &number); err != nil {
		t.Fatal(err)
	}
	natstest.StartWith(t, &server.Options{Port: number})
	back := time.Now()
	if got := w.until("the connection to NATS was lost"); got != nil {
		t.Errorf("%v was told", got)
	}
	if g := <-w.gaps; g.Since.After(gone) || g.Since.Before(gone.Add(-10*time.Second)) || g.Until.Before(back.Add(-10*time.Millisecond)) {
		t.Errorf("gone at %v, back at %v; the gap is from %v to %v", gone, back, g.Since, g.Until)
	}
	w.publish(conn, "2")
	if got := w.until("2"); got != nil {
		t.Errorf("%v was told", got)
	}
}

// A watch that takes changes more slowly than they come says that some may be missing, once it has passed on those that it has.
func TestWatchMarksWhatItLost(t *testing.T) {
	s := natstest.Start(t, "")
	conn, err := Connect(Options{URL: s.ClientURL()}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	goOn, stuck := make(chan struct{}), make(chan struct{}, 1)
	w := startWatch(t, conn, func(Change) error {
		select {
		case stuck <- struct{}{}:
		default:
		}
		<-goOn
		return nil
	})
	w.publish(conn, "1")
	<-stuck
	for range feedRoom + 100 {
		w.publish(conn, "2")
	}
	if err := conn.Flush(); err != nil { // all have come: some are lost
		t.Fatal(err)
	}
	close(goOn)
	got := w.until("changes came faster than they were taken")
	if len(got) > feedRoom+2 || len(got) < feedRoom {
		t.Errorf("%d changes were told before the gap", len(got))
	}
	w.publish(conn, "3")
	w.until("3")
}

// A watch hears of a node that takes shards over, and of one that came new with shards of others. A node that is slow to answer is
// none of these.
func TestWatchMarksATakeover(t *testing.T) {
	f := &feed{takeovers: map[string]uint64{}, began: time.Now(), messages: make(chan *nats.Msg)}
	gaps := 0
	f.Gap = func(context.Context, Gap) error { gaps++; return nil }
	for i, c := range []struct {
		by   map[string]uint64
		gaps int
	}{
		{map[string]uint64{"a 1": 512, "b 1": 512}, 0}, {map[string]uint64{"a 1": 512}, 0}, {nil, 0}, {map[string]uint64{"a 1": 512, "b 1": 512}, 0},
		{map[string]uint64{"a 1": 700}, 1}, {map[string]uint64{"a 1": 1024}, 2}, {map[string]uint64{"a 1": 1024, "b 2": 0}, 2}, {map[string]uint64{"a 1": 1024, "b 2": 512}, 3},
	} {
		if err := f.compare(t.Context(), c.by); err != nil || gaps != c.gaps {
			t.Errorf("after %d answers %d gaps, want %d; %v", i+1, gaps, c.gaps, err)
		}
	}
}
