// Package bench measures the paths that matter, each beside its floor in the same run: a plain map and mutex, the
// same records written raw to JetStream, a raw NATS publish, bare fasthttp answering the same bytes.
package bench_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
	"lamplight/transport/bus"
	"lamplight/transport/rest"
)

const realm = "bench.example.com"

// extensions is how many extensions with one subscription each a node holds when it is measured.
func extensions() int {
	if n, err := strconv.Atoi(os.Getenv("LAMPLIGHT_BENCH_EXTENSIONS")); err == nil && n > 0 {
		return n
	}
	return 100_000
}

// node is a whole node but for its process: embedded NATS, journal, shards, both edges.
type node struct {
	url     string
	conn    *nats.Conn
	journal *journal.Journal
	system  *actors.System
	router  *cluster.Router
	fanout  *bus.Fanout
	bus     *bus.Bus
	rest    *rest.Server
	token   string
	account string
	started time.Duration
}

// start starts a node with an embedded server.
func start(t testing.TB, data string) *node {
	t.Helper()
	return startKeeping(t, data, false)
}

// startMemory starts a node that keeps nothing on disk.
func startMemory(t testing.TB) *node {
	t.Helper()
	return startKeeping(t, t.TempDir(), true)
}

func startKeeping(t testing.TB, data string, memory bool) *node {
	t.Helper()
	begun := time.Now()
	server, err := cluster.StartServer(cluster.ServerConfig{Listen: "127.0.0.1:0", Data: data, Sync: time.Second, Name: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	n := startServing(t, server.URL(), memory)
	n.started = time.Since(begun)
	return n
}

// startOn starts all of a node but the NATS server at url.
func startOn(t testing.TB, url string) *node {
	t.Helper()
	return startServing(t, url, false)
}

func startServing(t testing.TB, url string, memory bool) *node {
	t.Helper()
	n := startAs(t, url, "bench", memory)
	for begun := time.Now(); n.journal.Serving() < actors.Shards; time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > 2*time.Minute {
			t.Fatal("the shards are not served")
		}
	}
	return n
}

// startBeside starts a node that owns nothing beside one that owns all, and serves what that one holds.
func startBeside(t testing.TB, owner *node) *node {
	t.Helper()
	n := startAs(t, owner.url, "front", false)
	for begun := time.Now(); n.journal.Holder(0) != "bench" || n.journal.Holder(actors.Shards-1) != "bench"; time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > 2*time.Minute {
			t.Fatal("the owner is not seen")
		}
	}
	return n
}

// startAs starts a node. Only that named bench ever owns anything.
func startAs(t testing.TB, url, name string, memory bool) *node {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	n := &node{account: "00000000000000000000000000000001", url: url}
	var err error
	n.conn, err = nats.Connect(url, nats.ReconnectBufSize(-1))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	d := directory.New(directory.Config{Conn: n.conn, Log: log})
	must(d.Start(ctx))
	_, err = d.Import(ctx, directory.Import{Accounts: []map[string]any{{"id": n.account, "realm": realm, "name": "bench"},
		{"id": "00000000000000000000000000000002", "realm": "small." + realm, "name": "small", "parent_id": n.account}}})
	must(err)
	key, err := rest.LoadOrCreateKey(t.TempDir() + "/key")
	must(err)
	reg := prometheus.NewRegistry()
	n.journal = journal.New(journal.Config{Conn: n.conn, Node: name, Memory: memory, Quiet: 50 * time.Millisecond, Owner: func(int, []string) string { return "bench" }, Log: log, Registerer: reg, Fatal: func(error) {}})
	n.fanout = bus.NewFanout(bus.FanoutConfig{Conn: n.conn, Node: name, Version: "0", Log: log, Incarnation: n.journal.Incarnation, Account: func(string) string { return n.account }})
	rules := presence.Rules{CallLease: time.Hour, Grace: 20 * time.Second, TombstoneLife: time.Minute, MaxWatchers: 10000, MaxCalls: 100, MaxTombstones: 8192, Transitions: 8}
	n.system = actors.NewSystem(actors.Config{Node: name, Rules: rules, Mailbox: 4096, Journal: n.journal, Notifier: n.fanout, Log: log, Registerer: reg})
	n.system.Start()
	must(n.fanout.Start())
	must(n.journal.Start(ctx, n.system))
	n.router = cluster.NewRouter(cluster.RouterConfig{System: n.system, Owners: n.journal, Nodes: func() []string { return slices.Compact([]string{name, "bench"}) }, Conn: n.conn,
		Node: name, Timeout: 10 * time.Second, Log: log, Registerer: reg})
	must(n.router.Start())
	n.bus = bus.New(bus.Config{Conn: n.conn, Node: name, Version: "0.1.0", Timeout: 10 * time.Second, Router: n.router, Fanout: n.fanout,
		KnownRealm: func(string) bool { return true }, AskRealm: func(_ string, then func(error)) { then(nil) }, Log: log, Registerer: reg})
	must(n.bus.Start())
	public := key.Public().(ed25519.PublicKey)
	must(d.PublishKey(ctx, rest.KeyID(public), public))
	n.token, err = rest.Sign(key, n.account, time.Hour)
	must(err)
	verifier, err := rest.NewVerifier(d, nil)
	must(err)
	n.rest = rest.New(rest.Config{Node: name, Version: "0", Timeout: 10 * time.Second, Presence: n.router, Directory: d, Verifier: verifier,
		Ready: func() error { return nil }, Log: log, Registry: prometheus.NewRegistry()})
	must(n.rest.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = n.rest.Close(ctx)
		_ = n.bus.Close(ctx)
		_ = n.journal.Close(ctx)
		_ = n.router.Close(ctx)
		n.system.Close()
		n.fanout.Close()
		d.Close()
		n.conn.Close()
	})
	return n
}

// name is an extension's as transports read it: both parts of one document's field.
func name(i int) actors.Address {
	field := strconv.Itoa(100000+i) + "@" + realm
	at := strings.IndexByte(field, '@')
	return actors.Address{Realm: field[at+1:], User: field[:at]}
}

func watcher(i int, call string) presence.Subscribe {
	return presence.Subscribe{CallID: call + "-" + strconv.Itoa(i) + "@10.0.0.9", From: strconv.Itoa(i%5000) + "@" + realm, FromTag: "a1b2c3", ToTag: "d4e5f6",
		Contact: "<sip:" + strconv.Itoa(i) + "@10.0.0.9:5060;line=" + call + ">", ServerID: "edge" + strconv.Itoa(i%4), UserAgent: "Yealink SIP-T46S 66.86", Expires: 3600}
}
