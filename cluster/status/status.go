// Package status is the document in which a node describes itself and what it sees of the cluster, and the overview that
// the documents of all nodes add up to. transport/bus answers requests with a Status; transport/client collects one from
// each node and merges them. The package has no state and no I/O, and any goroutine may call it. It does not know how
// the numbers are measured.
package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states of a node.
const (
	Joining  = "joining"  // the node starts and does not serve yet
	Serving  = "serving"  // the node serves
	Draining = "draining" // the node stops: it hands its shards over
	Expelled = "expelled" // another node ended its incarnation
	Gone     = "gone"     // the node left, or nothing but its name is known
	Silent   = "silent"   // the node's lease stands or gossip shows it, but it did not answer
)

// Status is what one node says of itself, and what it sees of the others.
type Status struct {
	Schema      int    `json:"schema"` // the number of this form of the document
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
	Version     string `json:"version"`
	Reads       int    `json:"reads"`  // the newest schema of records and messages that the node can read
	Writes      int    `json:"writes"` // the schema that the node writes: the newest that all members read
	State       string `json:"state"`  // Joining, Serving or Draining
	Open        int    `json:"open"`   // the number of shards that the node serves

	Extensions    int    `json:"extensions"`
	Subscriptions int    `json:"subscriptions"`
	Behind        int    `json:"watchers_behind"`          // watchers that should know something that they were not told yet
	Events        uint64 `json:"events"`                   // since the node started
	Takeovers     uint64 `json:"takeovers"`                // shards that the node has taken over since it started
	Expulsions    uint64 `json:"expulsions"`               // since the node started; a node is expelled in each stream of the journal
	DiskFree      int64  `json:"disk_free_bytes,omitzero"` // of the disk of the embedded NATS server
	DiskSize      int64  `json:"disk_size_bytes,omitzero"`

	Members []string          `json:"members"` // the nodes that gossip shows
	Claims  map[string]int    `json:"claims"`  // the number of shards that each node holds
	Unowned []int             `json:"unowned"` // the shards that no node holds
	Moving  int               `json:"moving"`  // the number of shards whose holder is not the member that placement names
	Leases  map[string]string `json:"leases"`  // by node: Serving, Draining, Expelled or Gone, as the journal shows it

	Sources  []Source       `json:"sources,omitzero"`  // the sources of calls that the node watches over
	Switches map[string]int `json:"switches,omitzero"` // by Switch-URI: the calls that the node holds; of many switches, those with the most calls
}

// MaxSwitches is how many switches a Status has at most.
const MaxSwitches = 1000

// Source is a source of calls, such as a bridge.
type Source struct {
	Source      string    `json:"source"`
	SwitchURI   string    `json:"switch_uri"`
	Incarnation string    `json:"incarnation"`
	Silent      bool      `json:"silent"`     // it is taken for gone
	ExpiresAt   time.Time `json:"expires_at"` // when it is taken for gone unless it speaks before; of one that is silent when that was
	Node        string    `json:"node"`       // the node that watches over it
}

// SourceView is a source of an overview with the calls of its switch. Without a Source, it is a switch for which no source speaks.
type SourceView struct {
	Source
	Calls int `json:"calls"`
}

// Sources returns the sources and switches that the answers of all nodes add up to, sorted by source, then switch.
func Sources(all []Status) []SourceView {
	calls, spoken := map[string]int{}, map[string]bool{}
	views := []SourceView{}
	for _, s := range all {
		for name, n := range s.Switches {
			calls[name] += n
		}
	}
	for _, s := range all {
		for _, o := range s.Sources {
			o.Node = s.Node
			views = append(views, SourceView{o, calls[o.SwitchURI]})
			spoken[o.SwitchURI] = true
		}
	}
	for name, n := range calls {
		if !spoken[name] {
			views = append(views, SourceView{Source{SwitchURI: name}, n})
		}
	}
	slices.SortFunc(views, func(a, b SourceView) int {
		return cmp.Or(cmp.Compare(a.Source.Source, b.Source.Source), cmp.Compare(a.SwitchURI, b.SwitchURI), cmp.Compare(a.Node, b.Node))
	})
	return views
}

// Schema is the number of the present form of Status.
const Schema = 1

// Complete says whether every node that some answer names as alive is among those that answered. It is false without
// any answer.
func Complete(all []Status) bool {
	for _, s := range all {
		for node, lease := range s.Leases {
			if lease != Gone && lease != Expelled && !answered(all, node) {
				return false
			}
		}
		for _, node := range s.Members {
			if !answered(all, node) {
				return false
			}
		}
	}
	return len(all) > 0
}

func answered(all []Status, node string) bool {
	return slices.ContainsFunc(all, func(s Status) bool { return s.Node == node })
}

// Overview is the state of the cluster that the answers of its nodes add up to.
type Overview struct {
	Nodes         []NodeView `json:"nodes"`
	Unowned       []int      `json:"unowned"`       // the shards for which no answer knows an owner
	Moving        int        `json:"moving"`        // the number of shards whose holder is not the member that placement names
	Disagreements []string   `json:"disagreements"` // where membership, claims and what the nodes serve do not fit together
}

// NodeView is one node of an Overview.
type NodeView struct {
	Node          string  `json:"node"`
	State         string  `json:"state"`
	Member        bool    `json:"member"` // gossip shows the node to at least one node
	Version       string  `json:"version,omitzero"`
	Shards        int     `json:"shards"` // the number of shards that the node holds
	Open          int     `json:"open"`   // the number of shards that the node serves
	Extensions    int     `json:"extensions"`
	Subscriptions int     `json:"subscriptions"`
	Behind        int     `json:"watchers_behind"`
	Events        uint64  `json:"events"`
	Rate          float64 `json:"events_per_second"`
	Takeovers     uint64  `json:"takeovers"`
	Expulsions    uint64  `json:"expulsions"`
	DiskFree      int64   `json:"disk_free_bytes,omitzero"`
	DiskSize      int64   `json:"disk_size_bytes,omitzero"`
}

// Merge makes an overview of the newest answers. With an earlier round of answers, taken apart before, it also computes
// rates, and leaves shards out of Unowned that had no owner for a moment only. before may be empty.
func Merge(before, now []Status, apart time.Duration) Overview {
	o := Overview{Unowned: unowned(append(slices.Clone(before), now...)), Disagreements: []string{}}
	views := map[string]*NodeView{}
	view := func(node string) *NodeView {
		if views[node] == nil {
			views[node] = &NodeView{Node: node, State: Gone}
		}
		return views[node]
	}
	for _, s := range now {
		for node, lease := range s.Leases {
			v := view(node)
			if v.State = lease; lease == Serving {
				v.State = Silent
			}
		}
		for _, node := range s.Members {
			view(node).Member = true
		}
		for node, shards := range s.Claims {
			v := view(node)
			v.Shards = max(v.Shards, shards)
		}
		o.Moving = max(o.Moving, s.Moving)
	}
	for _, s := range now {
		v := view(s.Node)
		v.State, v.Version, v.Open, v.Extensions, v.Subscriptions = s.State, s.Version, s.Open, s.Extensions, s.Subscriptions
		v.Behind, v.Events, v.Takeovers, v.Expulsions, v.DiskFree, v.DiskSize = s.Behind, s.Events, s.Takeovers, s.Expulsions, s.DiskFree, s.DiskSize
		for _, b := range before {
			if b.Node == s.Node && b.Incarnation == s.Incarnation && apart > 0 && s.Events >= b.Events {
				v.Rate = float64(s.Events-b.Events) / apart.Seconds()
			}
		}
	}
	for _, v := range views {
		if v.State == Gone && v.Member {
			v.State = Silent
		}
		o.Nodes = append(o.Nodes, *v)
	}
	slices.SortFunc(o.Nodes, func(a, b NodeView) int { return cmp.Compare(a.Node, b.Node) })
	o.disagree()
	for _, s := range now {
		var unseen []string
		for _, other := range now {
			if other.Node != s.Node && other.State == Serving && s.State == Serving && !slices.Contains(s.Members, other.Node) {
				unseen = append(unseen, other.Node)
			}
		}
		if len(unseen) > 0 {
			o.Disagreements = append(o.Disagreements, fmt.Sprintf("%s does not see %s by gossip: is it in --join, "+
				"with the same --gossip-key?", s.Node, strings.Join(unseen, ", ")))
		}
	}
	return o
}

// unowned returns the shards that every answer lists as unowned, in rising order.
func unowned(all []Status) []int {
	seen := map[int]int{}
	for _, s := range all {
		for _, shard := range s.Unowned {
			seen[shard]++
		}
	}
	shards := []int{}
	for shard, n := range seen {
		if n == len(all) {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// disagree fills Disagreements with what does not fit together in Nodes and Moving. Each line is for the operator.
func (o *Overview) disagree() {
	say := func(format string, v ...any) { o.Disagreements = append(o.Disagreements, fmt.Sprintf(format, v...)) }
	for _, n := range o.Nodes {
		switch {
		case n.Shards > 0 && (n.State == Silent || n.State == Gone || n.State == Expelled):
			say("%s holds the claims of %d shards and does not answer", n.Node, n.Shards)
		case n.State == Silent:
			say("%s does not answer", n.Node)
		}
		switch {
		case n.Shards > 0 && !n.Member:
			say("%s holds the claims of %d shards and is not a member", n.Node, n.Shards)
		case n.State == Serving && n.Member && n.Shards == 0:
			say("%s is a member and holds no shard", n.Node)
		case n.State == Serving && n.Open != n.Shards:
			say("%s serves %d shards and holds the claims of %d", n.Node, n.Open, n.Shards)
		}
	}
	if o.Moving > 0 {
		say("%d shards are not held by the member that should hold them; they are being handed over", o.Moving)
	}
}
