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

// following is the goroutine that tells the other parts who is a member.
type following struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

func (n *Node) startFollowing() {
	ctx, stop := context.WithCancel(context.Background())
	n.following.stop = stop
	n.following.done.Go(func() { n.followMembers(ctx) })
}

func (n *Node) stopFollowing(context.Context) error {
	if n.following.stop != nil {
		n.following.stop()
		n.following.done.Wait()
	}
	return nil
}

// followMembers looks at the members when gossip says that they changed, and every second at the leases, of whose
// changes gossip knows nothing.
func (n *Node) followMembers(ctx context.Context) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
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
		before = now
		select {
		case <-n.members.Changed():
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// newest is the newest schema that may be written now.
func (n *Node) newest() int { return int(n.writes.Load()) }

// mayWrite is the newest schema that all who read the journal understand. That is what all members have in common; but
// it is the oldest one as long as this node does not know all readers, because it starts, or because a node with a lease
// is no member.
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

// gone ends the wait for answers of a node that gossip has lost and that is expelled. With only one of the two the node
// may well answer.
func (n *Node) gone(name string) {
	if n.journal.Expelled(name) && !slices.Contains(n.members.Nodes(), name) {
		n.router.Gone(name)
	}
}

// realmGone ends what the shards hold of a realm that no account has any more.
func (n *Node) realmGone(realm string) {
	if !n.routed.Load() {
		return // endLostRealms finds it
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.RequestTimeout)
	defer cancel()
	if cover, err := n.router.EndRealm(ctx, realm); err != nil || len(cover.Missing) > 0 {
		n.log.Error("a realm that no account has any more could not be ended in all shards; restart this node, which ends the rest",
			"realm", realm, "err", err, "shards", cover.Missing)
	}
}

// endLostRealms ends the realms whose accounts went while no node served.
func (n *Node) endLostRealms(ctx context.Context) {
	for _, realm := range n.system.Realms() {
		if _, err := n.directory.FindRealm(ctx, realm); errors.Is(err, directory.ErrUnknown) {
			n.realmGone(realm)
		}
	}
}
