package presence

import (
	"regexp"
	"slices"
	"strings"
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

	s = newStage(t)
	s.rules.MaxTombstones = 1
	s.do(ring("a", Early)).do(ring("b", Early)).do(ring("a", Terminated))
	end := ring("b", Terminated)
	end.Undirected = true
	s.do(end).lamp(Terminated) // what exists may end
	end.CallID = "c"
	s.refused(end, ErrTooManyTombstones)
}

// News without a direction is about the call that is known, else about the initiator's; its end ends both directions.
func TestNewsWithoutDirection(t *testing.T) {
	news := func(state State) CallEvent {
		ev := ring("c", state)
		ev.Undirected = true
		return ev
	}
	to := func(d Direction, state State) CallEvent {
		ev := ring("c", state)
		ev.Direction = d
		return ev
	}
	shows := func(s *stage, want ...string) {
		t.Helper()
		var got []string
		for _, d := range s.e.View().Dialogs {
			got = append(got, d.Direction.String()+" "+d.State.String())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("shows %q, want %q", got, want)
		}
	}
	s := newStage(t)
	s.do(news(Early))
	shows(s, "initiator early")
	s.do(to(Recipient, Trying))
	shows(s, "recipient early")
	shows(s.reload(), "recipient early")
	s.do(news(Confirmed))
	shows(s, "recipient confirmed")
	s.do(to(Initiator, Trying)) // the extension calls itself
	shows(s, "initiator confirmed", "recipient trying")
	s.do(news(Terminated))
	shows(s.reload())
	s.do(to(Recipient, Early)).do(to(Initiator, Early)).do(news(Early)).lamp(Terminated)

	s = newStage(t)
	s.do(to(Recipient, Early)).do(news(Confirmed)).do(to(Recipient, Terminated))
	shows(s)
	s.do(news(Confirmed))
	shows(s.reload())
	s.pass(time.Hour)
	shows(s.reload())
	if s.pass(time.Hour); !s.e.Empty() {
		t.Fatalf("left %s", dump(s.e))
	}

	s = newStage(t)
	short := to(Recipient, Early)
	short.Expires = 30
	s.do(short).do(news(Early)).pass(time.Hour) // the lease of the one is that of the other
	shows(s.reload(), "recipient early")
	s.pass(25 * time.Hour)
	shows(s.reload())

	s = newStage(t) // the record of a call stays longer than the call; it is not the call of later news
	long, brief := news(Early), news(Confirmed)
	long.Expires, brief.Expires = 3600, 5
	s.do(short).do(long).do(brief)
	shows(s, "recipient confirmed")
	s.pass(2 * time.Minute).do(news(Early))
	shows(s, "initiator early")
	shows(s.reload(), "initiator early")

	s = newStage(t) // such a record, found by a restart, does not change when another call of the Call-ID ends
	first := news(Trying)
	first.Expires = 3600
	s.do(first).do(brief).pass(2 * time.Minute).do(short).reload()
	shows(s, "recipient early")
	s.pass(30 * time.Second)
	shows(s)

	s = newStage(t)
	s.do(news(Early)).do(CallEvent{CallID: "c", Undirected: true, Expires: 3 * 24 * 3600}).pass(48 * time.Hour).lamp(Early)
	old := news(Terminated)
	old.Timestamp = s.now.Add(-time.Hour)
	s.do(old).lamp(Terminated)
	fresh := newStage(t)
	fresh.now = s.now
	if fresh.do(old); !fresh.e.Empty() || fresh.eff.Ignored != IgnoredOld {
		t.Fatalf("%+v", fresh.eff)
	}
}

// News without a state lengthens the lease, also when it comes first. It does not say which call other news is about.
func TestNewsWithoutState(t *testing.T) {
	undirected := ring("c", Early)
	undirected.Undirected = true
	for _, recipient := range []State{Terminated, Confirmed} {
		for _, bare := range []CallEvent{
			{CallID: "c", Direction: Initiator}, {CallID: "c", Direction: Recipient}, {CallID: "c", Undirected: true},
		} {
			directed := ring("c", recipient)
			directed.Direction = Recipient
			all := []CallEvent{undirected, directed, bare}
			for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
				s := newStage(t)
				for _, i := range order {
					s.do(all[i])
				}
				s.lamp(recipient).reload().lamp(recipient)
			}
		}
	}

	s := newStage(t) // it comes before the call, and its lease is the longer one
	brief := ring("c", Early)
	brief.Expires = 5
	s.do(CallEvent{CallID: "c", Expires: 3600}).lamp(Terminated).reload()
	if s.do(brief); len(s.e.View().Dialogs) != 1 {
		t.Fatalf("%+v", s.e.View())
	}
	s.pass(30 * time.Minute).reload().lamp(Early).pass(31 * time.Minute).lamp(Terminated)

	s = newStage(t) // alone it shows nothing, tells nobody and is forgotten
	s.do(watch(Dialog, "a"))
	s.said = nil
	s.do(CallEvent{CallID: "c", Direction: Recipient, Expires: 60})
	var r record // a release that does not know field callBare reads a tombstone that is over
	if err := s.e.read(&r, s.newest(string(KindCall)+"c1c").Data, callNum, callStr); err != nil || State(r.num[callState]) != Terminated || r.num[recGone] != 1 {
		t.Fatalf("%v: state %d until %d", err, r.num[callState], r.num[recGone])
	}
	s.reload().pass(119 * time.Second).heard()
	if _, c := s.e.findCall(keyRecipient, "c"); c == nil {
		t.Fatal("it was forgotten early")
	}
	if s.pass(time.Second); s.e.more != nil {
		t.Fatalf("left %s", dump(s.e))
	}

	s = newStage(t) // it counts as a tombstone, not as a call
	s.rules.MaxCalls, s.rules.MaxTombstones = 2, 3
	s.do(ring("a", Early)).do(CallEvent{CallID: "b"}).do(CallEvent{CallID: "c"}).do(CallEvent{CallID: "d", Direction: Recipient})
	s.refused(CallEvent{CallID: "e"}, ErrTooManyTombstones)
	s.do(ring("b", Early))
	brief.Timestamp = s.now.Add(-30 * time.Second) // its own lease is over, and that of the news before it is not
	s.refused(brief, ErrTooManyCalls)
	undirected.CallID = "d"
	s.refused(undirected, ErrTooManyCalls)
}

// News that changes nothing says why.
func TestIgnoredNewsIsCounted(t *testing.T) {
	s := newStage(t)
	ignored := func(ev Event, want Ignored) {
		t.Helper()
		if s.do(ev); s.eff.Ignored != want || want != IgnoredNot && len(s.eff.Records)+len(s.eff.Notices) != 0 {
			t.Fatalf("%+v: %+v", ev, s.eff)
		}
	}
	old := ring("c", Early)
	old.Timestamp = s.now.Add(-61 * time.Second)
	ignored(old, IgnoredOld)
	ignored(ring("c", Early), IgnoredNot)
	ignored(ring("c", Early), IgnoredNot)
	ignored(old, IgnoredOld)
	ignored(ring("c", Terminated), IgnoredNot)
	ignored(ring("c", Terminated), IgnoredNot)
	ignored(ring("c", Confirmed), IgnoredEnded)
	ignored(RegisterEvent{Name: "n", State: Early, Timestamp: s.now.Add(-time.Second)}, IgnoredNot)
	ignored(RegisterEvent{Name: "n", State: Terminated, Timestamp: s.now.Add(-5 * time.Second)}, IgnoredOvertaken)
	sub := watch(Dialog, "a")
	sub.HasCSeq, sub.CSeq = true, 5
	ignored(sub, IgnoredNot)
	sub.CSeq = 4
	ignored(sub, IgnoredOvertaken)
	sub.CSeq, sub.Expires = 6, 0
	ignored(sub, IgnoredNot)
	sub.CSeq, sub.Expires = 5, 60
	ignored(sub, IgnoredOvertaken)
}

// Tags, names and targets that came once stay: a phone picks up with them.
func TestPartiesStay(t *testing.T) {
	s := newStage(t)
	ev := ring("c", Early)
	ev.FromTag, ev.ToTag, ev.ToName, ev.FromName, ev.ToURI, ev.FromURI = "ft", "tt", "Ada", "Bob", "sip:1001@10.0.0.2", "sip:1@10.0.0.1"
	s.do(ev).do(ring("c", Confirmed)).reload()
	d := s.e.View().Dialogs[0]
	if d.FromTag != "ft" || d.ToTag != "tt" || d.ToName != "Ada" || d.FromName != "Bob" || d.ToURI != "sip:1001@10.0.0.2" || d.FromURI != "sip:1@10.0.0.1" {
		t.Fatalf("%+v", d)
	}
	text := string(Dialog.AppendDocument(nil, s.e.Address(), s.e.View(), 1))
	for _, want := range []string{`<local><identity display="Bob">sip:1001@acme.example.com</identity><target uri="sip:1@10.0.0.1"/></local>`,
		`<remote><identity display="Ada">sip:1002@acme.example.com</identity><target uri="sip:1001@10.0.0.2"/></remote>`, `local-tag="ft" remote-tag="tt"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nhas not\n%s", text, want)
		}
	}
}

// Two Call-IDs that begin alike are two dialogs in the document, however long they are.
func TestLongCallIDs(t *testing.T) { // RFC 4235 §4.1.2
	s := newStage(t)
	long := strings.Repeat("x", 2000)
	s.do(ring(long+"1", Early)).do(ring(long+"2", Early))
	ids := regexp.MustCompile(`<dialog id="([^"]*)" call-id="([^"]*)"`).FindAllStringSubmatch(string(Dialog.AppendDocument(nil, s.e.Address(), s.e.View(), 1)), -1)
	if len(ids) != 2 || ids[0][1] == ids[1][1] || ids[0][2] == ids[1][2] {
		t.Errorf("%q", ids)
	}
}

// hold is news that a call goes on and is held, or is not.
func hold(id string, r Rendering, at time.Time) CallEvent {
	ev := ring(id, Confirmed)
	ev.Rendering, ev.Timestamp = r, at
	return ev
}

// held compares which dialogs are held: their Call-IDs in the order in which they are shown, "!" before those that are not.
func (s *stage) held(want ...string) *stage {
	s.t.Helper()
	var got []string
	for _, d := range s.e.View().Dialogs {
		if !d.Held {
			d.CallID = "!" + d.CallID
		}
		got = append(got, d.CallID)
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("held are %q, not %q", got, want)
	}
	return s
}

// RFC 4235 §4.1.6: a call that is held stays confirmed, and its local target says so. Watchers of dialog are told.
func TestHold(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(watch(Presence, "p")).do(ring("c", Early)).do(hold("c", RenderingUnknown, s.now)).held("!c").pass(time.Second)
	s.said = nil
	s.do(hold("c", NotRendered, s.now)).held("c").lamp(Confirmed).heard("dialog confirmed a")
	if len(s.eff.Records) != 1 || s.eff.Lamp != nil {
		t.Fatalf("%+v", s.eff)
	}
	const shown = "<local><identity>sip:1001@acme.example.com</identity><target uri=\"sip:1001@acme.example.com\"><param pname=\"+sip.rendering\" pval=\"no\"/></target></local>\n"
	if body := string(Dialog.AppendDocument(nil, s.e.Address(), s.e.View(), 1)); !strings.Contains(body, shown) {
		t.Fatalf("%s", body)
	}
	s.reload().held("c")
	s.pass(time.Second).do(ring("c", Confirmed)).held("c") // news that does not say leaves it
	s.do(hold("c", Rendered, s.now.Add(-10*time.Second))).held("c").do(hold("c", Rendered, s.now)).held("!c")
	s.do(hold("c", NotRendered, s.now.Add(-time.Millisecond))).held("!c").reload().held("!c")
}

// Only news that a call is confirmed says whether it is held; and a call that is held is shown behind one that is not.
func TestHoldIsOfConfirmedCalls(t *testing.T) {
	s := newStage(t)
	early := hold("c", NotRendered, s.now)
	early.State = Early
	s.do(early).held("!c").do(ring("c", Confirmed)).held("!c")
	none := hold("c", NotRendered, s.now)
	none.State = None
	s.do(none).held("!c")
	s.pass(time.Second).do(ring("d", Confirmed)).held("!c", "!d").do(hold("c", NotRendered, s.now)).held("!d", "c")
	s.do(ring("d", Terminated)).held("c").do(ring("c", Terminated)).held()
	wrong := hold("c", "maybe", s.now)
	s.refused(wrong, ErrInvalid)
	s.refused(RegisterEvent{Name: "n", State: Confirmed, Call: HeldCall{Rendering: "maybe"}}, ErrInvalid)
	s.refused(published("t", 60, wrong), ErrInvalid)
}

// A call whose news does not say its direction is held as the call that it turns out to be.
func TestHoldWithoutDirection(t *testing.T) {
	s := newStage(t)
	ev := hold("c", NotRendered, s.now)
	ev.Undirected = true
	s.do(ev).held("c")
	ev = ring("c", Early)
	ev.Direction = Recipient
	s.do(ev).held("c").reload().held("c")
}

// A register is held as its newest news says. News of the call that waits in it that does not say leaves it.
func TestHeldRegister(t *testing.T) {
	s := newStage(t)
	r := RegisterEvent{Name: "n", State: Confirmed, Call: HeldCall{CallID: "c", Rendering: NotRendered}}
	s.do(r).held("c").reload().held("c")
	r.Call.Rendering = RenderingUnknown
	s.do(r).held("c")
	r.Call.Rendering = Rendered
	s.do(r).held("!c")
	r.Call.Rendering, r.State = NotRendered, Early
	s.do(r).held("!c")
	r.Call.CallID, r.Call.Rendering, r.State = "", RenderingUnknown, Confirmed
	s.do(r).held("!n")
}
