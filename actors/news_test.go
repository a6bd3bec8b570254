package actors_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

// A final reply ends its subscription. That is told when it is kept, and counts as a refusal for who waits.
func TestFinalReplyEndsASubscription(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made := s.ask(x, watch("a"), 0)
	s.durable()
	s.good(made)
	get(s, "a NOTIFY", s.told)
	set := s.ask(x, presence.SetManual{State: presence.Early}, patience)
	s.durable()
	refused := presence.Notified{CallID: "a", Sequence: get(s, "a NOTIFY", s.told).Sequence, Reply: 481, Edge: "edge"}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.CutOff })
	if a := get(s, "an answer", s.ask(x, refused, 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("without NATS: %v", a.Err)
	}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	get(s, "the change of the lamp", s.lamps)
	ended := s.ask(x, refused, 0)
	s.silent(ended)
	if a := s.good(set); a.Failed != 1 {
		t.Errorf("%+v", a)
	}
	s.durable()
	s.good(ended)
	if n := get(s, "the last NOTIFY", s.told); n.End != "timeout" || len(n.Watchers) != 1 {
		t.Errorf("%+v", n)
	}
	if a := s.good(s.ask(x, actors.Show{}, 0)); len(a.Subscriptions) != 0 {
		t.Errorf("%+v", a.Subscriptions)
	}
}

// A watcher that could not be told is told again when its time has come, with a new number.
func TestAFailedNotifyIsRetried(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	made := s.ask(x, watch("a"), 0)
	s.durable()
	s.good(made)
	first := get(s, "a NOTIFY", s.told)
	failed := presence.Notified{CallID: "a", Sequence: first.Sequence, Reply: 503, RetryAfter: 1, Edge: "edge"}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.CutOff })
	if a := get(s, "an answer", s.ask(x, failed, 0)); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("without NATS: %v", a.Err)
	}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	s.good(s.ask(x, failed, 0))
	s.silent()
	for i := range 2 {
		again := get(s, "the retry", s.told)
		if again.Sequence <= first.Sequence || len(again.Watchers) != 1 || again.End != "" {
			t.Fatalf("%+v after %d", again, first.Sequence)
		}
		first, failed.Sequence = again, again.Sequence
		ended := s.ask(x, failed, 0)
		if i == 1 {
			s.durable()
		}
		s.good(ended)
	}
	if a := s.good(s.ask(x, actors.Show{}, 0)); len(a.Subscriptions) != 0 {
		t.Errorf("%+v", a.Subscriptions)
	}
	s.silent()
}

// The index from edges to extensions follows every subscription: made, moved, refreshed, ended, replaced, lapsed, loaded, dropped.
func TestEdgesAreIndexed(t *testing.T) {
	s := open(t, 100)
	edges := []string{"", "e1", "e2", "e3"}
	watched := func(want ...string) {
		t.Helper()
		if wrong := s.sys.CheckCounts(s.shard); wrong != "" {
			t.Fatal(wrong)
		}
		for _, e := range edges {
			if s.sys.WatchesEdge(e) != slices.Contains(want, e) {
				t.Fatalf("watchers behind %q: %v", e, s.sys.WatchesEdge(e))
			}
		}
	}
	subscribe := func(n int, call, edge string, expires int) {
		t.Helper()
		ev := watch(call)
		ev.ServerID, ev.Expires, ev.Contact = edge, expires, "<sip:"+call[:1]+"@10.0.0.9>"
		made := s.ask(s.extension(n), ev, 0)
		s.durable()
		s.good(made)
		for len(s.told) > 0 {
			<-s.told
		}
	}
	watched()
	subscribe(0, "a1", "e1", 600)
	subscribe(0, "b1", "e1", 600)
	subscribe(1, "c1", "e2", 600)
	subscribe(2, "d1", "", 600)
	watched("", "e1", "e2")
	subscribe(0, "a1", "e1", 600)
	subscribe(0, "b1", "e3", 600) // its phone has come through another edge
	watched("", "e1", "e2", "e3")
	subscribe(0, "a2", "e3", 600) // a phone that was started again
	watched("", "e2", "e3")
	subscribe(1, "c1", "e2", 0)
	watched("", "e3")
	s.sys.RenotifyEdge("e2")
	s.sys.RenotifyEdge("e3")
	if n := get(s, "the NOTIFY", s.told); n.To != s.extension(0) || len(n.Watchers) != 2 {
		t.Errorf("told again: %+v", n)
	}
	ended := s.ask(s.extension(0), presence.End{}, 0)
	s.durable()
	s.good(ended)
	watched("")
	s.sys.Drop(s.shard, 0)
	s.heard()
	watched()
}

// News that changes nothing is acknowledged, and counted by why.
func TestIgnoredNewsIsCounted(t *testing.T) {
	s := open(t, 100)
	x := s.extension(0)
	ring := presence.CallEvent{CallID: "k", State: presence.Early}
	old := ring
	old.Timestamp = time.Now().Add(-2 * time.Minute)
	s.good(s.ask(x, old, 0))
	made := s.ask(x, ring, 0)
	s.durable()
	s.good(made)
	s.good(s.ask(x, old, 0))
	ended := s.ask(x, presence.CallEvent{CallID: "k", State: presence.Terminated}, 0)
	s.durable()
	s.good(ended)
	s.good(s.ask(x, ring, 0))
	got := map[string]float64{}
	all, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "lamplight_news_ignored_total" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"old": 2, "ended": 1, "overtaken": 0}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A fetch is told the state once, and leaves nothing.
func TestFetchLeavesNothing(t *testing.T) {
	s := open(t, 100)
	fetch := watch("f")
	fetch.Expires = 0
	s.good(s.ask(s.extension(0), fetch, 0))
	if n := get(s, "the NOTIFY", s.told); n.End != "timeout" || n.Watchers[0].CallID != "f" || n.Sequence == 0 || len(n.Body) == 0 {
		t.Errorf("%+v", n)
	}
	if w := s.sys.Window(t.Context(), actors.Query{Realm: s.extension(0).Realm}, "", nil); len(w.Rows) != 0 || w.Next != "" {
		t.Errorf("%+v", w.Rows)
	}
}
