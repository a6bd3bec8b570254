package bus

import (
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/natsd/natstest"
)

// tell sends a watcher behind an edge a notification.
func (b *bed) tell(edge string) {
	b.fanout.Notify(actors.Notification{To: actors.Address{Realm: "acme.test", User: "1"}, Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: edge}}})
}

// is waits until the node knows that of an edge.
func (b *bed) is(edge, listens string) (state presence.EdgeState) {
	b.t.Helper()
	eventually(b.t, edge+" is "+listens, func() bool { state = b.fanout.State(edge, time.Now()); return state.Listens == listens })
	return state
}

// An edge that says edge.up listens, until NATS says that nobody takes a message for it.
func TestEdgeListensThenIsDown(t *testing.T) {
	b := newBed(t)
	mine, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil {
		t.Fatal(err)
	}
	b.up("e1", "x", "")
	if state := b.is("e1", presence.EdgeListening); time.Since(state.At) > time.Minute {
		t.Errorf("%+v", state)
	}
	if err := mine.Unsubscribe(); err != nil || b.conn.Flush() != nil {
		t.Fatal(err)
	}
	b.tell("e1")
	if state := b.is("e1", presence.EdgeDown); state.Silent || state.At.IsZero() {
		t.Errorf("%+v", state)
	}
	b.up("e1", "y", "")
	b.is("e1", presence.EdgeListening)
}

// An edge that has said edge.up and then says nothing is down, though its subscription stands. What its phones answer is a sign of life, and a
// node that has just come back to NATS does not blame its edges.
func TestEdgeFallsSilent(t *testing.T) {
	b := newBed(t)
	if _, err := b.conn.SubscribeSync("lamplight.notify.e1"); err != nil {
		t.Fatal(err)
	}
	b.up("e1", "x", "")
	b.is("e1", presence.EdgeListening)
	e, old := b.fanout.find("e1"), time.Now().Add(-time.Minute)
	b.fanout.joined.Set(old)
	e.heard.Set(old)
	if state := b.is("e1", presence.EdgeDown); !state.Silent || !state.At.Equal(old) {
		t.Errorf("%+v", state)
	}
	if err := b.conn.Publish("lamplight.notified.n.e1", []byte(`{"Edge":"e1","Replies":[]}`)); err != nil {
		t.Fatal(err)
	}
	b.is("e1", presence.EdgeListening)
	e.heard.Set(old)
	b.fanout.joined.Set(time.Now())
	b.is("e1", presence.EdgeListening)
	gone, err := nats.Connect(b.conn.ConnectedUrl())
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	away := &Fanout{cfg: FanoutConfig{Conn: gone}} // the bed's own connection must stay: its Bus drains it
	away.joined.Set(old)
	if state := away.State("e1", time.Now()); state.Listens != "" {
		t.Errorf("a node without NATS says %+v", state)
	}
}

// Of an edge that never says edge.up a node knows that nobody listens when no server of the NATS cluster has a subscription for the newest message. When one
// has, also at another server, nothing is known.
func TestNobodyListens(t *testing.T) {
	for name, two := range map[string]bool{"one server": false, "two servers": true} {
		t.Run(name, func(t *testing.T) {
			one := natstest.StartWith(t, &server.Options{Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: server.RANDOM_PORT}})
			b := newBedAt(t, one, slog.New(slog.DiscardHandler))
			theirs := b.conn
			if two {
				other := natstest.StartWith(t, &server.Options{Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: server.RANDOM_PORT},
					Routes: []*url.URL{{Scheme: "nats", Host: one.ClusterAddr().String()}}})
				eventually(t, "the servers know each other", func() bool { return one.NumRoutes() > 0 && other.NumRoutes() > 0 })
				theirs = natstest.Connect(t, other)
			}
			if state := b.fanout.State("e1", time.Now()); state.Listens != presence.EdgeNeverUp || !state.At.IsZero() {
				t.Errorf("before the first message: %+v", state)
			}
			b.tell("e1")
			if state := b.is("e1", presence.EdgeNobody); time.Since(state.At) > time.Minute {
				t.Errorf("%+v", state)
			}
			b.tell("")
			b.is("", presence.EdgeNobody)

			s, err := theirs.SubscribeSync("lamplight.notify.*")
			if err != nil || theirs.Flush() != nil {
				t.Fatal(err)
			}
			for _, edge := range []string{"e1", ""} {
				arrives(b, s, edge)
			}
			b.is("e1", presence.EdgeNeverUp)
			b.is("", "")
			if b.fanout.find("e1").downSince.Age() != 0 {
				t.Error("an edge that never said edge.up counts as down")
			}
			if err := s.Unsubscribe(); err != nil || theirs.Flush() != nil {
				t.Fatal(err)
			}
			eventually(t, "nobody listens again", func() bool { b.tell("e1"); return b.fanout.State("e1", time.Now()).Listens == presence.EdgeNobody })
			for range 100 { // what was sent a moment ago does not change that
				b.tell("e1")
				if state := b.fanout.State("e1", time.Now()); state.Listens != presence.EdgeNobody {
					t.Fatalf("%+v", state)
				}
			}
			b.up("e1", "x", "")
			b.is("e1", presence.EdgeListening)
		})
	}
}

// arrives tells a watcher behind an edge until a message arrives: at another server the subscription may take a moment to be known.
func arrives(b *bed, s *nats.Subscription, edge string) {
	b.t.Helper()
	eventually(b.t, "a message to "+edge, func() bool {
		b.tell(edge)
		_, err := s.NextMsg(100 * time.Millisecond)
		return err == nil
	})
}
