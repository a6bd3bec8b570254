package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
)

// following is the goroutine that runs followMembers.
type following struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// startFollowing starts it.
func (n *Node) startFollowing() {
	ctx, stop := context.WithCancel(context.Background())
	n.following.stop = stop
	n.following.done.Go(func() {
		look := time.NewTicker(time.Second)
		defer look.Stop()
		n.followMembers(ctx, look.C)
	})
}

// stopFollowing stops it, if it was started, and waits for its end.
func (n *Node) stopFollowing(context.Context) error {
	if n.following.stop != nil {
		n.following.stop()
		n.following.done.Wait()
	}
	return nil
}

// followMembers tells the journal and the router who is a member, and works out which schema the node may write, until ctx ends.
// It does so when gossip says that the members have changed, and when the node becomes ready, because only then it may write
// what is new. It also does so at each tick of look, because gossip does not know when leases change.
func (n *Node) followMembers(ctx context.Context, look <-chan time.Time) {
	started := n.started
	var before []string
	for {
		n.writes.Store(int32(mayWrite(n.ready.Load(), n.members.Writes(), n.members.Nodes(), n.journal.View().Leases)))
		now := n.members.Nodes()
		n.journal.Members(now)
		if n.server != nil {
			n.members.KeepPeers(n.cfg.Data)
		}
		for _, name := range before {
			n.gone(name)
		}
		n.logMembers(before, now)
		before = now
		n.watchDisk()
		select {
		case <-n.members.Changed():
		case <-started:
			started = nil
		case <-look:
		case <-ctx.Done():
			return
		}
	}
}

// logMembers writes a line for each node that has joined or left.
func (n *Node) logMembers(before, now []string) {
	for _, name := range now {
		if name != n.cfg.Name && !slices.Contains(before, name) {
			n.log.Info("a node is a member of the cluster now", "member", name, "members", now)
		}
	}
	for _, name := range before {
		if slices.Contains(now, name) {
			continue
		}
		switch n.journal.View().Leases[name] {
		case journal.Left, journal.Draining:
			n.log.Info("a node has left the cluster", "member", name, "members", now)
		default:
			n.log.Warn("a node does not answer by gossip any more and is no member now; the others take its shards over unless it is back soon. Look whether its process runs and its machine can be reached",
				"member", name, "members", now)
		}
	}
}

// newest returns the newest schema that the node may write now.
func (n *Node) newest() int { return int(n.writes.Load()) }

// mayWrite returns the newest schema that all readers of the journal understand. That is common, the newest one that all members
// read, if this node knows all readers. It does not while it starts, or when a node that has a lease is no member; then mayWrite
// returns the oldest schema.
func mayWrite(ready bool, common int, members []string, leases map[string]journal.NodeState) int {
	for node, state := range leases {
		if (state == journal.Alive || state == journal.Draining) && !slices.Contains(members, node) {
			return gossip.OldestSchema
		}
	}
	if !ready {
		return gossip.OldestSchema
	}
	return common
}

// gone tells the router to wait no longer for answers of a node, if gossip has lost it and it is expelled. If only one of the two
// is so, the node may still answer.
func (n *Node) gone(name string) {
	if n.journal.Expelled(name) && !slices.Contains(n.members.Nodes(), name) {
		n.router.Gone(name)
	}
}

// realmGone ends all subscriptions and calls of a realm that no account has any more, in all shards. It waits for the shards'
// answers, for Config.RequestTimeout at the longest.
func (n *Node) realmGone(realm string) {
	if !n.routed.Load() {
		return // the node is starting, and endLostRealms will find the realm
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.RequestTimeout)
	defer cancel()
	if cover, err := n.router.EndRealm(ctx, realm); err != nil || len(cover.Missing) > 0 {
		n.log.Error("some subscriptions of a realm whose account was removed could not be ended; restart this node, which ends the rest when it starts",
			"realm", realm, "err", err, "shards", cover.Missing)
	}
}

// endLostRealms ends the realms in this node's shards that no account has: their accounts were removed while no node served.
// It ends none when NATS has lost something: `lamplight import` can bring those back, and nothing brings lamps back.
func (n *Node) endLostRealms(ctx context.Context) {
	if n.doubtful {
		n.log.Warn("NATS has lost entries, perhaps of the directory, so calls and subscriptions of realms without an account are kept until the next start; run lamplight import before that")
		return
	}
	for _, realm := range n.system.Realms() {
		if _, err := n.directory.FindRealm(ctx, realm); errors.Is(err, directory.ErrUnknown) {
			n.realmGone(realm)
		}
	}
}
