package presence

import "testing"

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
	if s.eff.Records[0].TTL != 0 {
		t.Fatalf("%+v", s.eff.Records)
	}
	a.New, b.New = 0, 0
	s.do(a).lamp(Confirmed).do(Reset{}).lamp(Confirmed).do(b).lamp(Terminated).reload().lamp(Terminated)
	if len(s.e.View().Dialogs) != 0 {
		t.Fatalf("%+v", s.e.View())
	}
}
