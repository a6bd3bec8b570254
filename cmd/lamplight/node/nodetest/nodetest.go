// Package nodetest starts whole nodes in the process of a test, a benchmark or an example. They have a real NATS server, real
// gossip and real HTTP, on free ports of the loopback address.
package nodetest

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/access"
	"lamplight/transport/client"
)

// Rules returns the domain's rules that `lamplight serve` has by default, but for calls, which end after an hour without news.
func Rules() presence.Rules {
	return presence.Rules{NotifyInterval: 200 * time.Millisecond, CallLease: time.Hour,
		TombstoneLife: time.Minute, MaxWatchers: 10000, MaxCalls: 100, MaxTombstones: 8192, Transitions: 8}
}

// Config returns the configuration of a node with an embedded NATS server and its data in a directory. The caller may change it
// before it starts the node.
func Config(name, data string) node.Config {
	return node.Config{Name: name, Version: "0.1.0", Data: data, Embedded: &node.Embedded{Listen: "127.0.0.1:0", Sync: time.Second},
		Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:0", RequestTimeout: 10 * time.Second, TokenKey: filepath.Join(data, "token.pem"),
		Rules: Rules(), MaxMailbox: 4096, Quiet: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// On is Config for a node that uses the NATS server at url.
func On(url, name, data string) node.Config {
	c := Config(name, data)
	c.Embedded, c.NATS = nil, client.Options{URL: url}
	return c
}

// Start starts a node and waits until it serves. The node is stopped when the test ends, if the test has not stopped it.
func Start(t testing.TB, c node.Config) *node.Node {
	t.Helper()
	n := node.New(c)
	t.Cleanup(func() { _ = n.Stop(context.Background()) })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		t.Fatalf("node %s: %v", c.Name, err)
	}
	return n
}

// SampleAccount is the id of the account that Sample makes.
const SampleAccount = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"

// Sampled is the node of Sample.
type Sampled struct {
	Conn  *nats.Conn  // to its NATS server
	REST  client.REST // its HTTP API, with a token of the account
	Close func()      // stops the node
}

// Sample starts a node for an example in the documentation, which has no test to fail: it panics if the node does not start.
// The realm acme.example.com has an account. The caller closes it.
func Sample() Sampled {
	data, err := os.MkdirTemp("", "lamplight-example")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	config := Config("a", data)
	n := node.New(config)
	s := Sampled{}
	s.Close = func() { s.Conn.Close(); _ = n.Stop(context.Background()); _ = os.RemoveAll(data) }
	if err = n.Start(ctx); err == nil {
		_, err = n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"id": SampleAccount, "name": "Acme", "realm": "acme.example.com"}}})
	}
	if err == nil {
		s.Conn, err = client.Connect(client.Options{URL: "nats://" + n.Addr(node.NATS)}, "example")
	}
	if err == nil {
		var key ed25519.PrivateKey
		if key, err = access.LoadOrCreateKey(config.TokenKey); err == nil {
			s.REST.Base = "http://" + n.Addr(node.HTTP)
			s.REST.Token, err = access.Sign(key, SampleAccount, time.Hour)
		}
	}
	if err != nil {
		panic(err)
	}
	return s
}

// NATS starts a NATS server for the test and returns its URL.
func NATS(t testing.TB) string {
	t.Helper()
	s := natsd.New(natsd.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: "nats", Log: slog.New(slog.DiscardHandler)})
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s.URL()
}
