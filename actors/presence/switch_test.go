package presence

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// on is news of a call that is on a switch.
func on(name, callID string, state State, at time.Time) CallEvent {
	return CallEvent{CallID: callID, State: state, SwitchURI: name, Timestamp: at, From: "1001@acme.example.com", To: "2@y"}
}

// A switch that is gone ends its calls, and no others. Calls of which it tells again live, whichever comes first.
func TestSwitchGone(t *testing.T) {
	s := newStage(t)
	past := begin.Add(-20*time.Second + 500*time.Millisecond)
	s.do(on("sip:one", "a", Confirmed, past)).do(on("sip:one", "b", Early, past)).do(on("sip:two", "c", Confirmed, past))
	s.do(on("sip:one", "d", Confirmed, past)).do(on("sip:one", "d", Confirmed, begin.Add(-time.Second))) // told again before
	s.do(SwitchGone{Switch: "sip:one", Before: begin.Add(-10 * time.Second)})
	if s.eff.Ended != 2 {
		t.Errorf("%d calls ended", s.eff.Ended)
	}
	s.shows("c d")
	s.do(on("sip:one", "a", Confirmed, begin.Add(-15*time.Second))) // late
	if s.eff.Ignored != IgnoredEnded {
		t.Errorf("late news is ignored as %d", s.eff.Ignored)
	}
	s.do(on("sip:one", "e", Early, begin.Add(-15*time.Second))) // late, of a call that nobody knew
	s.shows("c d")
	s.do(on("sip:one", "b", Confirmed, begin.Add(-9*time.Second))) // told again after
	s.shows("b c d")
	s.reload()
	s.shows("b c d")
	s.do(SwitchGone{Switch: "sip:one", Before: begin.Add(-10 * time.Second)}) // a repetition
	if s.eff.Ended != 0 || len(s.eff.Records) != 0 {
		t.Errorf("a repetition ended %d calls and wrote %d records", s.eff.Ended, len(s.eff.Records))
	}
	s.pass(2 * time.Minute)
	if n := len(s.e.more.calls); n != 3 {
		t.Errorf("%d calls are remembered after two minutes", n)
	}
	s.do(SwitchGone{Switch: "sip:one"}).do(SwitchGone{Switch: "sip:two"})
	s.shows("")
}

// A time in whole seconds may be any moment of its second: a call that was told then lives when its switch was gone in that second.
func TestSwitchGoneInWholeSeconds(t *testing.T) {
	s := newStage(t)
	s.do(on("sip:one", "a", Confirmed, begin.Add(-10*time.Second)))
	s.do(SwitchGone{Switch: "sip:one", Before: begin.Add(-10*time.Second + 300*time.Millisecond)})
	s.shows("a")
	s.do(SwitchGone{Switch: "sip:one", Before: begin.Add(-9 * time.Second)})
	s.shows("")
}

// A parking slot goes dark when the switch of the call that waits in it is gone, and the slot takes the next call.
func TestSwitchGoneEmptiesSlots(t *testing.T) {
	s := newStage(t)
	slot := func(call, name string, at time.Time) RegisterEvent {
		return RegisterEvent{Name: "slot", State: Early, Timestamp: at, Call: HeldCall{CallID: call, SwitchURI: name}}
	}
	s.do(slot("k1", "sip:one", begin.Add(-20*time.Second)))
	s.do(SwitchGone{Switch: "sip:two"})
	s.shows("k1")
	s.do(SwitchGone{Switch: "sip:one", Before: begin.Add(-10 * time.Second)})
	if s.eff.Ended != 1 {
		t.Errorf("%d ended", s.eff.Ended)
	}
	s.shows("")
	s.do(slot("k1", "sip:one", begin.Add(-15*time.Second))) // late
	s.shows("")
	s.do(slot("k2", "sip:one", begin.Add(-5*time.Second)))
	s.shows("k2")
	for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} { // an older call of another switch does not come back
		s := newStage(t)
		for _, i := range order {
			s.do([]Event{slot("a", "sip:one", begin.Add(-20*time.Second)), slot("b", "sip:two", begin.Add(-30*time.Second)), SwitchGone{Switch: "sip:one", Before: begin.Add(-10 * time.Second)}}[i])
		}
		s.shows("")
	}
}

// shows fails unless the extension shows exactly the calls, whose Call-IDs are sorted.
func (s *stage) shows(want string) {
	s.t.Helper()
	var shown []string
	for _, d := range s.e.View().Dialogs {
		shown = append(shown, d.CallID)
	}
	slices.Sort(shown)
	if got := strings.Join(shown, " "); got != want {
		s.t.Fatalf("it shows %q, not %q", got, want)
	}
	count := map[string]int32{}
	for _, c := range s.e.Switches() {
		count[c.Name] += c.By
	}
	for _, c := range s.e.more.calls {
		if !c.lost() {
			count[c.switchURI()]--
		}
	}
	for _, r := range s.e.more.registers {
		count[r.switchURI()]--
	}
	delete(count, "")
	for name, n := range count {
		if n != 0 {
			s.t.Fatalf("the count of %s is wrong by %d", name, n)
		}
	}
}
