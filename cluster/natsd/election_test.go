//go:build !nolinkname

package natsd

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestLeaderLost(t *testing.T) {
	peers := map[string]server.RaftzGroupPeer{"idA": {Name: "a", LastSeen: "1.3s"}, "idB": {Name: "b", LastSeen: "40ms"}, "idC": {Name: "c"}}
	for _, c := range []struct {
		what    string
		group   server.RaftzGroup
		members []string
		lost    bool
	}{
		{"it leads itself", server.RaftzGroup{State: "LEADER"}, []string{"b"}, false},
		{"it only observes", server.RaftzGroup{State: "FOLLOWER", Observer: true}, []string{"b"}, false},
		{"it is closed", server.RaftzGroup{State: "CLOSED"}, []string{"b"}, false},
		{"nobody leads", server.RaftzGroup{State: "FOLLOWER"}, []string{"a", "b"}, true},
		{"an election that nobody won", server.RaftzGroup{State: "CANDIDATE"}, []string{"a", "b"}, true},
		{"the leader lives", server.RaftzGroup{State: "FOLLOWER", Leader: "idA"}, []string{"a", "b"}, false},
		{"the leader is gone and silent", server.RaftzGroup{State: "FOLLOWER", Leader: "idA"}, []string{"b"}, true},
		{"the leader is gone from gossip only", server.RaftzGroup{State: "FOLLOWER", Leader: "idB"}, []string{"a"}, false},
		{"the leader is gone and was never heard", server.RaftzGroup{State: "FOLLOWER", Leader: "idC"}, []string{"a"}, true},
		{"the leader is not known", server.RaftzGroup{State: "FOLLOWER", Leader: "idD"}, []string{"a"}, false},
	} {
		c.group.Peers = peers
		if got := leaderLost(c.group, c.members); got != c.lost {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// A server that stands for election becomes the leader of a stream, even while the leader before it is alive. An elector
// makes it stand only when the leader is lost.
func TestElection(t *testing.T) {
	names, routes := []string{"a", "b", "c"}, freeAddresses(t, 3)
	servers := map[string]*Server{}
	for i, name := range names {
		s := New(Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: name, Log: slog.New(slog.DiscardHandler),
			Routes: &Routes{Listen: routes[i], Peers: routes, Members: func() []string { return names }}})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop(context.Background()) })
		servers[name] = s
	}
	nc, err := nats.Connect(servers["a"].URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	leader := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		if err != nil || s.CachedInfo().Cluster == nil {
			return ""
		}
		return s.CachedInfo().Cluster.Leader
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for begun := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Since(begun) > 30*time.Second {
				t.Fatalf("not within 30 s: %s", what)
			}
		}
	}
	led := ""
	await("a leader", func() bool { led = leader(); return led != "" })
	stands := names[0]
	if stands == led {
		stands = names[1]
	}
	follower := servers[stands].nats.Load()
	e := &elector{nats: func() *server.Server { return follower }, members: func() []string { return names }, stood: map[string]time.Time{}, log: slog.New(slog.DiscardHandler)}
	group := ""
	await("the group", func() bool {
		for name := range (*follower.Raftz(&server.RaftzOptions{AccountFilter: "$G"}))["$G"] {
			group = name
		}
		return group != ""
	})
	e.look(time.Now(), e.members())
	if _, stood := e.stood[group]; stood {
		t.Error("it stands though there is a leader")
	}
	asked := time.Time{}
	await(stands+" leads", func() bool {
		if time.Since(asked) > electionTime {
			asked = time.Now()
			_ = lookupRaftNode(follower, group).Campaign()
		}
		return leader() == stands
	})
}
