package presence

import (
	"slices"
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
	to := Address{Realm: "acme.test", User: "asdfasdf"}
	for _, c := range []struct {
		callID, id string
		want       bool
	}{
		{"", "asdfasdf@acme.test", false},
		{name, "sip:asdfasdf@acme.test", true}, // without the realm, as Kazoo's queues send it
		{RegisterName("asdfasdf@acme.test"), "sip:asdfasdf@acme.test", true},
		{RegisterName("sip:asdfasdf@acme.test"), "sip:asdfasdf@acme.test", true},
		{strings.ToUpper(name), "ASDFasdf@acme.test", true},
		{RegisterName("ASDFasdf"), "ASDFasdf@acme.test", true},
		{RegisterName("ASDFasdf"), "asdfasdf@acme.test", false},
		{RegisterName("%61sdfasdf@acme.test"), "%61sdfasdf@acme.test", true},
		{RegisterName("1001"), "asdfasdf@acme.test", false},
		{"call@host", "asdfasdf@acme.test", false},
	} {
		if got := IsRegister(c.callID, to, c.id); got != c.want {
			t.Errorf("Call-ID %q of %q: %v", c.callID, c.id, got)
		}
	}
}

// The id as it came or in lower case, with a scheme or without, with its realm or without: every combination is a name of the
// register, whichever form the Presence-ID has.
func TestEveryFormOfARegister(t *testing.T) {
	to := Address{Realm: "acme.test", User: "q5"}
	for _, id := range []string{"Q5@Acme.test", "sip:Q5@Acme.test", "SIPS:Q5@Acme.test", `"Queue" <sip:Q5@Acme.test>`, "q5@acme.test"} {
		ids := []string{"q5@acme.test", "q5"}
		if id != "q5@acme.test" {
			ids = append(ids, "Q5@Acme.test", "Q5")
		}
		if strings.HasPrefix(id, "SIPS:") {
			ids = append(ids, "SIPS:Q5@Acme.test", "SIPS:Q5", "sips:q5@acme.test", "sips:q5")
		}
		for _, form := range ids {
			for _, scheme := range []string{"", "sip:"} {
				if strings.Contains(form, ":") && scheme != "" {
					continue
				}
				if name := RegisterName(scheme + form); !IsRegister(name, to, id) || !IsRegister(strings.ToUpper(name), to, id) {
					t.Errorf("the md5 of %q is no register of %q", scheme+form, id)
				}
			}
		}
		for _, form := range []string{"q6", "sip:q6@acme.test", "q5@other.test", "sip:", "", "@acme.test"} {
			if IsRegister(RegisterName(form), to, id) {
				t.Errorf("the md5 of %q is a register of %q", form, id)
			}
		}
	}
	if IsRegister(strings.Repeat("z", 32), to, "q5@acme.test") {
		t.Error("32 letters that are no hexadecimal name are a register")
	}
}

// A parking slot: the same call comes back to it at once, and its document names the call, so that a phone can pick it up.
func TestParkingSlot(t *testing.T) {
	s := newStage(t)
	park := func(state State) RegisterEvent {
		return RegisterEvent{Name: "n", State: state, From: "1001@acme.example.com", To: "2125550100@acme.example.com",
			Call: HeldCall{CallID: "k-1@10.0.0.5", Direction: Recipient, FromTag: "A", ToTag: "B", ToName: "Ada", ToURI: "sip:1001@10.0.0.2", SwitchURI: "sip:10.0.0.2:5060"}}
	}
	s.do(SetManual{Early}).do(SetManual{Terminated})
	for range 3 {
		s.do(park(Early)).lamp(Early)
		want := DialogView{ID: "k-1@10.0.0.5", CallID: "k-1@10.0.0.5", State: Early, Direction: Recipient, Source: "register", Since: s.now, From: "1001@acme.example.com",
			To: "2125550100@acme.example.com", FromTag: "A", ToTag: "B", ToName: "Ada", ToURI: "sip:1001@10.0.0.2", SwitchURI: "sip:10.0.0.2:5060"}
		bare := park(Confirmed)
		bare.Call = HeldCall{CallID: "k-1@10.0.0.5", Direction: Recipient}
		if d := s.e.View().Dialogs; len(d) != 1 || d[0] != want {
			t.Fatalf("%+v", d)
		}
		s.do(bare).reload().lamp(Confirmed) // later news has no tags
		want.State = Confirmed
		if d := s.e.View().Dialogs; len(d) != 1 || d[0] != want {
			t.Fatalf("%+v", d)
		}
		s.do(park(Terminated)).reload().lamp(Terminated)
		if len(s.e.View().Dialogs) != 0 {
			t.Fatal("an empty slot shows a call")
		}
	}
	other := park(Early)
	other.Call = HeldCall{CallID: "k-2@10.0.0.5"}
	s.do(park(Early)).do(other)
	if d := s.e.View().Dialogs[0]; d.CallID != "k-2@10.0.0.5" || d.FromTag != "" {
		t.Fatalf("another call has the tags of the one before: %+v", d)
	}
	s.do(park(Early))
	if s.do(park(Early)); len(s.eff.Records) != 0 {
		t.Fatal("a repetition was kept again")
	}
	s.do(Reset{}).reload().lamp(Terminated).do(park(Early)).lamp(Early)
}

// The end of a call does not put out the slot that another call has occupied since.
func TestLateEndOfAParkedCall(t *testing.T) {
	s := newStage(t)
	s.now = begin.Add(10 * time.Second)
	park := func(call string, state State, sec int) RegisterEvent {
		ev := RegisterEvent{Name: "n", State: state, Expires: 3600, Call: HeldCall{CallID: call, Direction: Recipient, FromTag: call}}
		if sec > 0 {
			ev.Timestamp = begin.Add(time.Duration(sec) * time.Second)
		}
		return ev
	}
	overtaken := func(ev RegisterEvent) {
		t.Helper()
		if s.do(ev); s.eff.Ignored != IgnoredOvertaken || len(s.eff.Records) != 0 {
			t.Fatalf("%+v", s.eff)
		}
		if d := s.lamp(Early).e.View().Dialogs; len(d) != 1 || d[0].CallID != "k2" || d[0].FromTag != "k2" {
			t.Fatalf("%+v", d)
		}
	}
	s.do(park("k1", Early, 0)).do(park("k2", Early, 0))
	overtaken(park("k1", Terminated, 0)) // no Timestamp says when it happened
	s.reload()
	overtaken(park("k1", Terminated, 0))
	s.pass(time.Second).do(park("k2", Terminated, 0)).lamp(Terminated)
	if s.do(park("k1", Terminated, 0)); s.eff.Ignored != IgnoredNot { // the slot is empty already
		t.Fatalf("%+v", s.eff)
	}
	s.do(park("k2", Early, 0)).do(RegisterEvent{Name: "n", State: Terminated}).lamp(Terminated) // an end that names no call

	s = newStage(t)
	s.now = begin.Add(10 * time.Second)
	s.do(park("k1", Early, 1)).do(park("k2", Early, 3))
	overtaken(park("k1", Terminated, 2))
	overtaken(park("k1", Terminated, 3))                 // in the same second
	s.do(park("k1", Terminated, 4)).lamp(Terminated)     // k1 was in the slot after k2
	s.do(park("k1", Early, 3)).reload().lamp(Terminated) // and came before its end
	s.do(park("k2", Early, 5)).do(RegisterEvent{Name: "n", State: Terminated, Timestamp: begin.Add(6 * time.Second)}).lamp(Terminated)
}

// A reset puts out the lamps of mailboxes and leaves the counts. The next news of a mailbox lights its lamp again.
func TestResetOfMailboxes(t *testing.T) {
	s := newStage(t)
	lit := MailboxEvent{Source: "1002@acme.example.com", Lamp: true, New: 2}
	s.do(lit).do(MailboxEvent{Source: "1001@acme.example.com", New: 3, Extended: "7001"}).lamp(Confirmed)
	s.do(Reset{}).lamp(Terminated).reload().lamp(Terminated)
	if v := s.e.View(); !v.HasMessages || v.Messages.New != 3 {
		t.Fatalf("%+v", v)
	}
	s.do(lit).lamp(Confirmed)
}

// The mailbox's extension remembers which further extensions it lit, so that those that are named no more are put out.
func TestFormerExtendedExtensions(t *testing.T) {
	s := newStage(t)
	name := func(extended string, want ...string) {
		t.Helper()
		s.do(MailboxEvent{Source: "1001@acme.example.com", New: 1, Extended: extended})
		if !slices.Equal(s.eff.Former, want) {
			t.Fatalf("after %q: %q, want %q", extended, s.eff.Former, want)
		}
	}
	name("")
	name("7001")
	name("7001")
	name("7002", "7001")
	s.reload()
	name("7002", "7001") // also for a repetition, as the first one may not have reached 7001
	name("", "7001", "7002")
	name("7001", "7002")
	name("a", "7002", "7001")
	name("b", "7002", "7001", "a")
	name("c", "7002", "7001", "a", "b")
	name("d", "7001", "a", "b", "c")
	s.refused(MailboxEvent{Source: "1001@acme.example.com", Extended: strings.Repeat("x", MaxName+1)}, ErrInvalid)
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
