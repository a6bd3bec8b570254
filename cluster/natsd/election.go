package natsd

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// elector has an embedded server stand for election as soon as a leader is known to be lost. NATS itself waits 4 to 9 s,
// which can't be configured; gossip knows after one. Standing is safe at any time: who has missed something gets no votes.
type elector struct {
	nats   *server.Server
	living func() []string      // nodes that gossip has
	stood  map[string]time.Time // by group
	began  time.Time
	log    *slog.Logger
}

const (
	electionLook  = 100 * time.Millisecond
	leaderSilence = 1100 * time.Millisecond // a leader says something every second
	listening     = 1500 * time.Millisecond // so long a server that has just started hears whether there is one
	electionTime  = time.Second             // standing again sooner would put off the election that it waits for, of up to 0.8 s
)

func (e *elector) run(ctx context.Context) {
	if !canStand {
		return
	}
	e.began = time.Now()
	t := time.NewTicker(electionLook)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			e.look(now)
		case <-ctx.Done():
			return
		}
	}
}

// look stands in each group whose leader is lost.
func (e *elector) look(now time.Time) {
	accounts, err := e.nats.Accountz(nil)
	if err != nil {
		return
	}
	living := e.living()
	for _, account := range accounts.Accounts {
		status := e.nats.Raftz(&server.RaftzOptions{AccountFilter: account})
		if status == nil {
			continue
		}
		for name, g := range (*status)[account] {
			if !leaderLost(g, living) || !g.EverHadLeader && now.Sub(e.began) < listening {
				delete(e.stood, name)
				continue
			}
			if now.Sub(e.stood[name]) < electionTime {
				continue
			}
			if node := lookupRaftNode(e.nats, name); node != nil && node.Campaign() == nil {
				e.stood[name] = now
				e.log.Info("the embedded NATS server stands for election", "group", name, "lost", g.Peers[g.Leader].Name)
			}
		}
	}
}

// leaderLost says that a group has no leader, or one whose node is not among the living and that was silent for a while.
func leaderLost(g server.RaftzGroup, living []string) bool {
	if g.State == server.Leader.String() || g.State == server.Closed.String() || g.Observer || g.Paused {
		return false
	}
	if g.Leader == "" {
		return true
	}
	leader, ok := g.Peers[g.Leader]
	if !ok || slices.Contains(living, leader.Name) {
		return false
	}
	seen, err := time.ParseDuration(leader.LastSeen)
	return err != nil || seen > leaderSilence
}
