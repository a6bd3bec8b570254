package route

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/gossip"
)

// heads checks the schema numbers with which the nodes' messages begin.
type heads struct {
	t        *testing.T
	messages *nats.Subscription
	conn     *nats.Conn
}

// all checks that a node has sent a message since the last call, and that all that it sent have this schema.
func (h *heads) all(from string, schema byte) {
	h.t.Helper()
	if err := h.conn.Flush(); err != nil {
		h.t.Fatal(err)
	}
	seen := 0
	for waiting, _, _ := h.messages.Pending(); waiting > 0; waiting-- {
		m, err := h.messages.NextMsg(10 * time.Second)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(m.Data) < 5 || m.Data[0] != 1<<3 || !strings.HasPrefix(string(m.Data[2:]), "\x12\x01"+from) {
			continue
		}
		if seen++; m.Data[1] != schema {
			h.t.Errorf("%s has schema %d, want %d", m.Subject, m.Data[1], schema)
		}
	}
	if seen == 0 {
		h.t.Errorf("%s sent nothing", from)
	}
}

// gossiper starts a Membership on a free port.
func gossiper(t *testing.T, c gossip.Config) *gossip.Membership {
	t.Helper()
	c.Listen, c.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	m := gossip.New(c)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop(context.Background()) })
	return m
}

// While a node of an older release is a member, a node of a newer one writes records and messages that the older one can
// read. It writes the newer form when the older node has gone, and the older form again when one comes back.
func TestRollingUpgrade(t *testing.T) {
	old := gossiper(t, gossip.Config{Node: "a"})
	newer := gossiper(t, gossip.Config{Node: "b", Schema: presence.Schema + 1, Join: []string{old.Addr()}})
	both := func(m *gossip.Membership, others int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); len(m.Nodes()) != others; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%v are members", m.Nodes())
			}
		}
	}
	both(old, 2)
	both(newer, 2)
	n := startNodes(t, func(c *Config) {
		if c.Writes = old.Writes; c.Node == "b" {
			c.Writes = newer.Writes
		}
	}, "a", "b")
	h := &heads{t: t, conn: n.connect()}
	var err error
	if h.messages, err = h.conn.SubscribeSync("test.lamplight.*.>"); err != nil {
		t.Fatal(err)
	}
	if err := h.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	// record sets a manual state of an extension of b through a, and the other way round. It returns the schema of the
	// record that b wrote.
	record := func(state presence.State) byte {
		t.Helper()
		to := n.at("b", 0)
		for from, to := range map[string]actors.Address{"a": to, "b": n.at("a", 0)} {
			if a := n.must(from, to, presence.SetManual{State: state}); a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		n.table.mu.Lock()
		defer n.table.mu.Unlock()
		for _, r := range n.table.records[actors.ShardOf(to)] {
			return r.Data[1]
		}
		return 0
	}
	if got := record(presence.Early); got != presence.Schema {
		t.Errorf("beside an older member a record has schema %d", got)
	}
	h.all("b", presence.Schema)
	if err := old.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	both(newer, 1)
	if got := record(presence.Confirmed); got != presence.Schema+1 {
		t.Errorf("with no older member a record has schema %d", got)
	}
	h.all("b", presence.Schema+1)
	gossiper(t, gossip.Config{Node: "c", Join: []string{newer.Addr()}})
	both(newer, 2)
	if newer.Writes() != presence.Schema {
		t.Errorf("beside an older member again: %d", newer.Writes())
	}
}
