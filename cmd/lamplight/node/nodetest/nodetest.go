// Package nodetest starts whole nodes in the process of a test or benchmark: real NATS, real gossip and HTTP, on free
// ports of the loopback address.
package nodetest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
)

// Rules are the domain's rules as `lamplight serve` has them by default, with calls that end after an hour.
func Rules() presence.Rules {
	return presence.Rules{NotifyInterval: 200 * time.Millisecond, CallLease: time.Hour, Grace: 20 * time.Second,
		TombstoneLife: time.Minute, MaxWatchers: 10000, MaxCalls: 100, MaxTombstones: 8192, Transitions: 8}
}

// Config is the configuration of a node with an embedded NATS server and its data in a directory. The caller may change
// it before Start.
func Config(name, data string) node.Config {
	return node.Config{Name: name, Version: "0.1.0", Data: data, Embedded: &node.Embedded{Listen: "127.0.0.1:0", Sync: time.Second},
		Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:0", RequestTimeout: 10 * time.Second, TokenKey: filepath.Join(data, "token.pem"),
		Rules: Rules(), MaxMailbox: 4096, Quiet: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// On is Config for a node that uses a NATS server that runs already.
func On(url, name, data string) node.Config {
	c := Config(name, data)
	c.Embedded, c.NATS = nil, client.Options{URL: url}
	return c
}

// Start starts a node and stops it when the test ends, unless the test has stopped or killed it.
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

// NATS starts a NATS server of the test's own and gives its URL.
func NATS(t testing.TB) string {
	t.Helper()
	s := natsd.New(natsd.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: "nats", Log: slog.New(slog.DiscardHandler)})
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s.URL()
}
