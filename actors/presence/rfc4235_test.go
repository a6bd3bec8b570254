package presence

import (
	"testing"
	"time"
)

func TestCallsMoveForward(t *testing.T) { // RFC 4235 §3.7.1
	s := newStage(t)
	s.do(ring("c", Trying)).lamp(Terminated)
	if n := len(s.e.View().Dialogs); n != 1 {
		t.Fatalf("a trying call is listed: %d", n)
	}
	s.do(ring("c", Early)).lamp(Early).do(ring("c", Confirmed)).lamp(Confirmed)
	s.do(ring("c", Early)).lamp(Confirmed).do(ring("c", Terminated)).lamp(Terminated)
	s.do(ring("c", Early)).lamp(Terminated).reload().do(ring("c", Confirmed)).lamp(Terminated)
	if s.pass(time.Minute); !s.e.Empty() {
		t.Fatal(dump(s.e))
	}
	s.do(ring("c", Early)).lamp(Early)
}

func TestLampOverSeveral(t *testing.T) {
	s := newStage(t)
	s.do(ring("a", Confirmed)).do(ring("b", Early)).do(SetManual{Confirmed}).lamp(Early)
	if d := s.e.View().Dialogs; len(d) != 3 || d[0].CallID != "b" {
		t.Fatalf("%+v", d)
	}
	s.do(ring("b", Terminated)).lamp(Confirmed).do(ring("a", Terminated)).lamp(Confirmed).do(SetManual{Terminated}).lamp(Terminated)
	var seen []State
	for _, tr := range s.e.Transitions() {
		seen = append(seen, tr.State)
	}
	if len(seen) != 4 {
		t.Fatalf("transitions %v", seen)
	}
}

func TestBothEndsOnOneExtension(t *testing.T) { // RFC 4235 §4.1.2: ids are unique
	s := newStage(t)
	out, in := ring("c", Early), ring("c", Early)
	in.Direction = Recipient
	s.do(in).do(out)
	d := s.e.View().Dialogs
	if len(d) != 2 || d[0].ID == d[1].ID || d[0].CallID != d[1].CallID {
		t.Fatalf("%+v", d)
	}
	s.do(out).do(CallEvent{CallID: "c", State: Terminated}).lamp(Early)
}

func TestForksHaveIDs(t *testing.T) {
	s := newStage(t)
	s.do(CallEvent{CallID: "c", ID: "p1", State: Early}).do(CallEvent{CallID: "c", ID: "p2", State: Early})
	s.do(CallEvent{CallID: "c", ID: "p1", State: Terminated}).lamp(Early)
}

func TestManualAndRegisterShareAnID(t *testing.T) {
	s := newStage(t)
	s.do(SetManual{Confirmed})
	name := s.e.View().Dialogs[0].ID
	if len(name) != 32 {
		t.Fatalf("id %q", name)
	}
	s.do(RegisterEvent{Name: name, State: Early}).lamp(Early)
	if d := s.e.View().Dialogs; len(d) != 1 || d[0].Source != "register" {
		t.Fatalf("%+v", d)
	}
	s.do(RegisterEvent{Name: name, State: Terminated}).lamp(Confirmed)
}

func TestLeaseEndsACall(t *testing.T) {
	s := newStage(t)
	ev := ring("c", Early)
	ev.Expires = 30
	s.do(watch(Dialog, "a")).do(ev).lamp(Early)
	s.pass(20 * time.Second).do(CallEvent{CallID: "c", Expires: 30}).pass(20 * time.Second).lamp(Early)
	s.said = nil
	s.pass(10 * time.Second).lamp(Terminated).heard("dialog terminated a")
	s.do(ring("d", Early)).pass(25 * time.Minute)
	s.do(watch(Dialog, "a")).pass(25 * time.Minute).lamp(Early)
	s.rules.CallLease = time.Minute
	s.do(ring("e", Early)).do(ring("d", Terminated)).pass(time.Minute).lamp(Terminated)
}

func TestOldNewsCreatesNothing(t *testing.T) {
	s := newStage(t)
	at := func(state State, ago time.Duration) CallEvent {
		ev := ring("c", state)
		ev.Timestamp = s.now.Add(-ago)
		return ev
	}
	s.do(at(Early, 61*time.Second)).lamp(Terminated)
	if !s.e.Empty() || len(s.eff.Records) != 0 {
		t.Fatalf("%+v", s.eff)
	}
	s.do(at(Early, 59*time.Second)).lamp(Early).do(at(Confirmed, 2*time.Minute)).lamp(Confirmed)
	s.do(at(Terminated, 2*time.Minute)).lamp(Terminated)
	s.do(CallEvent{CallID: "x", State: Terminated}) // the end of an unknown call leaves its tombstone
	s.do(ring("x", Early)).lamp(Terminated)
	far := ring("y", Early)
	far.Timestamp = s.now.Add(time.Hour)
	s.do(far)
	if since := s.e.View().Dialogs[0].Since; !since.Equal(s.now) {
		t.Fatalf("since %v", since)
	}
}

func TestCallBounds(t *testing.T) {
	s := newStage(t)
	s.refused(CallEvent{State: Early}, ErrInvalid)
	s.refused(CallEvent{CallID: "c", State: Online}, ErrInvalid)
	s.refused(CallEvent{CallID: "c", State: Early, Expires: -1}, ErrInvalid)
	s.refused(CallEvent{CallID: "c", State: Early, Expires: 1 << 40}, ErrInvalid)
	s.refused(SetManual{Trying}, ErrInvalid)
	s.refused(Reset{Then: Online}, ErrInvalid)
	s.refused(nil, ErrInvalid)
	s.rules.MaxCalls, s.rules.MaxTombstones = 2, 2
	s.do(ring("a", Early)).do(ring("b", Early))
	s.refused(ring("c", Early), ErrTooManyCalls)
	s.do(ring("a", Terminated)).do(ring("b", Terminated))
	s.refused(ring("c", Early), ErrTooManyTombstones)
	s.refused(ring("c", Terminated), ErrTooManyTombstones)
}
