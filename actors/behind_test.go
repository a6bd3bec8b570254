package actors_test

import (
	"fmt"
	"testing"
	"time"

	"lamplight/actors/presence"
)

// shows waits until a gauge stands where it should.
func (s *stage) shows(name string, ok func(float64) bool) {
	s.Helper()
	value := -1.0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all, err := s.metrics.Gather()
		if err != nil {
			s.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == name {
				value = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		if ok(value) {
			return
		}
	}
	s.Fatalf("%s stands at %v", name, value)
}

// A watcher that was not told yet is counted, and for how long it has not been, until it is told.
func TestWatchersBehind(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	to := s.extension(0)
	is := func(want float64) func(float64) bool { return func(v float64) bool { return v == want } }
	first, second := s.ask(to, watch("c1"), 0), s.ask(to, watch("c2"), 0)
	s.shows("lamplight_watchers_behind", is(2))
	s.shows("lamplight_watchers_behind_seconds", func(v float64) bool { return v > 0 })
	s.durable()
	s.durable()
	s.good(first)
	s.good(second)
	s.shows("lamplight_watchers_behind", is(0))
	s.shows("lamplight_watchers_behind_seconds", is(0))

	call := s.ask(to, presence.CallEvent{CallID: "k", Direction: presence.Initiator, State: presence.Early}, 0)
	s.shows("lamplight_watchers_behind", is(2))
	s.sys.Drop(s.shard, 0) // its memory is gone; another node looks after them
	<-call
	s.shows("lamplight_watchers_behind", is(0))
	s.shows("lamplight_watchers_behind_seconds", is(0))
}

// The metrics name the edges with the most watchers behind, and no more than 20 of them.
func TestWatchersBehindByEdge(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	for i := range 25 {
		to := s.extension(i)
		for k := range 1 + i/24 { // the last edge has two
			w := watch(fmt.Sprintf("c%d-%d", i, k))
			w.ServerID = fmt.Sprintf("edge%02d", i)
			s.ask(to, w, 0)
		}
	}
	s.shows("lamplight_watchers_behind", func(v float64) bool { return v == 26 })
	all, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "lamplight_edge_watchers_behind":
				by[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			case "lamplight_edge_watchers_behind_seconds":
				if m.GetGauge().GetValue() <= 0 {
					t.Errorf("%v are behind for no time", m.GetLabel())
				}
			}
		}
	}
	if len(by) != 21 || by["edge24"] != 2 || by["other"] != 5 || by["edge00"] != 1 {
		t.Errorf("by edge: %v", by)
	}
}

// The ledger names by edge how many watchers were not told what they should know, and the extensions that have had such watchers for longest.
func TestLedger(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	for i := range 8 {
		ev := watch("c1")
		ev.ServerID = []string{"edge1", "edge2"}[i/7]
		answer := s.ask(s.extension(i), ev, 0)
		if i%2 == 1 {
			s.durable()
			s.durable()
			s.good(answer)
		}
	}
	last := s.ask(s.extension(0), presence.CallEvent{CallID: "k", State: presence.Early}, 0)
	by, complete := s.sys.Ledger(t.Context())
	if e := by["edge1"]; !complete || len(by) != 2 || e.Watchers != 7 || e.Untold != 1 || e.Unanswered != 0 || e.Since.IsZero() || len(e.Worst) != 1 || e.Worst[0].To != s.extension(0) || e.Worst[0].Untold != 1 {
		t.Errorf("edge1: %+v", e)
	}
	if e := by["edge2"]; e.Watchers != 1 || e.Untold != 0 || !e.Since.IsZero() || len(e.Worst) != 0 {
		t.Errorf("edge2: %+v", e)
	}
	s.durable()
	s.good(last)
	if by, _ := s.sys.Ledger(t.Context()); by["edge1"].Untold != 0 || by["edge1"].Watchers != 7 {
		t.Errorf("after the change was told: %+v", by["edge1"])
	}
}
