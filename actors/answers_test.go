package actors_test

import (
	"testing"
	"time"

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
		is := -1.0
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if is = s.has(name, edge); is == want {
				return
			}
		}
		t.Fatalf("%s of %s stands at %v, want %v", name, edge, is, want)
	}
	stands("lamplight_edge_watchers", "proxy", 2)
	stands("lamplight_edge_watchers", "mute", 1)
	stands("lamplight_edge_watchers_unanswered", "proxy", 0)
	<-s.ask(to, presence.Notified{CallID: "c1", Sequence: get(s, "the NOTIFY for c1", s.told).Sequence, Reply: 200, Edge: "proxy"}, 0)
	stands("lamplight_edge_watchers_unanswered", "proxy", 1) // 4 s after c2 was told
	if n := s.has("lamplight_edge_watchers_unanswered", "mute"); n != 0 {
		t.Errorf("%v watchers of an edge that reports no answers", n)
	}
	s.edges.Store("mute", presence.EdgeNobody)
	stands("lamplight_edge_watchers_unanswered", "mute", 1)
	s.sys.Drop(s.shard, 0) // another node looks after them
	stands("lamplight_edge_watchers", "proxy", -1)
}
