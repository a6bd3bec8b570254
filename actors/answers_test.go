package actors_test

import (
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// The watchers that do not answer are counted by edge. An edge of which no watcher has ever answered reports no answers perhaps: its watchers count
// only when nobody listens for it.
func TestWatchersUnanswered(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	to := s.extension(0)
	for _, c := range [][2]string{{"c1", "proxy"}, {"c2", "proxy"}, {"c3", "mute"}} {
		w := watch(c[0])
		w.ServerID = c[1]
		done := s.ask(to, w, 0)
		s.durable()
		s.good(done)
	}
	stands := func(name, edge string, want float64) {
		t.Helper()
		s.stands(t, name, edge, want)
	}
	other := s.extension(1)
	w := watch("c4")
	w.ServerID = "proxy"
	done := s.ask(other, w, 0)
	s.durable()
	s.good(done)
	stands("lamplight_edge_watchers", "proxy", 3)
	stands("lamplight_edge_watchers", "mute", 1)
	stands("lamplight_edge_watchers_unanswered", "proxy", 0)
	told := map[string]uint32{}
	for len(told) < 4 {
		n := get(s, "a NOTIFY", s.told)
		for _, w := range n.Watchers {
			told[w.CallID] = n.Sequence
		}
	}
	reply := func(to actors.Address, call string, status int) {
		<-s.ask(to, presence.Notified{CallID: call, Sequence: told[call], Reply: status, Edge: "proxy"}, 0)
	}
	reply(to, "c1", 200)
	stands("lamplight_edge_watchers_unanswered", "proxy", 2) // 4 s after c2 and c4, also of another extension, were told
	reply(other, "c4", 200)
	stands("lamplight_edge_watchers_unanswered", "proxy", 1)
	reply(to, "c2", 500)
	stands("lamplight_edge_watchers_unanswered", "proxy", 1)
	reply(to, "c2", 200)
	stands("lamplight_edge_watchers_unanswered", "proxy", 0)
	if n := s.has("lamplight_edge_watchers_unanswered", "mute"); n != 0 {
		t.Errorf("%v watchers of an edge that reports no answers", n)
	}
	s.edges.Store("mute", presence.EdgeNobody)
	stands("lamplight_edge_watchers_unanswered", "mute", 1)
	s.sys.Drop(s.shard, 0) // another node looks after them
	stands("lamplight_edge_watchers", "proxy", -1)
}

// A watcher that does not answer is counted, although another one of the same extension is held back by its rate.
func TestUnansweredBesideHeld(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	to, told := s.extension(0), map[string]uint32{}
	answer := func(calls ...string) {
		for _, call := range calls {
			for told[call] == 0 {
				n := get(s, "a NOTIFY", s.told)
				for _, w := range n.Watchers {
					told[w.CallID] = n.Sequence
				}
			}
			<-s.ask(to, presence.Notified{CallID: call, Sequence: told[call], Reply: 200, Edge: "proxy"}, 0)
		}
	}
	subscribe := func(to actors.Address, call string) {
		w := watch(call)
		w.ServerID = "proxy"
		if call == "held" {
			w.MaxRate = 1 // one in 1000 s
		}
		done := s.ask(to, w, 0)
		s.durable()
		s.good(done)
	}
	subscribe(to, "answers")
	subscribe(to, "mute")
	subscribe(to, "held")
	answer("answers", "mute", "held")
	subscribe(s.extension(1), "never")
	s.stands(t, "lamplight_edge_watchers_unanswered", "proxy", 1) // there were counts that found nothing at the first extension
	clear(told)
	done := s.ask(to, presence.SetManual{State: presence.Early}, 0)
	s.durable()
	s.good(done)
	answer("answers")
	s.stands(t, "lamplight_edge_watchers_unanswered", "proxy", 2)
	s.stands(t, "lamplight_edge_watchers_behind", "proxy", 1)
}

// stands waits until a metric of an edge has a value.
func (s *stage) stands(t *testing.T, name, edge string, want float64) {
	t.Helper()
	is := -1.0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is = s.has(name, edge); is == want {
			return
		}
	}
	t.Fatalf("%s of %s stands at %v, want %v", name, edge, is, want)
}
