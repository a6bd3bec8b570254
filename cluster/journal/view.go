package journal

import (
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/cluster/ownership"
)

// View is what the claims and leases show this node of all.
type View struct {
	Claims  map[string]int // shards, by the node whose claim stands
	Unowned []int          // shards without one
	Leases  map[string]NodeState
}

// NodeState is what a node's leases say, of all streams together.
type NodeState uint8

// The states, each of which outweighs those before it.
const (
	Left     NodeState = iota // it gave all up
	Expelled                  // its incarnation was ended
	Draining                  // it gives its shards up
	Alive                     // nobody has ended it
)

// View gives the present one.
func (j *Journal) View() View {
	v := View{Claims: map[string]int{}, Unowned: []int{}, Leases: map[string]NodeState{}}
	for i := range j.holders {
		if node := j.holders[i].Load().node; node != "" {
			v.Claims[node]++
		} else {
			v.Unowned = append(v.Unowned, i)
		}
	}
	for _, s := range j.streams {
		s.mu.Lock()
		s.machine.Leases(func(l ownership.Lease) { v.Leases[l.Node] = max(v.Leases[l.Node], state(l)) })
		s.mu.Unlock()
	}
	return v
}

func state(l ownership.Lease) NodeState {
	switch {
	case l.Left:
		return Left
	case l.Expelled:
		return Expelled
	case l.Draining:
		return Draining
	}
	return Alive
}

// registerGauges shows on /metrics what View says in numbers.
func (j *Journal) registerGauges(r prometheus.Registerer) {
	gauge := func(name, help string, value func() int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_shards_" + name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("open", "Shards that this node serves.", j.Serving)
	gauge("claimed", "Shards whose claim is this node's.", func() (n int) {
		for i := range j.holders {
			if j.holders[i].Load().node == j.cfg.Node {
				n++
			}
		}
		return n
	})
	gauge("unowned", "Shards that no claim stands for, as this node sees it.", func() int {
		owned, _ := j.Held()
		return len(j.holders) - owned
	})
}
