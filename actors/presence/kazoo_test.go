package presence

import (
	"strings"
	"testing"
	"time"
)

func TestRegistersGoOffAndOnAgain(t *testing.T) { // parking slots, night mode
	s := newStage(t)
	at := func(state State, sec int) RegisterEvent {
		return RegisterEvent{Name: "n", State: state, Timestamp: begin.Add(time.Duration(sec) * time.Second)}
	}
	s.now = begin.Add(10 * time.Second)
	s.do(at(Early, 1)).lamp(Early).do(at(Terminated, 3)).lamp(Terminated)
	s.do(at(Early, 2)).lamp(Terminated).reload().do(at(Early, 2)).lamp(Terminated) // older news loses
	s.do(at(Confirmed, 3)).lamp(Confirmed)                                         // the same second: arrival decides
	s.do(at(Confirmed, 3))
	if len(s.eff.Records) != 0 {
		t.Fatal("a repetition was kept again")
	}
	s.pass(240 * time.Hour).lamp(Confirmed) // no Expires: it stays
	s.do(RegisterEvent{Name: "n", State: Early, Expires: 10}).lamp(Early).pass(10 * time.Second).lamp(Terminated)
}

func TestOnlineNeverTouchesTheLamp(t *testing.T) {
	s := newStage(t)
	s.do(RegisterEvent{Name: "n", State: Confirmed}).do(RegisterEvent{Name: "n", State: Offline}).lamp(Confirmed)
	if !s.reload().e.View().Closed {
		t.Fatal("not closed")
	}
	s.do(RegisterEvent{Name: "n", State: Online}).lamp(Confirmed)
	if s.e.View().Closed {
		t.Fatal("closed")
	}
}

func TestResetForgetsAllButMessages(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(watch(Presence, "a")).do(watch(MessageSummary, "a"))
	s.do(ring("c", Early)).do(SetManual{Confirmed}).do(RegisterEvent{Name: "n", State: Early, Timestamp: s.now.Add(-5 * time.Second)})
	s.do(MailboxEvent{Source: "1001@acme.example.com", New: 3})
	s.said = nil
	s.do(Reset{}).heard("dialog terminated a", "presence terminated a", "message-summary terminated a").lamp(Terminated)
	s.do(ring("c", Confirmed)).do(RegisterEvent{Name: "n", State: Early, Timestamp: s.now.Add(-4 * time.Second)}).lamp(Terminated)
	if v := s.reload().lamp(Terminated).e.View(); v.Messages.New != 3 {
		t.Fatalf("%+v", v)
	}
	s.do(RegisterEvent{Name: "n", State: Early, Timestamp: s.now}).lamp(Early)
}

func TestResetThenSetIsOneStep(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(ring("c", Early))
	s.said = nil
	s.do(Reset{Then: Confirmed}).heard("dialog confirmed a").lamp(Confirmed)
	if l := s.eff.Lamp; l == nil || l.Previous != Early || l.State != Confirmed {
		t.Fatalf("%+v", l)
	}
	s.reload().lamp(Confirmed).do(Reset{}).lamp(Terminated).reload().lamp(Terminated)
}

func TestManualStateSurvives(t *testing.T) {
	s := newStage(t)
	s.do(SetManual{Early}).reload().lamp(Early).pass(240 * time.Hour).lamp(Early)
	s.do(SetManual{Early})
	if len(s.eff.Records)+len(s.eff.Notices) != 0 {
		t.Fatalf("%+v", s.eff)
	}
	s.do(SetManual{Terminated}).reload().lamp(Terminated)
}

func TestRenotifyBehindOneEdge(t *testing.T) {
	s := newStage(t)
	b := watch(Dialog, "b")
	b.ServerID, b.Queue = "", "queue-2"
	s.do(watch(Dialog, "a")).do(b)
	s.said = nil
	s.do(Renotify{Edge: "queue-2"}).heard("dialog terminated b").do(Renotify{}).heard("dialog terminated a,b")
	if w := s.e.Subscriptions()[1]; w.Stalker() != "queue-2" || s.e.Subscriptions()[0].Stalker() != "edge-1" {
		t.Fatalf("stalker %q", w.Stalker())
	}
}

// A register's Call-ID is the md5 of the presence id, however its publisher wrote that.
func TestWhatIsARegister(t *testing.T) {
	const name = "6a204bd89f3c8348afd5c77c717a097a" // printf asdfasdf | md5sum
	if got := RegisterName("asdfasdf"); got != name {
		t.Errorf("the name is %s", got)
	}
	for _, c := range []struct {
		callID string
		ids    []string
		want   bool
	}{
		{"", nil, true},
		{name, []string{"sip:asdfasdf", "asdfasdf"}, true},
		{strings.ToUpper(name), []string{"asdfasdf"}, true},
		{name, []string{"ASDFasdf"}, true},
		{RegisterName("ASDFasdf"), []string{"ASDFasdf"}, true},
		{RegisterName("ASDFasdf"), []string{"asdfasdf"}, false},
		{"call@host", []string{"asdfasdf"}, false},
	} {
		if got := IsRegister(c.callID, c.ids...); got != c.want {
			t.Errorf("Call-ID %q of %q: %v", c.callID, c.ids, got)
		}
	}
}

// Only what a lamp may show can be set; transports refuse the rest by the same rule as Apply.
func TestManualStates(t *testing.T) {
	for state := None; state <= Offline; state++ {
		want := state == Early || state == Confirmed || state == Terminated
		if _, ok := ParseManual(state.String()); ok != want {
			t.Errorf("%q may be set: %v", state, ok)
		}
		for _, command := range []Event{SetManual{state}, Reset{Then: state}} {
			e := New("acme.test", "1001", &Rules{})
			_, err := e.Apply(command, begin)
			if _, reset := command.(Reset); (err == nil) != (want || reset && state == None) {
				t.Errorf("%+v: %v", command, err)
			}
		}
	}
	if _, ok := ParseManual("Early"); ok {
		t.Error("the names are lower case")
	}
}
