package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
)

// A node writes a newer schema only when it knows all readers and they read it.
func TestMayWrite(t *testing.T) {
	const newest = gossip.OldestSchema + 1
	ab := []string{"a", "b"}
	for name, c := range map[string]struct {
		ready   bool
		common  int
		members []string
		leases  map[string]journal.NodeState
		want    int
	}{
		"all read it":                    {true, newest, ab, map[string]journal.NodeState{"a": journal.Alive, "b": journal.Alive}, newest},
		"one reads less":                 {true, gossip.OldestSchema, ab, map[string]journal.NodeState{"a": journal.Alive, "b": journal.Alive}, gossip.OldestSchema},
		"it starts":                      {false, newest, ab, nil, gossip.OldestSchema},
		"a lease of no member":           {true, newest, ab[:1], map[string]journal.NodeState{"a": journal.Alive, "b": journal.Alive}, gossip.OldestSchema},
		"one that drains is no member":   {true, newest, ab[:1], map[string]journal.NodeState{"a": journal.Alive, "b": journal.Draining}, gossip.OldestSchema},
		"those that are no more":         {true, newest, ab[:1], map[string]journal.NodeState{"a": journal.Alive, "b": journal.Expelled, "c": journal.Left}, newest},
		"a member that has no lease yet": {true, newest, ab, map[string]journal.NodeState{"a": journal.Alive}, newest},
	} {
		if got := mayWrite(c.ready, c.common, c.members, c.leases); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A node writes what is new as soon as it is ready. It does not wait for the next look at the leases or for gossip.
func TestReadyNodeWritesWhatIsNew(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	n := New(Config{Log: log})
	n.members = gossip.New(gossip.Config{Node: "a", Listen: "127.0.0.1:0", Schema: gossip.OldestSchema + 1, Log: log})
	if err := n.members.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.members.Stop(context.Background()) })
	<-n.members.Changed() // the node itself; nothing else changes
	n.journal = journal.New(journal.Config{Node: "a", Log: log, Registerer: prometheus.NewRegistry()})
	wait := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); n.newest() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the node writes schema %d, not %d", n.newest(), want)
			}
		}
	}
	n.writes.Store(0)
	ctx, stop := context.WithCancel(t.Context())
	n.following.stop = stop
	n.following.done.Go(func() { n.followMembers(ctx, nil) })
	t.Cleanup(func() { _ = n.stopFollowing(context.Background()) })
	wait(gossip.OldestSchema) // it has looked
	n.serve()
	wait(gossip.OldestSchema + 1)
}
