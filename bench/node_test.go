// Package bench measures the paths that matter, each beside its floor in the same run: a plain map and mutex, the
// same records written raw to JetStream, a raw NATS publish, bare fasthttp answering the same bytes.
package bench_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	lamplight "lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/access"
)

const realm = "bench.example.com"

// extensions is how many extensions with one subscription each a node holds when it is measured.
func extensions() int {
	if n, err := strconv.Atoi(os.Getenv("LAMPLIGHT_BENCH_EXTENSIONS")); err == nil && n > 0 {
		return n
	}
	return 100_000
}

// node is a whole node in this process, with an account whose realm holds the extensions.
type node struct {
	*lamplight.Node
	url     string // of its NATS server
	token   string
	account string
	started time.Duration // what Start took
}

// start starts a node with an embedded server.
func start(t testing.TB, data string) *node {
	t.Helper()
	return startAs(t, nodetest.Config("bench", data))
}

// startMemory starts a node that keeps nothing on disk.
func startMemory(t testing.TB) *node {
	t.Helper()
	c := nodetest.Config("bench", t.TempDir())
	c.Memory = true
	return startAs(t, c)
}

// startOn starts all of a node but the NATS server at url.
func startOn(t testing.TB, url string) *node {
	t.Helper()
	return startAs(t, nodetest.On(url, "bench", t.TempDir()))
}

// startBeside starts a node that owns nothing beside one that owns all, and serves what that one holds.
func startBeside(t testing.TB, owner *node) *node {
	t.Helper()
	c := nodetest.On(owner.url, "front", t.TempDir())
	c.Join = []string{owner.Addr(lamplight.Gossip)}
	return startAs(t, c)
}

// startAs starts a node. Only that named bench ever owns anything. NOTIFYs are not coalesced.
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
