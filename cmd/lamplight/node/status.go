package node

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/journal"
	"lamplight/cluster/status"
	"lamplight/transport/bus"
)

// startStatus makes the node answer `lamplight cluster` and `lamplight log-level`. It answers before the node serves, and until its connection closes.
func (n *Node) startStatus(context.Context) error {
	n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_members", Help: "Nodes that are members of the cluster by gossip, this one included."},
		func() float64 { return float64(len(n.members.Nodes())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_shards_moving", Help: "Shards whose owner is a member, but not the one that should own them; they are about to be handed over."},
			func() float64 { return float64(n.moving()) }))
	if err := bus.AnswerLogLevels(n.conn, n.cfg.Prefix, n.cfg.Name, n.log); err != nil {
		return err
	}
	return bus.AnswerStatus(n.conn, n.cfg.Prefix, n.status)
}

// sourcesTime is how long a status waits for the shards to list their sources.
const sourcesTime = 300 * time.Millisecond

// sources returns the sources of calls that the node watches over.
func (n *Node) sources() (all []status.Source) {
	ctx, cancel := context.WithTimeout(context.Background(), sourcesTime)
	defer cancel()
	for _, o := range n.system.Sources(ctx) {
		all = append(all, status.Source{Source: o.Name, SwitchURI: o.Switch, Incarnation: o.Incarnation, Silent: o.Silent, ExpiresAt: o.Until.UTC()})
	}
	return all
}

// switches returns the calls on each switch, of at most status.MaxSwitches switches.
func (n *Node) switches() map[string]int {
	all := n.system.Switches()
	if len(all) > status.MaxSwitches {
		names := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Compare(all[b], all[a]) })
		for _, name := range names[status.MaxSwitches:] {
			delete(all, name)
		}
	}
	return all
}

// status returns what the node says of itself and of the other nodes.
func (n *Node) status(ask status.Ask) status.Status {
	v := n.journal.View()
	s := status.Status{Node: n.cfg.Name, Incarnation: n.journal.Incarnation(), Version: n.cfg.Version, Time: time.Now().UTC(), Reads: presence.Schema, Writes: n.newest(),
		State: status.Joining, Open: n.journal.OpenShards(), Members: n.members.Nodes(), Claims: v.Claims, Unowned: v.Unowned, Moving: n.moving(), Leases: map[string]string{}}
	switch {
	case n.draining.Load():
		s.State = status.Draining
	case n.ready.Load():
		s.State = status.Serving
	}
	for node, lease := range v.Leases {
		s.Leases[node] = map[journal.NodeState]string{journal.Left: status.Gone, journal.Expelled: status.Expelled,
			journal.Draining: status.Draining, journal.Alive: status.Serving}[lease]
	}
	if n.routed.Load() {
		s.Sources, s.Switches = n.sources(), n.switches()
		if ask.Watchers {
			s.Watchers = n.watchers()
		}
		if ask.Top > 0 {
			s.Top = n.top(time.Duration(min(ask.Top, status.MostTop)) * time.Millisecond)
		}
	}
	figures := n.figures()
	s.Extensions, s.Subscriptions, s.Behind = int(figures["extensions"]), int(figures["watchers"]), int(figures["watchers_behind"])
	s.Events, s.Takeovers, s.Expulsions = uint64(figures["events_total"]), uint64(figures["journal_takeovers_total"]), uint64(figures["journal_expelled_total"])
	if n.server != nil {
		free, size := n.disk()
		s.DiskFree, s.DiskSize = int64(free), int64(size)
	}
	return s
}

// moving returns the number of shards whose claim a member holds that is not the one that should, by Config.Place.
func (n *Node) moving() (moving int) {
	members := n.members.Nodes()
	for shard := range actors.Shards {
		if holder := n.journal.Holder(shard); slices.Contains(members, holder) && holder != n.cfg.Place(n.journal.Range(shard), members) {
			moving++
		}
	}
	return moving
}

// figures returns the values of the node's own metrics, by their names without lamplight_. `lamplight cluster` shows these, so that
// it cannot differ from /metrics.
func (n *Node) figures() map[string]float64 {
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
