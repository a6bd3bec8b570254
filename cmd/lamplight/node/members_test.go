package node

import (
	"testing"

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
