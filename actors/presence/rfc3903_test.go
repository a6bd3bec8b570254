package presence

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// published is a new publication of dialogs by a proxy.
func published(tag string, expires int, dialogs ...CallEvent) Publish {
	return Publish{Package: Dialog, Publisher: "10.0.0.1", Tag: tag, Expires: expires, HasBody: true, Dialogs: dialogs}
}

// dialog is a dialog of a document. Its Call-ID is that of the id.
func dialog(id string, state State) CallEvent {
	return CallEvent{ID: id, CallID: "call-" + id, Direction: Recipient, State: state, From: "1001@acme.example.com", To: "1002@acme.example.com"}
}

// change has a publication with an entity-tag changed by a Publish.
func (ev Publish) change(match string) Publish {
	ev.IfMatch = match
	return ev
}

// bodiless is a Publish without a document.
func bodiless(match, tag string, expires int) Publish {
	return Publish{Package: Dialog, Publisher: "10.0.0.1", IfMatch: match, Tag: tag, Expires: expires}
}

// shown is what the document shows: the state, Call-ID and tags of each dialog.
func (s *stage) shown(want ...string) *stage {
	s.t.Helper()
	var got []string
	for _, d := range s.e.View().Dialogs {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", d.State, d.CallID, d.FromTag, d.ToTag)))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		s.t.Fatalf("shows %q, not %q", got, want)
	}
	return s
}

// RFC 3903 §4.1: each request makes a new entity-tag, and only the newest one is good.
func TestPublicationNeedsItsNewestTag(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 60, dialog("d", Early))).lamp(Early)
	s.do(published("t2", 60, dialog("d", Confirmed)).change("t1")).lamp(Confirmed)
	before := dump(s.e)
	s.refused(published("t3", 60, dialog("d", Terminated)).change("t1"), ErrNoPublication)
	s.refused(bodiless("t1", "t3", 60), ErrNoPublication)
	s.refused(bodiless("t1", "t3", 0), ErrNoPublication)
	s.refused(bodiless("never", "t3", 0), ErrNoPublication)
	other := bodiless("t2", "t3", 0)
	other.Publisher = "10.0.0.2"
	s.refused(other, ErrNoPublication)
	other = bodiless("t2", "t3", 0)
	other.Package = Presence
	s.refused(other, ErrNoPublication)
	equalText(t, dump(s.e), before)
	s.do(bodiless("t2", "t3", 0)).lamp(Terminated)
	s.refused(bodiless("t3", "t4", 60), ErrNoPublication)
}

// RFC 3903 §4.2, §6: a new publication needs a document; names and times have bounds.
func TestPublishIsChecked(t *testing.T) {
	s := newStage(t)
	many := published("t", 60)
	for i := range MaxPublished + 1 {
		many.Dialogs = append(many.Dialogs, dialog(fmt.Sprint(i), Trying))
	}
	long := dialog("d", Early)
	long.ToName = strings.Repeat("x", MaxText+1)
	noState, noPublisher, wrong := published("t", 60, dialog("d", None)), published("t", 60), published("t", 60)
	noPublisher.Publisher, wrong.Basic = "", Early
	for name, ev := range map[string]Publish{"no body": bodiless("", "t", 60), "no tag": published("", 60), "no publisher": noPublisher, "many": many,
		"long": published("t", 60, long), "no state": noState, "negative": published("t", -1), "endless": published("t", LongestLease+1),
		"basic": wrong, "long tag": published(strings.Repeat("t", maxTag+1), 60)} {
		t.Run(name, func(t *testing.T) { s.refused(ev, ErrInvalid) })
	}
	if !s.e.Empty() {
		t.Error("what was refused has left something")
	}
}

// RFC 3903 §6: a refresh without a document extends all that the publication reports; without one, the lamp goes out.
func TestRefreshExtendsAllThatIsReported(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "w")).do(published("t1", 60, dialog("a", Early), dialog("b", Confirmed), dialog("1001", Confirmed)))
	s.pass(50 * time.Second).do(bodiless("t1", "t2", 60)).pass(50 * time.Second)
	if n := len(s.e.View().Dialogs); n != 3 {
		t.Fatalf("%d dialogs live on", n)
	}
	s.said = nil
	s.pass(9 * time.Second).lamp(Early).heard()
	s.pass(time.Second).lamp(Terminated).heard("dialog terminated w")
	s.refused(bodiless("t2", "t3", 60), ErrNoPublication)
	s.do(published("t3", 60, dialog("a", Early))).lamp(Early) // the publisher lives after all
}

// An Expires that is shorter than the one before counts too.
func TestRefreshShortens(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 3600, dialog("a", Early))).do(bodiless("t1", "t2", 10)).pass(10 * time.Second).lamp(Terminated).reload().lamp(Terminated)
}

// RFC 3903 §6, step 6: Expires 0 with a document applies it and removes the publication.
func TestRemoveWithABody(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 60, dialog("a", Early), dialog("b", Confirmed)))
	s.do(published("t2", 0, dialog("a", Terminated)).change("t1")).lamp(Terminated)
	s.do(published("t3", 60, dialog("a", Early))).lamp(Terminated) // a has ended
	s.do(published("t4", 60, dialog("b", Early))).lamp(Confirmed)  // b was only not reported any more
	s.do(published("t5", 0, dialog("c", Early))).shown("confirmed call-b").refused(bodiless("t5", "t6", 60), ErrNoPublication)
}

// RFC 4235 §4.1: a full document says all that the publication reports, a partial one adds to it.
func TestFullAndPartialDocuments(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 60, dialog("a", Confirmed), dialog("b", Confirmed)))
	more := published("t2", 60, dialog("c", Confirmed), dialog("a", Terminated)).change("t1")
	more.Partial = true
	s.do(more).shown("confirmed call-b", "confirmed call-c")
	s.do(published("t3", 60, dialog("c", Confirmed)).change("t2")).shown("confirmed call-c")
	s.do(published("t4", 60).change("t3")).shown()
}

// What is published is named by publisher and dialog id: two PUBLISHes in flight, or one that comes again after 412, are one dialog.
func TestTwoPublicationsOfOneDialog(t *testing.T) {
	for name, end := range map[string]func(s *stage){
		"the call ends":  func(s *stage) { s.do(published("t3", 11, dialog("d", Terminated))).lamp(Terminated).shown() },
		"removed, lapse": func(s *stage) { s.do(bodiless("t1", "t3", 0)).lamp(Confirmed).pass(time.Minute).lamp(Terminated) },
		"removed, removed": func(s *stage) {
			s.do(bodiless("t2", "t3", 0)).lamp(Confirmed).do(bodiless("t1", "t4", 0)).lamp(Terminated)
		},
		"one is refreshed": func(s *stage) {
			s.pass(30 * time.Second).do(bodiless("t1", "t3", 60)).pass(40 * time.Second).lamp(Confirmed).pass(20 * time.Second).lamp(Terminated)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.do(published("t1", 60, dialog("d", Early))).do(published("t2", 60, dialog("d", Confirmed))).shown("confirmed call-d")
			end(s)
			s.reload().shown()
		})
	}
}

// Two publishers that name their dialogs alike report two dialogs.
func TestPublishersAreApart(t *testing.T) {
	s := newStage(t)
	other := published("t2", 60, dialog("d", Terminated))
	other.Publisher = "10.0.0.2"
	s.do(published("t1", 60, dialog("d", Early))).do(other).lamp(Early)
}

// A publisher that forgot its entity-tags goes on with new publications. What the forgotten one reported ends with it only if the new ones
// say nothing of it.
func TestPublisherForgetsItsTags(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 600, dialog("d", Confirmed)))
	s.pass(10 * time.Second).do(published("t2", 60, dialog("d", Confirmed))).shown("confirmed call-d")
	s.pass(10 * time.Second).do(published("t3", 11, dialog("d", Terminated)).change("t2")).lamp(Terminated)
	s.pass(2 * time.Minute).do(bodiless("t1", "t4", 600)).lamp(Terminated) // the forgotten one does not bring it back
}

// Early that comes after terminated does not light the lamp.
func TestPublishedEarlyAfterTerminated(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 11, dialog("d", Terminated))).do(published("t2", 600, dialog("d", Early))).lamp(Terminated).reload().lamp(Terminated)
	s.do(bodiless("t2", "t3", 600)).pass(5 * time.Minute).do(bodiless("t3", "t4", 600)).lamp(Terminated)
}

// Tags that came once stay when later documents have none.
func TestPublishedTagsStay(t *testing.T) {
	s := newStage(t)
	d := dialog("d", Early)
	d.FromTag, d.ToTag = "ft", "tt"
	s.do(published("t1", 60, dialog("d", Trying))).do(published("t2", 60, d).change("t1")).do(published("t3", 60, dialog("d", Confirmed)).change("t2"))
	s.shown("confirmed call-d ft tt")
}

// Of two forks one is answered: the lamp is confirmed at once, and stays so when the other one ends.
func TestPublishedForks(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newStage(t)
		fork := func(id, tag string, state State) Publish {
			d := dialog(id, state)
			d.CallID, d.FromTag = "one", id
			return published(tag, 600, d)
		}
		s.do(fork("f1", "t1", Early)).do(fork("f2", "t2", Early)).shown("early one f1", "early one f2")
		s.do(fork("f2", "t3", Confirmed).change("t2")).shown("confirmed one f2")
		if !late {
			s.do(fork("f1", "t4", Terminated).change("t1"))
		}
		s.shown("confirmed one f2").do(fork("f2", "t5", Terminated).change("t3"))
		if late {
			s.shown("early one f1").pass(10 * time.Minute)
		}
		s.shown()
	}
}

// A dialog without an id is named by its Call-ID and tags, else it is the extension's register.
func TestDialogsWithoutAnID(t *testing.T) {
	s := newStage(t)
	a, b, none := dialog("", Confirmed), dialog("", Confirmed), CallEvent{State: Confirmed}
	a.CallID, b.CallID, b.FromTag = "x", "x", "ft"
	s.do(published("t1", 60, a, b, none))
	if n := len(s.e.View().Dialogs); n != 3 {
		t.Fatalf("%d dialogs", n)
	}
	none.State = Terminated
	s.do(published("t2", 60, none)).shown("confirmed x", "confirmed x ft")
	none.State = Early
	s.do(published("t3", 60, none)).lamp(Early)
}

// A dialog whose id is the extension's own name, or that has neither Call-ID nor tags, may come back at once (Asterisk, FreeSWITCH).
func TestPublishedRegisters(t *testing.T) {
	for _, id := range []string{"1001", "1001@ACME.example.com", "sip:1001@acme.example.com", "slot"} {
		s := newStage(t)
		hint := func(tag string, state State) Publish { return published(tag, 60, CallEvent{ID: id, State: state}) }
		s.do(hint("t1", Early)).lamp(Early).do(hint("t2", Terminated).change("t1")).lamp(Terminated).do(hint("t3", Confirmed).change("t2")).lamp(Confirmed)
		s.reload().lamp(Confirmed).pass(time.Minute).lamp(Terminated)
		s.do(hint("t4", Early)).do(hint("t5", Confirmed)).lamp(Confirmed).do(bodiless("t5", "t6", 0)).lamp(Confirmed).do(bodiless("t4", "t7", 0)).lamp(Terminated)
	}
}

// A slot shows the call that waits in it.
func TestPublishedSlotHoldsACall(t *testing.T) {
	s := newStage(t)
	parked := dialog("1001", Confirmed)
	parked.CallID, parked.FromTag, parked.ToTag = "parked", "ft", "tt"
	s.do(published("t1", 60, parked)).shown("confirmed parked ft tt")
}

// RFC 3863 §4.1.4: the newest basic status of a publisher counts, as long as a publication reports it. When none does, it is closed.
func TestPublishedBasicStatus(t *testing.T) {
	s := newStage(t)
	basic := func(tag string, state State) Publish {
		return Publish{Package: Presence, Publisher: "10.0.0.1", Tag: tag, Expires: 60, HasBody: true, Basic: state}
	}
	closed := func(want bool) {
		t.Helper()
		if s.e.View().Closed != want {
			t.Fatalf("closed is %v", !want)
		}
	}
	s.do(watch(Presence, "w")).do(basic("t1", Offline))
	closed(true)
	s.do(basic("t2", None).change("t1")) // a document that says nothing of it: nobody says that it is open
	closed(true)
	s.do(basic("t3", Offline)).do(basic("t4", Online))
	closed(false)
	s.do(basic("t5", Offline).change("t4")).pass(time.Minute)
	closed(true)
	s.reload().do(basic("t6", Online))
	closed(false)
}

// RFC 3903 §4.1, §6: an open that ended composes no more. Kamailio's pua_usrloc publishes open for each phone that registers, withdraws that when the
// phone is gone, and says closed never.
func TestOpenIsWithdrawn(t *testing.T) {
	open := func(tag string, expires int) Publish {
		return Publish{Package: Presence, Publisher: "10.0.0.1", Tag: tag, Expires: expires, HasBody: true, Basic: Online}
	}
	withdraw := func(match, tag string) Publish {
		ev := bodiless(match, tag, 0)
		ev.Package = Presence
		return ev
	}
	s := newStage(t)
	closed := func(want bool, told ...string) {
		t.Helper()
		if s.e.View().Closed != want {
			t.Fatalf("closed is %v", !want)
		}
		s.heard(told...)
	}
	const news = "presence terminated w"
	s.do(watch(Presence, "w"))
	closed(false, news) // nobody has published
	s.pass(time.Second).do(open("a1", 60)).do(open("b1", 60)).do(withdraw("a1", "a2"))
	closed(false) // the other phone is there
	s.reload().do(withdraw("b1", "b2"))
	closed(true, news)
	s.reload().pass(5 * time.Minute)
	closed(true)
	s.do(open("c1", 60))
	closed(false, news)
	s.pass(time.Minute) // it lapses
	closed(true, news)
	other := open("d1", 60)
	other.Publisher = "10.0.0.2"
	s.pass(time.Second).do(open("e1", 30)).do(other)
	closed(false, news)
	s.pass(40 * time.Second).do(open("f1", 0)) // with a document, and over at once
	closed(false)
	s.now = s.now.Add(time.Minute) // the last one lapses while no node holds the extension
	s.reload().pass(0)
	closed(true, news)
	s.pass(time.Second).do(Reset{}) // as if nobody had published
	closed(false, news)
	s.pass(time.Second).do(open("g1", 60)).do(Reset{})
	s.said = nil
	refresh := bodiless("g1", "g2", 60)
	refresh.Package = Presence
	s.pass(time.Second).do(refresh)
	closed(false)
	s.pass(time.Minute)
	closed(true, news)
	s.do(End{})
	if s.e.View().Closed || len(s.e.Subscriptions()) != 0 {
		t.Fatal("the account is gone")
	}
}

// Registers of other sources stand beside what is published: offline closes, and online does not open what nobody publishes any more.
func TestPublishedBasicStatusAndRegister(t *testing.T) {
	s := newStage(t)
	open := Publish{Package: Presence, Publisher: "10.0.0.1", Tag: "t1", Expires: 60, HasBody: true, Basic: Online}
	steps := []struct {
		ev     Event
		closed bool
	}{{open, false}, {RegisterEvent{Name: "n", State: Offline}, true}, {RegisterEvent{Name: "n", State: Online}, false}, {Tick{}, false}}
	for _, step := range steps {
		if s.pass(time.Second).do(step.ev); s.e.View().Closed != step.closed {
			t.Fatalf("%+v: closed is %v", step.ev, !step.closed)
		}
	}
	if s.pass(time.Minute).do(RegisterEvent{Name: "n", State: Online}); !s.e.View().Closed {
		t.Fatal("open, and nobody publishes it")
	}
}

// RFC 3842: published counts are those of the mailbox. They stay when the publication ends.
func TestPublishedCounts(t *testing.T) {
	s := newStage(t)
	ev := Publish{Package: MessageSummary, Publisher: "10.0.0.1", Tag: "t1", Expires: 60, HasBody: true, Messages: &Messages{New: 2, Saved: 1, Account: "sip:1001@acme.example.com"}}
	s.do(watch(MessageSummary, "w")).do(ev)
	s.said = nil
	refresh := Publish{Package: MessageSummary, Publisher: "10.0.0.1", IfMatch: "t1", Tag: "t2", Expires: 60}
	s.do(refresh).pass(10 * time.Minute).heard()
	if v := s.e.View(); !v.HasMessages || v.Messages != *ev.Messages {
		t.Fatalf("%+v", v)
	}
}

// Publications and what they report are bounded. What ends is taken past the bound.
func TestPublicationsAreBounded(t *testing.T) {
	s := newStage(t)
	s.rules.MaxCalls = 2
	s.do(published("t1", 60, dialog("a", Early), dialog("b", Early)))
	s.refused(published("t2", 60, dialog("c", Early)), ErrTooManyCalls)
	s.refused(published("t2", 60, dialog("a", Terminated), dialog("c", Early), dialog("d", Early)), ErrTooManyCalls)
	for i := range 7 {
		s.do(published(fmt.Sprintf("x%d", i), 60, dialog("a", Early)))
	}
	s.refused(published("t3", 60, dialog("a", Early)), ErrTooManyCalls)
	s.do(published("t3", 60, dialog("a", Terminated))).shown("early call-b").refused(bodiless("t3", "t4", 60), ErrNoPublication)
	s.do(published("t5", 60, dialog("b", Confirmed)).change("t1")).shown("confirmed call-b")
	s.pass(time.Minute).do(published("t6", 60, dialog("c", Early))).lamp(Early)

	s = newStage(t)
	s.rules.MaxCalls, s.rules.MaxTombstones = 100, 1
	s.do(published("t1", 60, dialog("a", Confirmed), dialog("b", Confirmed))).do(published("t2", 60, dialog("a", Terminated)))
	s.refused(published("t3", 60, dialog("c", Early)), ErrTooManyTombstones)
	s.do(published("t4", 60, dialog("unknown", Terminated), dialog("b", Terminated))).shown()
	s = newStage(t)
	s.rules.MaxCalls = 0
	for i := range 3 {
		ev := published(fmt.Sprintf("t%d", i+1), 60)
		for n := range MaxPublished / 2 {
			ev.Dialogs = append(ev.Dialogs, dialog(fmt.Sprintf("%d-%d-%s", i, n, strings.Repeat("x", 200)), Trying))
		}
		if ev.Partial = true; i > 0 {
			ev.IfMatch = fmt.Sprintf("t%d", i)
		}
		if i == 2 {
			s.refused(ev, ErrTooManyCalls)
		} else {
			s.do(ev)
		}
	}
	s.reload().do(bodiless("t2", "t3", 600)).pass(5 * time.Minute)
	if n := len(s.e.View().Dialogs); n != MaxPublished {
		t.Fatalf("%d dialogs after a restart and a refresh", n)
	}
}

// Publications wait until all nodes keep them.
func TestPublicationsWaitForOlderNodes(t *testing.T) {
	s := newStage(t)
	s.rules.Writes = func() int { return 1 }
	s.refused(published("t1", 60, dialog("d", Early)), ErrTooNew)
}

// A repetition of the very same request is taken and changes nothing.
func TestRepeatedPublish(t *testing.T) {
	s := newStage(t)
	first, second := published("t1", 60, dialog("d", Early)), published("t2", 60, dialog("d", Confirmed)).change("t1")
	s.do(first).do(second)
	before := dump(s.e)
	s.pass(time.Second).do(second).do(first)
	if len(s.eff.Records) > 0 {
		t.Error("it was kept again")
	}
	equalText(t, dump(s.e), before)
}

// A reset ends what is published. Publications stay, and their refresh brings nothing back.
func TestResetEndsWhatIsPublished(t *testing.T) {
	s := newStage(t)
	s.do(published("t1", 600, dialog("d", Early), dialog("1001", Confirmed))).do(Reset{}).lamp(Terminated)
	s.pass(2 * time.Minute).do(bodiless("t1", "t2", 600)).lamp(Terminated)
	s.do(published("t3", 600, dialog("1001", Confirmed)).change("t2")).lamp(Confirmed)
	s.do(End{}).lamp(Terminated).refused(bodiless("t3", "t4", 600), ErrNoPublication)
	s.reload().refused(bodiless("t3", "t4", 600), ErrNoPublication)
}

// RFC 4235 §4.1.6: a publication says with every document whether a dialog is held. So do Asterisk's hints.
func TestPublishedHold(t *testing.T) {
	for _, id := range []string{"d", "1001"} {
		s := newStage(t)
		d := dialog(id, Confirmed)
		d.CallID = "c"
		s.do(published("t1", 60, d)).held("!c")
		d.Rendering = NotRendered
		s.pass(time.Second).do(published("t2", 60, d).change("t1")).held("c").reload().held("c")
		s.pass(time.Second).do(bodiless("t2", "t3", 60)).held("c")
		d.Rendering = RenderingUnknown
		s.pass(time.Second).do(published("t4", 60, d).change("t3")).held("!c").reload().held("!c")
	}
}
