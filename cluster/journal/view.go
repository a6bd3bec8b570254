package journal

import "lamplight/cluster/ownership"

// View is what the claims and leases show this node of the whole cluster.
type View struct {
	Claims  map[string]int // the number of shards that each node holds
	Unowned []int          // the shards that no node holds, in rising order
	Leases  map[string]NodeState
}

// NodeState is what a node's leases say, in all streams together.
type NodeState uint8

// The states. When a node's leases differ, the last of these counts.
const (
	Left     NodeState = iota // the node gave everything up
	Expelled                  // another node ended its incarnation
	Draining                  // it gives its shards up
	Alive                     // none of these
)

// View returns the present view.
func (j *Journal) View() View {
	v := View{Claims: map[string]int{}, Unowned: []int{}, Leases: map[string]NodeState{}}
	for shard := range j.places {
		if node := j.Holder(shard); node != "" {
			v.Claims[node]++
		} else {
			v.Unowned = append(v.Unowned, shard)
		}
	}
	for _, s := range j.streams {
		s.mu.Lock()
		s.machine.Leases(func(l ownership.Lease) { v.Leases[l.Node] = max(v.Leases[l.Node], state(l)) })
		s.mu.Unlock()
	}
	return v
}

// state returns what one lease says.
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
