package actors_test

import (
	"slices"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// A change that a watcher's rate held back when its owner died is told by the next owner, however long ago the change was, and also when the
// journal has forgotten the tombstone of the call that ended. Nobody else is told what is old.
func TestHeldChangesAreToldByTheNextOwner(t *testing.T) {
	for name, c := range map[string]struct {
		rate  uint32        // NOTIFYs in 1000 s
		after time.Duration // when the owner showed its last sign of life
		lost  presence.Kind // records that the journal has forgotten
		told  bool
	}{
		"a rate of one in 100 s":              {10, 50 * time.Second, 0, true},
		"a rate of one in 100 s, a tombstone": {10, 120 * time.Second, presence.KindCall, true},
		"no rate":                             {0, 50 * time.Second, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, 100)
			s.journal.Set(func(j *actorstest.Settings) { j.Hold = false })
			call := func(state presence.State) {
				s.good(s.ask(s.extension(0), presence.CallEvent{CallID: "k", State: state}, 0))
			}
			s.good(s.ask(s.extension(0), presence.Subscribe{CallID: "w", From: "9@acme.test", Contact: "<sip:9@10.0.0.1>", Expires: 3600, MaxRate: c.rate}, 0))
			call(presence.Early)
			call(presence.Terminated)
			s.sys.Drop(s.shard, 0)
			for len(s.told) > 0 {
				<-s.told
			}
			since := time.Now().Add(c.after) // the owner died long after the change
			records := slices.DeleteFunc(s.kept.All(), func(r actors.Stored) bool { return r.Kind == c.lost })
			s.sys.Open(s.shard, actors.Opening{Claim: actors.Claim{Generation: 2}, Records: records, Since: since})
			told := false
			if c.told {
				n := get(s, "a NOTIFY", s.told)
				told = len(n.Watchers) == 1 && n.Watchers[0].CallID == "w" && n.State == presence.Terminated
			} else {
				s.settle()
				told = len(s.told) > 0
			}
			if told != c.told {
				t.Errorf("the watcher was told: %v, want %v", told, c.told)
			}
		})
	}
}

// What an account's budget holds back is told by the next owner too, because what changed in the last UntoldWindow is.
func TestBudgetsHoldNothingThatIsForgotten(t *testing.T) {
	if presence.LongestTurn >= ownership.UntoldWindow {
		t.Errorf("a budget holds changes for %v, and the next owner tells again what changed in the last %v", presence.LongestTurn, ownership.UntoldWindow)
	}
}
