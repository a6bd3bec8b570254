package actors_test

import (
	"testing"

	"lamplight/actors/presence"
)

// Replies of several watchers come in one message. One to a shard that is not open is dropped.
func TestRepliesTogether(t *testing.T) {
	t.Parallel()
	s := open(t, 100)
	to := s.extension(0)
	for _, id := range []string{"c1", "c2"} {
		done := s.ask(to, watch(id), 0)
		s.durable()
		s.good(done)
	}
	told := map[string]uint32{}
	for range 2 {
		n := get(s, "a NOTIFY", s.told)
		told[n.Watchers[0].CallID] = n.Sequence
	}
	reply := func(id string, code int) presence.Addressed {
		return presence.Addressed{To: to, Message: presence.Notified{CallID: id, Sequence: told[id], Reply: code}}
	}
	nobody := presence.Addressed{To: s.extension(1), Message: presence.Notified{CallID: "c1", Reply: 200}}
	s.sys.Notified(s.shard, []presence.Addressed{nobody, reply("c1", 200), reply("c2", 486)})
	s.settle()
	codes := map[string]int{}
	for _, w := range s.good(s.ask(to, presence.Show{}, 0)).Subscriptions {
		codes[w.CallID] = w.Reply
	}
	if codes["c1"] != 200 || codes["c2"] != 486 {
		t.Errorf("the replies that were noted are %v", codes)
	}
	s.sys.Notified((s.shard+1)%1024, []presence.Addressed{reply("c1", 481)}) // a shard that is not open
}
