package natsd

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// elector makes an embedded server stand for election in every raft group whose leader is lost. A raft group keeps the
// replicas of one stream or consumer. NATS itself waits 4 to 9 s before a server stands, which cannot be configured;
// gossip knows after one second that the leader's node is gone. To stand is safe at any time, because the other servers
// give no votes to a server that has missed something.
type elector struct {
	nats    func() *server.Server // the embedded server that runs now
	members func() []string       // the nodes that gossip shows
	stood   map[string]time.Time  // by group: when the server last stood for election there
	began   time.Time
	log     *slog.Logger
}

const (
	electionLook  = 100 * time.Millisecond  // the time between two looks at the groups after the members have changed or a leader was lost,
	electionCalm  = time.Second             // and while they stay the same
	electionSoon  = 10 * time.Second        // how long after a change it may take until a leader counts as lost
	leaderSilence = 1100 * time.Millisecond // a leader is taken for lost after so long: a live one sends every second
	listenFirst   = 1500 * time.Millisecond // a server that has just started listens so long for a leader before it stands
	electionTime  = time.Second             // an election takes up to 0.8 s; to stand again earlier would begin it anew
)

// run looks at the groups until the context ends. In a build without the link to NATS's elections it returns at once.
func (e *elector) run(ctx context.Context) {
	if !canStand {
		return
	}
	e.began = time.Now()
	t := time.NewTicker(electionLook)
	defer t.Stop()
	changed, looked := e.began, e.began
	var before []string
	var nats *server.Server
	for {
		select {
		case now := <-t.C:
			members := e.members()
			if slices.Sort(members); !slices.Equal(members, before) || e.nats() != nats {
				before, nats, changed = members, e.nats(), now
			}
			if now.Sub(changed) < electionSoon || now.Sub(looked) >= electionCalm {
				looked = now
				if e.look(now, members) {
					changed = now
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// look stands for election in each group whose leader is lost, and says whether there is one.
func (e *elector) look(now time.Time, members []string) (lost bool) {
	nats := e.nats()
	accounts, err := nats.Accountz(nil)
	if err != nil {
		return false
	}
	for _, account := range accounts.Accounts {
		status := nats.Raftz(&server.RaftzOptions{AccountFilter: account})
		if status == nil {
			continue
		}
		for name, g := range (*status)[account] {
			if !leaderLost(g, members) || !g.EverHadLeader && now.Sub(e.began) < listenFirst {
				delete(e.stood, name)
				continue
			}
			lost = true
			if now.Sub(e.stood[name]) < electionTime {
				continue
			}
			if node := lookupRaftNode(nats, name); node != nil && node.Campaign() == nil {
				e.stood[name] = now
				e.log.Info("the leader of a NATS group is lost; the embedded NATS server stands for election",
					"group", name, "lost", g.Peers[g.Leader].Name)
			}
		}
	}
	return lost
}

// leaderLost says whether a group has no leader, or a leader that is silent and whose node is no longer a member. It is
// false where this server leads the group or may not stand.
func leaderLost(g server.RaftzGroup, members []string) bool {
	if g.State == server.Leader.String() || g.State == server.Closed.String() || g.Observer || g.Paused {
		return false
	}
	if g.Leader == "" {
		return true
	}
	leader, ok := g.Peers[g.Leader]
	if !ok || slices.Contains(members, leader.Name) {
		return false
	}
	seen, err := time.ParseDuration(leader.LastSeen)
	return err != nil || seen > leaderSilence
}
