package presence

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzApply lets an arbitrary script happen.
func FuzzApply(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		s := newStage(t)
		s.rules.MaxWatchers, s.rules.MaxCalls, s.rules.MaxTombstones = 4, 3, 4
		s.rules.NotifyInterval = time.Duration(rapid.SampledFrom([]int{0, 200}).Draw(t, "interval")) * ms
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			_ = s.try(drawEvent(t, s.now))
			s.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "wait")) * ms)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				s.reload()
			}
		}
		if n := len(s.e.Subscriptions()); n > 4 {
			t.Fatalf("%d watchers", n)
		}
	}))
}

// FuzzRecord reads arbitrary bytes; what is accepted must live on and be written so that it reads the same.
func FuzzRecord(f *testing.F) {
	s := newStage(f)
	s.do(watch(Dialog, "a")).do(ring("c", Early)).do(ring("d", Terminated)).do(RegisterEvent{Name: "n", State: Offline})
	s.do(SetManual{Early}).do(MailboxEvent{Source: "b", New: 1}).do(MailboxEvent{Source: "b", Lamp: true, New: 1})
	ev := watch(Presence, "a")
	s.do(ev)
	ev.Expires = 0
	s.do(ev)
	for _, all := range s.journal {
		for _, k := range all {
			f.Add(byte(k.Kind), k.Data)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		_, _, _ = ParseAddress(data)
		s := newStage(t)
		if s.e.Load(Kind(kind), data) != nil {
			if !s.e.Empty() {
				t.Fatalf("a refused record left %s", dump(s.e))
			}
			return
		}
		s.e.Loaded(s.now)
		again := New("acme.example.com", "1001", s.rules)
		for _, r := range written(s.e, s.now) {
			if err := again.Load(r.Kind, r.Data); err != nil {
				t.Fatalf("%q is not readable: %v", r.Data, err)
			}
		}
		again.Loaded(s.now)
		equalText(t, dump(again), dump(s.e))
		s.pass(time.Minute).do(ring("c", Confirmed)).do(Reset{}).do(End{}).pass(time.Hour)
		if !s.e.Empty() {
			t.Fatalf("left %s", dump(s.e))
		}
	})
}

// written are the records of all that is held.
func written(e *Extension, now time.Time) []Record {
	var eff Effects
	us := now.UnixMicro()
	for _, s := range e.watchers {
		eff.Records = append(eff.Records, Record{Kind: KindSubscription, Data: e.encodeSubscription(s)})
	}
	if m := e.more; m != nil {
		for _, c := range m.calls {
			e.keepCall(&eff, c, us)
		}
		for _, r := range m.registers {
			e.keepRegister(&eff, r, us)
		}
		for _, b := range m.mailboxes {
			eff.Records = append(eff.Records, Record{Kind: KindMailbox, Data: e.encodeMailbox(b)})
		}
		for i := range m.ended {
			eff.Records = append(eff.Records, Record{Kind: KindSubscription, Data: e.encodeEnded(&m.ended[i])})
		}
		if m.manual.state != None {
			eff.Records = append(eff.Records, Record{Kind: KindManual, Data: e.encodeManual(&m.manual)})
		}
	}
	return eff.Records
}
