package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// peersFile is the file in the data directory that keeps the routes of all members, so that a node can start again while
// other members are away.
const peersFile = "peers"

// logWaiting is the time between two log lines of a node that waits for other nodes.
const logWaiting = 5 * time.Second

// Peers returns the routes of the NATS servers that make up the cluster, this node's among them. For a cluster that is
// started for the first time (begins) it blocks until a member is at every address of Config.Join, or until the context
// ends; it then keeps the routes in dir. Later it does not block, and returns the routes of the present members and those
// kept in dir.
func (m *Membership) Peers(ctx context.Context, dir string, begins bool) ([]string, error) {
	if begins {
		routes, err := m.awaitAll(ctx)
		if err == nil {
			if err = os.MkdirAll(dir, 0o700); err == nil {
				m.KeepPeers(dir)
			}
		}
		return routes, err
	}
	known, err := os.ReadFile(filepath.Join(dir, peersFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	routes := append(m.routes(), strings.Fields(string(known))...)
	slices.Sort(routes)
	return slices.Compact(routes), nil
}

// KeepPeers adds the routes of the present members to the file in dir. Routes of members that are away stay in it.
func (m *Membership) KeepPeers(dir string) {
	name := filepath.Join(dir, peersFile)
	before, _ := os.ReadFile(name)
	routes := append(strings.Fields(string(before)), m.routes()...)
	slices.Sort(routes)
	now := strings.Join(slices.Compact(routes), "\n")
	if now == strings.TrimSpace(string(before)) || m.cfg.Route == "" {
		return
	}
	if err := os.WriteFile(name, []byte(now+"\n"), 0o600); err != nil {
		m.cfg.Log.Warn("the members' addresses could not be kept for the next start; see that the data directory can "+
			"be written", "file", name, "err", err)
	}
}

// routes returns the routes of the members that have one.
func (m *Membership) routes() (routes []string) {
	for _, n := range m.Members() {
		if n.Route != "" {
			routes = append(routes, n.Route)
		}
	}
	return routes
}

// awaitAll blocks until a member with a route is at every address of Config.Join, and returns the routes of all members.
func (m *Membership) awaitAll(ctx context.Context) ([]string, error) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for logged := time.Now(); ; {
		there := map[string]bool{}
		for _, n := range m.Members() {
			there[n.Address] = n.Route != ""
		}
		var missing []string
		for _, a := range m.cfg.Join {
			if tcp, err := net.ResolveTCPAddr("tcp", a); err != nil || !there[tcp.String()] {
				missing = append(missing, a)
			}
		}
		if len(missing) == 0 {
			return m.routes(), nil
		}
		if time.Since(logged) > logWaiting {
			logged = time.Now()
			m.cfg.Log.Info("the cluster starts for the first time and waits until all nodes of --join are members",
				"missing", missing, "members", m.Nodes())
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("a cluster begins when all its nodes are there: no member with --nats-cluster at "+
				"%s (--join); start the others too", strings.Join(missing, ", "))
		}
	}
}
