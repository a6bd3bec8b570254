package main

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster"
	"lamplight/cluster/journal"
)

// startStatus answers lamplight cluster, from before the node serves until it has drained.
func (n *node) startStatus(context.Context) error {
	n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_members", Help: "Nodes that gossip shows, this one among them."},
		func() float64 { return float64(len(n.members.Nodes())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_shards_moving", Help: "Shards that placement gives to another member than their holder, as this node sees it."},
			func() float64 { return float64(n.moving()) }))
	_, err := cluster.AnswerStatus(n.conn, n.flags.prefix(), n.status)
	return err
}

func (n *node) status() cluster.Status {
	v := n.journal.View()
	s := cluster.Status{Node: n.flags.Node, Incarnation: n.journal.Incarnation(), Version: version, Reads: presence.Schema, Writes: n.newest(),
		State: cluster.Joining, Open: n.journal.Serving(), Members: n.members.Nodes(), Claims: v.Claims, Unowned: v.Unowned, Moving: n.moving(), Leases: map[string]string{}}
	switch {
	case n.draining.Load():
		s.State = cluster.Draining
	case n.ready.Load():
		s.State = cluster.Serving
	}
	for node, lease := range v.Leases {
		s.Leases[node] = map[journal.NodeState]string{journal.Left: cluster.Gone, journal.Expelled: cluster.Expelled,
			journal.Draining: cluster.Draining, journal.Alive: cluster.Serving}[lease]
	}
	figures := n.figures()
	s.Extensions, s.Subscriptions, s.Behind = int(figures["extensions"]), int(figures["watchers"]), int(figures["watchers_behind"])
	s.Events, s.Takeovers, s.Expulsions = uint64(figures["events_total"]), uint64(figures["journal_takeovers_total"]), uint64(figures["journal_expelled_total"])
	return s
}

// moving is how many shards placement gives to another member than the one that holds their claim.
func (n *node) moving() (moving int) {
	members := n.members.Nodes()
	for shard := range actors.Shards {
		if holder := n.journal.Holder(shard); slices.Contains(members, holder) && holder != cluster.Owner(shard, members) {
			moving++
		}
	}
	return moving
}

// figures are the node's own metrics, so that what lamplight cluster shows and what /metrics shows can't differ.
func (n *node) figures() map[string]float64 {
	figures := map[string]float64{}
	families, _ := n.registry.Gather()
	for _, f := range families {
		if name, ours := strings.CutPrefix(f.GetName(), "lamplight_"); ours && len(f.GetMetric()) == 1 {
			m := f.GetMetric()[0]
			figures[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return figures
}
