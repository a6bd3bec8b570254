package status

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	a := Status{Node: "a", Incarnation: "1", State: Serving, Open: 700, Events: 100, Members: []string{"a", "b"},
		Claims: map[string]int{"a": 700, "b": 300, "d": 20}, Unowned: []int{7, 9, 11, 12},
		Leases: map[string]string{"a": Serving, "b": Serving, "c": Gone, "d": Expelled}, Moving: 4}
	b := Status{Node: "b", Incarnation: "2", State: Joining, Open: 1, Members: []string{"a", "b"}, Claims: map[string]int{"a": 700, "b": 301}, Unowned: []int{9, 12}}
	before := a
	before.Events, before.Unowned = 40, []int{3, 9}
	o := Merge([]Status{before}, []Status{a, b}, 2*time.Second)
	var got []string
	for _, n := range o.Nodes {
		got = append(got, n.Node+" "+n.State)
	}
	if want := []string{"a serving", "b joining", "c gone", "d expelled"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if o.Nodes[0].Rate != 30 || o.Nodes[1].Shards != 301 || o.Moving != 4 || !slices.Equal(o.Unowned, []int{9}) {
		t.Errorf("%+v", o)
	}
	for _, want := range []string{"d holds the claims of 20 shards and does not answer", "d holds the claims of 20 shards and is not a member", "4 shards are not held by the member that should hold them"} {
		if !strings.Contains(strings.Join(o.Disagreements, "\n"), want) {
			t.Errorf("no %q in %q", want, o.Disagreements)
		}
	}
	if o := Merge(nil, []Status{a}, 0); o.Nodes[1].State != Silent {
		t.Errorf("a node that does not answer: %+v", o.Nodes[1])
	}
	alone := Status{Node: "e", State: Serving, Members: []string{"e"}}
	if got := Merge(nil, []Status{a, b, alone}, 0).Disagreements; !slices.Contains(got, "e does not see a by gossip: is it in --join, with the same --gossip-key?") {
		t.Errorf("two nodes of one NATS that have not joined: %q", got)
	}
	if Complete([]Status{a}) || Complete(nil) || !Complete([]Status{a, b}) {
		t.Error("Complete must want an answer of every node that is alive, and none of a node that left")
	}
}
