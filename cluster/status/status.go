// Package status is what a node says of itself and of the cluster, and what the answers of all nodes add up to. It is
// pure: transport/bus answers with a Status, transport/client asks for one of each node.
package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// States of a node.
const (
	Joining  = "joining"  // it starts, or takes shards over for the first time
	Serving  = "serving"  //
	Draining = "draining" // it gives its shards up
	Expelled = "expelled" // another node ended its incarnation
	Gone     = "gone"     // it left
	Silent   = "silent"   // its lease was not ended, but it does not answer
)

// Status is what a node says of itself, and what it sees of the others.
type Status struct {
	Schema      int    `json:"schema"` // of this document
	Node        string `json:"node"`
	Incarnation string `json:"incarnation"`
	Version     string `json:"version"`
	Reads       int    `json:"reads"`  // the newest schema of records and messages
	Writes      int    `json:"writes"` // what all members read
	State       string `json:"state"`
	Open        int    `json:"open"` // shards that it serves

	Extensions    int    `json:"extensions"`
	Subscriptions int    `json:"subscriptions"`
	Behind        int    `json:"watchers_behind"`
	Events        uint64 `json:"events"`    // since it started
	Takeovers     uint64 `json:"takeovers"` // shards
	Expulsions    uint64 `json:"expulsions"`

	Members []string          `json:"members"` // as gossip shows them
	Claims  map[string]int    `json:"claims"`  // shards, by the node whose claim stands
	Unowned []int             `json:"unowned"` // shards without a claim that stands
	Moving  int               `json:"moving"`  // shards that placement gives to another member than their holder
	Leases  map[string]string `json:"leases"`  // Serving, Draining, Expelled or Gone, as the journal shows it
}

// Schema is the number of this form of Status.
const Schema = 1

// Complete says that every node that an answer names as alive has answered.
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

// Overview is the cluster as its nodes' answers add up to it.
type Overview struct {
	Nodes         []NodeView `json:"nodes"`
	Unowned       []int      `json:"unowned"`       // shards that no answer knows an owner of
	Moving        int        `json:"moving"`        // shards on their way to where they should be
	Disagreements []string   `json:"disagreements"` // between membership, claims and what nodes serve
}

// NodeView is one node of an Overview.
type NodeView struct {
	Node          string  `json:"node"`
	State         string  `json:"state"`
	Member        bool    `json:"member"` // gossip shows it, to at least one node
	Version       string  `json:"version,omitzero"`
	Shards        int     `json:"shards"` // whose claim is its
	Open          int     `json:"open"`   // that it serves
	Extensions    int     `json:"extensions"`
	Subscriptions int     `json:"subscriptions"`
	Behind        int     `json:"watchers_behind"`
	Events        uint64  `json:"events"`
	Rate          float64 `json:"events_per_second"`
	Takeovers     uint64  `json:"takeovers"`
	Expulsions    uint64  `json:"expulsions"`
}

// Merge adds answers up. Two rounds of them, some time apart, give rates, and keep what was only in passing out of
// Unowned; before may be empty.
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
		v.Behind, v.Events, v.Takeovers, v.Expulsions = s.Behind, s.Events, s.Takeovers, s.Expulsions
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
			o.Disagreements = append(o.Disagreements, fmt.Sprintf("%s does not see %s by gossip: is it in --join, with the same --gossip-key?", s.Node, strings.Join(unseen, ", ")))
		}
	}
	return o
}

// unowned are the shards that are unowned in all answers.
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
			say("%s holds the claims of %d shards and is no member", n.Node, n.Shards)
		case n.State == Serving && n.Member && n.Shards == 0:
			say("%s is a member and holds no shard", n.Node)
		case n.State == Serving && n.Open != n.Shards:
			say("%s serves %d shards and holds the claims of %d", n.Node, n.Open, n.Shards)
		}
	}
	if o.Moving > 0 {
		say("%d shards are held by another member than placement names; they are handed over", o.Moving)
	}
}
