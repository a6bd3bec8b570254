package cluster

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Membership follows who serves, by gossip. It only advises: claims decide (JOURNAL.md rule 11).
type Membership struct {
	list    *memberlist.Memberlist
	changed chan struct{}
}

// MembershipConfig is what a Membership needs.
type MembershipConfig struct {
	Node      string
	Listen    string // HOST:PORT
	Advertise string // host that others reach us at; "": found out
	Join      []string
	Key       []byte // 16, 24 or 32 bytes; nil: no encryption
	Log       *slog.Logger
}

// StartMembership joins the cluster, or begins one.
func StartMembership(c MembershipConfig) (*Membership, error) {
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("--gossip: %w", err)
	}
	m := &Membership{changed: make(chan struct{}, 1)}
	o := memberlist.DefaultLANConfig()
	o.Name, o.BindAddr, o.BindPort, o.AdvertisePort = c.Node, host, port, port
	o.AdvertiseAddr = c.Advertise
	o.SecretKey = c.Key
	o.ProbeInterval, o.ProbeTimeout, o.SuspicionMult, o.GossipInterval = 300*time.Millisecond, 200*time.Millisecond, 2, 100*time.Millisecond
	o.Events = m
	o.Logger = log.New(gossipLog{c.Log.With("part", "gossip")}, "", 0)
	if m.list, err = memberlist.Create(o); err != nil {
		return nil, fmt.Errorf("gossip on %s: %w; give another address with --gossip", c.Listen, err)
	}
	if len(c.Join) > 0 {
		if _, err := m.list.Join(c.Join); err != nil {
			c.Log.Warn("no node to join answers yet; gossip goes on trying", "err", err)
		}
	}
	return m, nil
}

// Addr is where gossip listens.
func (m *Membership) Addr() string { return m.list.LocalNode().Address() }

// Nodes are the names of the members, sorted.
func (m *Membership) Nodes() []string {
	var names []string
	for _, n := range m.list.Members() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// Changed receives after members came or went.
func (m *Membership) Changed() <-chan struct{} { return m.changed }

func (m *Membership) poke() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (m *Membership) NotifyJoin(*memberlist.Node) { m.poke() }

// NotifyLeave implements memberlist.EventDelegate.
func (m *Membership) NotifyLeave(*memberlist.Node) { m.poke() }

// NotifyUpdate implements memberlist.EventDelegate.
func (m *Membership) NotifyUpdate(*memberlist.Node) { m.poke() }

// Close leaves the cluster.
func (m *Membership) Close(ctx context.Context) error {
	wait := time.Second
	if d, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(d), 0))
	}
	err := m.list.Leave(wait)
	if e := m.list.Shutdown(); err == nil {
		err = e
	}
	return err
}

// gossipLog hands memberlist's lines on.
type gossipLog struct{ log *slog.Logger }

func (g gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.Contains(text, "[ERR]"):
		g.log.Error(text)
	case strings.Contains(text, "[WARN]"):
		g.log.Warn(text)
	default:
		g.log.Debug(text)
	}
	return len(line), nil
}
