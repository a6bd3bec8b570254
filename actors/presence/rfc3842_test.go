package presence

import (
	"slices"
	"testing"
	"time"
)

func TestOwnCounts(t *testing.T) { // RFC 3842 §3
	s := newStage(t)
	s.do(watch(MessageSummary, "m")).do(watch(Dialog, "d"))
	s.said = nil
	box := MailboxEvent{Source: "1001@acme.example.com", New: 1, Saved: 4}
	s.do(box).heard("message-summary terminated m").do(box).heard()
	box.New = 0
	s.pass(1e9).do(box).heard("message-summary terminated m")
	if v := s.reload().e.View(); !v.HasMessages || v.Messages.Saved != 4 {
		t.Fatalf("%+v", v)
	}
	if s.pass(1e12); s.e.Empty() {
		t.Fatal("saved counts matter")
	}
}

func TestMailboxesLightALamp(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "d"))
	s.said = nil
	a, b := MailboxEvent{Source: "a@x", Lamp: true, New: 1}, MailboxEvent{Source: "b@x", Lamp: true, New: 2}
	s.do(a).lamp(Confirmed).do(b).reload().lamp(Confirmed)
	if s.eff.Records[0].Life != 0 {
		t.Fatalf("%+v", s.eff.Records)
	}
	a.New, b.New = 0, 0
	s.do(a).lamp(Confirmed).do(b).lamp(Terminated).reload().lamp(Terminated)
	if len(s.e.View().Dialogs) != 0 {
		t.Fatalf("%+v", s.e.View())
	}
}

// A mailbox's counts go to its own extension; its new messages light the *98 key and the extension that its owner chose.
func TestMailboxUpdateLightsItsLamps(t *testing.T) {
	box := MailboxUpdate{Mailbox: Address{Realm: "acme.test", User: "1001"}, Messages: Messages{New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "sip:m"}}
	counts := MailboxEvent{Source: "1001@acme.test", New: 1, Saved: 2, UrgentNew: 3, UrgentSaved: 4, Account: "sip:m"}
	lamp := MailboxEvent{Source: "1001@acme.test", Lamp: true, New: 1}
	for extended, users := range map[string][]string{"": {"*981001"}, "vm": {"*981001", "vm"}, "*981001": {"*981001"}, "1001": {"*981001", "1001"}} {
		box.Extended, counts.Extended = extended, extended
		want := []Addressed{{box.Mailbox, counts}}
		for _, user := range users {
			want = append(want, Addressed{Address{Realm: "acme.test", User: user}, lamp})
		}
		if got := box.Events(); !slices.Equal(got, want) {
			t.Errorf("with %q also: %+v", extended, got)
		}
	}
}

// An older report of a mailbox that comes late changes nothing, however often. A lamp that was put out stays out, and no memory of that stays for longer
// than a tombstone lives. A report without a Timestamp counts when it comes.
func TestMailboxReportsInTime(t *testing.T) {
	s := newStage(t)
	lamp := func(messages uint32, ago time.Duration) MailboxEvent {
		return MailboxEvent{Source: "b@acme.example.com", Lamp: true, New: messages, Timestamp: begin.Add(-ago)}
	}
	s.do(lamp(2, 20*time.Second)).lamp(Confirmed)
	s.do(lamp(0, 10*time.Second)).lamp(Terminated)
	if s.do(lamp(3, 15*time.Second)).lamp(Terminated); s.eff.Ignored != IgnoredOvertaken || len(s.eff.Records) != 0 {
		t.Errorf("a late report: %+v", s.eff)
	}
	s.reload()
	s.do(lamp(3, 15*time.Second)).lamp(Terminated)
	s.do(MailboxEvent{Source: "b@acme.example.com", Lamp: true, New: 1}).lamp(Confirmed)
	s.do(lamp(0, 5*time.Second)).lamp(Confirmed) // from before the one that has just come
	s.do(MailboxEvent{Source: "b@acme.example.com", Lamp: true}).lamp(Terminated)
	if s.pass(2 * time.Minute); !s.e.Empty() {
		t.Error("the mailbox that was put out is remembered")
	}
}
