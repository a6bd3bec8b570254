package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/journal"
)

// told collects what the shards told.
type told struct {
	mu    sync.Mutex
	notes []actors.Notification
	calls []string
}

func (t *told) Notify(n actors.Notification) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range n.Watchers {
		t.calls = append(t.calls, w.CallID)
	}
	n.Watchers = nil
	t.notes = append(t.notes, n)
}
func (t *told) Lamp(actors.LampNews) {}

func (t *told) last() actors.Notification {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) == 0 {
		return actors.Notification{}
	}
	return t.notes[len(t.notes)-1]
}

// node is one node in the test's process: real embedded server, real journal, real shards.
type node struct {
	server  *Server
	conn    *nats.Conn
	journal *journal.Journal
	system  *actors.System
	router  *Router
	told    *told
}

func rules() presence.Rules {
	return presence.Rules{NotifyInterval: 200 * time.Millisecond, CallLease: time.Hour, Grace: 20 * time.Second,
		TombstoneLife: time.Minute, MaxWatchers: 10000, MaxCalls: 100, MaxTombstones: 8192, Transitions: 8}
}

func startNode(t testing.TB, data string) *node {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	server, err := StartServer(ServerConfig{Listen: "127.0.0.1:0", Data: data, Sync: time.Second, Name: "a", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(server.URL(), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{server: server, conn: conn, told: &told{}}
	reg := prometheus.NewRegistry()
	n.journal = journal.New(journal.Config{Conn: conn, Node: "a", Quiet: 50 * time.Millisecond, Owner: Owner, Log: log, Registerer: reg,
		Fatal: func(err error) { t.Error(err) }})
	n.system = actors.NewSystem(actors.Config{Node: "a", Rules: rules(), Mailbox: 4096, Journal: n.journal, Notifier: n.told, Log: log, Registerer: reg})
	n.system.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.journal.Start(ctx, n.system); err != nil {
		t.Fatal(err)
	}
	n.router = NewRouter(RouterConfig{System: n.system, Owners: n.journal, Nodes: func() []string { return []string{"a"} }, Conn: conn, Node: "a",
		Timeout: 10 * time.Second, Log: log, Registerer: reg})
	if err := n.router.Start(); err != nil {
		t.Fatal(err)
	}
	for n.journal.Serving() < actors.Shards {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d shards served", n.journal.Serving(), actors.Shards)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n
}

func (n *node) ask(t testing.TB, to actors.Address, m actors.Message) actors.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a := n.router.Request(ctx, actors.Request{To: to, Message: m})
	if a.Err != nil {
		t.Fatalf("%v to %v: %v", m, to, a.Err)
	}
	return a
}

// stop ends the node; gently hands its shards over, otherwise it is cut off as by kill -9.
func (n *node) stop(t testing.TB, gently bool) {
	t.Helper()
	if gently {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.journal.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := n.router.Close(ctx); err != nil {
			t.Error(err)
		}
	} else {
		n.conn.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.journal.Close(ctx)
		_ = n.router.Close(ctx)
	}
	n.system.Close()
	n.conn.Close()
	n.server.Close()
}

func TestAcknowledgedMeansKept(t *testing.T) {
	for _, gently := range []bool{true, false} {
		t.Run(fmt.Sprintf("gently=%v", gently), func(t *testing.T) {
			data := t.TempDir()
			n := startNode(t, data)
			to := actors.Address{Realm: "acme.example.com", User: "1001"}
			n.ask(t, to, presence.Subscribe{CallID: "c1", From: "1002@acme.example.com", ServerID: "edge", Expires: 1800})
			n.ask(t, to, presence.CallEvent{CallID: "k1", State: presence.Early})
			n.ask(t, actors.Address{Realm: "acme.example.com", User: "1003"}, presence.SetManual{State: presence.Confirmed})
			before := n.told.last().Sequence
			if before == 0 {
				t.Fatal("nothing was told")
			}
			n.stop(t, gently)

			n = startNode(t, data)
			defer n.stop(t, true)
			a := n.ask(t, to, actors.Show{Explain: true})
			if a.View.State != presence.Early || len(a.Subscriptions) != 1 {
				t.Fatalf("after the restart: %v with %d subscriptions", a.View.State, len(a.Subscriptions))
			}
			n.ask(t, to, presence.CallEvent{CallID: "k1", State: presence.Confirmed})
			if after := n.told.last().Sequence; after <= before {
				t.Errorf("Sequence went from %d back to %d", before, after)
			}
			if a := n.ask(t, actors.Address{Realm: "acme.example.com", User: "1003"}, actors.Show{}); a.View.State != presence.Confirmed {
				t.Errorf("manual state is %v", a.View.State)
			}
		})
	}
}
