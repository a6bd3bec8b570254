// Package bench_test measures the hot paths of a node, each beside its floor in the same run. A floor is the least that any
// design would need: a map under a mutex, the same records written straight to JetStream, a plain NATS publish of the same
// bytes, or bare fasthttp that answers the same bytes. docs/performance.md has the figures.
package bench_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	lamplight "lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/access"
)

const realm = "bench.example.com"

// extensions is how many extensions, each with one subscription, a node holds when it is measured: LAMPLIGHT_BENCH_EXTENSIONS,
// or 100,000.
func extensions() int {
	if n, err := strconv.Atoi(os.Getenv("LAMPLIGHT_BENCH_EXTENSIONS")); err == nil && n > 0 {
		return n
	}
	return 100_000
}

// node is a whole node in this process, with an account whose realm has the extensions.
type node struct {
	*lamplight.Node
	url     string // of its NATS server
	token   string
	account string
	started time.Duration // how long Start took
}

// start starts a node with an embedded server.
func start(t testing.TB, data string) *node {
	t.Helper()
	return startAs(t, nodetest.Config("bench", data))
}

// startMemory starts a node whose embedded server keeps the journal in memory.
func startMemory(t testing.TB) *node {
	t.Helper()
	c := nodetest.Config("bench", t.TempDir())
	c.Memory = true
	return startAs(t, c)
}

// startOn starts a node that uses the NATS server at url.
func startOn(t testing.TB, url string) *node {
	t.Helper()
	return startAs(t, nodetest.On(url, "bench", t.TempDir()))
}

// startBeside starts a node that owns no shard, in a cluster with owner, which owns all. It asks owner for every extension.
func startBeside(t testing.TB, owner *node) *node {
	t.Helper()
	c := nodetest.On(owner.url, "front", t.TempDir())
	c.Join = []string{owner.Addr(lamplight.Gossip)}
	return startAs(t, c)
}

// startAs starts a node and loads the accounts. All shards are placed on the node named bench. No NOTIFY is held back.
func startAs(t testing.TB, c lamplight.Config) *node {
	t.Helper()
	c.Place = func(int, []string) string { return "bench" }
	c.Rules.NotifyInterval = 0
	begun := time.Now()
	n := &node{Node: nodetest.Start(t, c), account: "00000000000000000000000000000001", url: c.NATS.URL, started: time.Since(begun)}
	if n.url == "" {
		n.url = "nats://" + n.Addr(lamplight.NATS)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"id": n.account, "realm": realm, "name": "bench"},
		{"id": "00000000000000000000000000000002", "realm": "small." + realm, "name": "small", "parent_id": n.account}}}); err != nil {
		t.Fatal(err)
	}
	key, err := access.LoadOrCreateKey(c.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	if n.token, err = access.Sign(key, n.account, time.Hour); err != nil {
		t.Fatal(err)
	}
	return n
}

// addressOf gives the address of extension i. As when a transport reads it, both parts are slices of one string.
func addressOf(i int) actors.Address {
	field := strconv.Itoa(100000+i) + "@" + realm
	at := strings.IndexByte(field, '@')
	return actors.Address{Realm: field[at+1:], User: field[:at]}
}

// subscribeEvent is a SUBSCRIBE for extension i of the watcher whose Call-ID begins with call.
func subscribeEvent(i int, call string) presence.Subscribe {
	return presence.Subscribe{CallID: call + "-" + strconv.Itoa(i) + "@10.0.0.9", From: strconv.Itoa(i%5000) + "@" + realm, FromTag: "a1b2c3", ToTag: "d4e5f6",
		Contact: "<sip:" + strconv.Itoa(i) + "@10.0.0.9:5060;line=" + call + ">", ServerID: "edge" + strconv.Itoa(i%4), UserAgent: "Yealink SIP-T46S 66.86", Expires: 3600}
}

// connect opens a connection to a node's NATS server, until the end of the benchmark.
func connect(b *testing.B, n *node) *nats.Conn {
	b.Helper()
	conn, err := nats.Connect(n.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	return conn
}

// watched makes an extension with so many watchers behind four edges.
func (n *node) watched(b *testing.B, watchers int) actors.Address {
	b.Helper()
	to := actors.Address{Realm: realm, User: "watched"}
	for i := range watchers {
		if a := n.Router().Request(context.Background(), actors.Request{To: to, Message: subscribeEvent(i, "w")}); a.Err != nil {
			b.Fatal(a.Err)
		}
	}
	return to
}
