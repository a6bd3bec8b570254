package presence

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"
)

func TestSubscribeAndRefreshTellAtOnce(t *testing.T) { // RFC 6665 §4.2.1.2
	s := newStage(t)
	s.do(watch(Dialog, "a")).heard("dialog terminated a")
	s.do(ring("c", Early)).heard("dialog early a")
	s.do(watch(Dialog, "a")).heard("dialog early a") // not held back by the rate
	s.do(watch(Presence, "a")).heard("presence early a")
	if n := len(s.e.Subscriptions()); n != 2 {
		t.Fatalf("%d subscriptions", n)
	}
}

func TestSubscribeZeroEnds(t *testing.T) { // RFC 6665 §4.1.2.3
	s := newStage(t)
	ev := watch(Dialog, "a")
	s.do(ev).heard("dialog terminated a")
	ev.Expires = 0
	s.do(ev).heard("dialog terminated a timeout")
	if !s.eff.Records[0].Tombstone {
		t.Fatalf("%+v", s.eff.Records)
	}
	s.do(ev).heard() // again, or for what nobody knows: no change
	if len(s.eff.Records) != 0 || s.e.Empty() {
		t.Fatalf("%+v", s.eff)
	}
	if s.pass(time.Minute); !s.e.Empty() || !s.e.Next().IsZero() {
		t.Fatalf("the tombstone stayed: %s", dump(s.e))
	}
}

func TestOlderCSeqIsIgnored(t *testing.T) { // RFC 3261 §12.2.2
	s := newStage(t)
	ev := watch(Dialog, "a")
	ev.CSeq, ev.HasCSeq = 7, true
	s.do(ev).heard("dialog terminated a")
	s.do(ev).heard("dialog terminated a") // a repetition does no harm
	old := ev
	old.CSeq, old.Expires = 6, 0
	s.do(old).heard()
	ev.CSeq, ev.Expires = 8, 0
	s.do(ev).heard("dialog terminated a timeout")
	for range 2 {
		old.Expires = 1800
		old.CSeq = 7
		s.do(old).heard()
		s.reload() // its tombstone is a record
	}
	s.pass(61 * time.Second)
	s.do(old).heard("dialog terminated a")
}

func TestExpiryWithGrace(t *testing.T) {
	s := newStage(t)
	ev := watch(Dialog, "a")
	ev.Expires = 60
	s.do(ev).heard("dialog terminated a")
	s.pass(79 * time.Second).heard()
	if left := s.e.Subscriptions()[0].Left(s.now); left != 0 {
		t.Fatalf("left %d", left)
	}
	s.pass(2 * time.Second).heard("dialog terminated a timeout")
	if len(s.e.Subscriptions()) != 0 {
		t.Fatal("it stayed")
	}
}

func TestLapsedWhileDownEndsProperly(t *testing.T) {
	s := newStage(t)
	ev := watch(Dialog, "a")
	ev.Expires = 60
	long := watch(Dialog, "b")
	s.do(ev).do(long).do(CallEvent{CallID: "c", State: Early, Expires: 70}).pass(time.Second)
	s.said = nil
	s.now = s.now.Add(100 * time.Second)
	s.reload()
	if next := s.e.Next(); next.IsZero() || next.After(s.now) {
		t.Fatalf("the Tick is due at %v", next)
	}
	s.do(Tick{}).heard("dialog terminated a timeout", "dialog terminated b") // b learns that the call is gone
}

func TestRebootReplaces(t *testing.T) { // docs/contract/sip.md, "Subscription state"
	phone := func(id, contact string) Subscribe {
		ev := watch(Dialog, id)
		ev.From, ev.Contact = "1002@acme.example.com", contact
		return ev
	}
	s := newStage(t)
	s.do(phone("a", "<sip:1002@10.0.0.9>")).do(phone("b", "<sip:1002@10.0.0.10>"))
	other := phone("a", "<sip:1002@10.0.0.9>")
	other.Package = Presence
	s.do(other)
	if n := len(s.e.Subscriptions()); n != 3 {
		t.Fatalf("two phones and two packages: %d", n)
	}
	s.said = nil
	s.do(phone("a2", "<sip:1002@10.0.0.9>;expires=60")).heard("dialog terminated a2")
	s.do(phone("a", "<sip:1002@10.0.0.9>")).heard() // late copy of the old one
	if n := len(s.e.Subscriptions()); n != 3 {
		t.Fatalf("%d", n)
	}
	i := `<sip:1002@10.0.0.9:%s>;+sip.instance="<urn:uuid:1>"`
	s.do(phone("i1", fmt.Sprintf(i, "1"))).do(phone("i2", fmt.Sprintf(i, "2"))).heard("dialog terminated i1", "dialog terminated i2")
	if n := len(s.e.Subscriptions()); n != 4 {
		t.Fatalf("the port changed, the instance did not: %d", n)
	}
}

func TestNoContactReplacesNothing(t *testing.T) {
	s := newStage(t)
	a, b := watch(Dialog, "a"), watch(Dialog, "b")
	a.From, b.From, a.Contact, b.Contact = "x@y", "x@y", "", ""
	s.do(a).do(b)
	if n := len(s.e.Subscriptions()); n != 2 {
		t.Fatalf("%d", n)
	}
}

func TestSubscribeBounds(t *testing.T) {
	s := newStage(t)
	for _, change := range []func(*Subscribe){
		func(ev *Subscribe) { ev.CallID = "" },
		func(ev *Subscribe) { ev.Expires = -1 },
		func(ev *Subscribe) { ev.Expires = 86401 },
		func(ev *Subscribe) { ev.Package = 9 },
		func(ev *Subscribe) { ev.Contact = string(make([]byte, 4097)) },
	} {
		ev := watch(Dialog, "a")
		change(&ev)
		s.refused(ev, ErrInvalid)
	}
	s.rules.MaxWatchers, s.rules.MaxTombstones = 2, 1
	s.do(watch(Dialog, "a")).do(watch(Dialog, "b"))
	s.refused(watch(Dialog, "c"), ErrTooManyWatchers)
	again := watch(Dialog, "b2")
	again.From, again.Contact = "b@acme.example.com", "<sip:b@10.0.0.9:5060>"
	s.do(again) // takes b's place
	ev := watch(Dialog, "a")
	ev.Expires = 0
	s.do(ev) // what exists may end
	s.refused(watch(Dialog, "c"), ErrTooManyTombstones)
	s.pass(time.Minute).do(watch(Dialog, "c"))
}

func TestEndTellsEveryoneAndForgets(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(watch(MessageSummary, "a")).do(ring("c", Early)).do(SetManual{Confirmed})
	s.do(MailboxEvent{Source: "1001@acme.example.com", New: 1})
	s.said = nil
	s.do(End{Reason: "noresource"}).heard("dialog terminated a noresource", "message-summary terminated a noresource")
	for _, r := range s.eff.Records {
		if !r.Tombstone {
			t.Fatalf("%+v is no tombstone", r)
		}
	}
	s.reload().lamp(Terminated)
	if s.pass(2 * time.Minute); !s.e.Empty() {
		t.Fatal(dump(s.e))
	}
}

func TestNotified(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(watch(Dialog, "a"))
	w := s.e.Subscriptions()[0]
	s.do(Notified{CallID: "a", Sequence: 1, Reply: 200})
	if w.Acked() != 1 || w.Reply() != 0 || w.Sequence() != 2 {
		t.Fatalf("acked %d, reply %d", w.Acked(), w.Reply())
	}
	s.do(Notified{CallID: "a", Sequence: 2, Reply: 500}).do(Notified{CallID: "a", Sequence: 99, Reply: 200}).do(Notified{CallID: "?"})
	s.do(Notified{CallID: "a", Sequence: 2, Reply: 200, Edge: "edge-2"}) // its watcher is behind edge-1
	if w.Acked() != 2 || w.Reply() != 500 || len(s.eff.Records) != 0 {
		t.Fatalf("acked %d, reply %d", w.Acked(), w.Reply())
	}
	s.do(Notified{CallID: "a", Sequence: 2, Reply: 202, Edge: "edge-1"})
	if w.Reply() != 202 {
		t.Fatalf("reply %d", w.Reply())
	}
	s.refused(Notified{CallID: "a", Reply: 700}, ErrInvalid)
}

func TestFinalRepliesEnd(t *testing.T) { // RFC 6665 §4.2.2
	for code := range 700 {
		s := newStage(t)
		s.do(watch(Dialog, "a")).do(watch(Presence, "a"))
		s.said = nil
		s.do(Notified{Package: Dialog, HasPackage: true, CallID: "a", Sequence: 1, Reply: code, Edge: "edge-1"})
		final := slices.Contains([]int{404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604}, code)
		if ended := len(s.e.Subscriptions()) == 1; ended != final {
			t.Fatalf("a reply of %d: ended %v", code, ended)
		}
		if final {
			s.heard("dialog terminated a timeout").reload()
			if n := len(s.e.Subscriptions()); n != 1 {
				t.Fatalf("%d after a restart", n)
			}
		} else if s.heard(); len(s.eff.Records) != 0 || len(s.e.Subscriptions()) != 2 {
			t.Fatalf("a reply of %d was kept", code)
		}
	}
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(ring("c", Early)).do(watch(Dialog, "a")) // NOTIFYs 1 and 2, and 3 after the refresh
	for what, ev := range map[string]Notified{
		"a NOTIFY of before the SUBSCRIBE": {CallID: "a", Sequence: 2, Reply: 481, Edge: "edge-1"},
		"a NOTIFY that was not sent":       {CallID: "a", Sequence: 4, Reply: 481, Edge: "edge-1"},
		"no NOTIFY that it names":          {CallID: "a", Reply: 481, Edge: "edge-1"},
		"another edge's":                   {CallID: "a", Sequence: 3, Reply: 481, Edge: "edge-2"},
		"another package's":                {Package: Presence, HasPackage: true, CallID: "a", Sequence: 3, Reply: 481, Edge: "edge-1"},
	} {
		if s.do(ev); len(s.e.Subscriptions()) != 1 {
			t.Fatalf("a reply to %s ended the subscription", what)
		}
	}
	s.do(ring("c", Confirmed)).do(Notified{CallID: "a", Sequence: 3, Reply: 481, Edge: "edge-1"}) // the newest is 4
	if len(s.e.Subscriptions()) != 0 {
		t.Fatal("it lives on")
	}
	queue := watch(Dialog, "b")
	queue.ServerID = ""
	s.do(queue).do(Notified{CallID: "b", Sequence: s.seq, Reply: 481, Edge: "whichever"}) // any edge may send its NOTIFYs
	if len(s.e.Subscriptions()) != 0 {
		t.Fatal("a subscription without an edge lives on")
	}
}

func TestFetch(t *testing.T) { // RFC 6665 §4.4.3
	s := newStage(t)
	s.do(ring("c", Early)).do(watch(Dialog, "w"))
	s.said = nil
	fetch := watch(Dialog, "f")
	fetch.Expires = 0
	s.do(fetch).heard("dialog early f timeout")
	if len(s.eff.Records) != 0 || len(s.e.Subscriptions()) != 1 {
		t.Fatalf("a fetch left %+v", s.eff.Records)
	}
	s.do(ring("c", Confirmed)).heard("dialog confirmed w")
	s.do(fetch).heard("dialog confirmed f timeout") // another fetch

	// The end of a subscription that is repeated is no fetch. A later SUBSCRIBE of that phone may be one.
	end := watch(Dialog, "w")
	end.Expires, end.HasCSeq, end.CSeq = 0, true, 7
	s.do(end).heard("dialog confirmed w timeout").do(end).heard()
	end.CSeq = 6
	s.do(end).heard()
	end.HasCSeq = false
	s.do(end).heard()
	end.HasCSeq, end.CSeq = true, 8
	s.do(end).heard("dialog confirmed w timeout")
}

// A SUBSCRIBE within the dialog leaves the route set as it was, and replaces the edge's own entry, which comes first (RFC 3261 §12.2).
func TestRFC3261RouteSetStays(t *testing.T) {
	for _, c := range []struct{ old, now, want string }{
		{"<sip:a@lamplight;lr>,<sip:p1;lr>,<sip:p2;lr>", "<sip:b@lamplight;lr>", "<sip:b@lamplight;lr>,<sip:p1;lr>,<sip:p2;lr>"},
		{"<sip:a@lamplight;lr>", "<sip:b@lamplight;lr>", "<sip:b@lamplight;lr>"},
		{"<sip:a@lamplight;lr>,<sip:p1;lr>", "<sip:b@lamplight;lr>,<sip:p3;lr>", "<sip:b@lamplight;lr>,<sip:p3;lr>"},
		{"", "<sip:b@lamplight;lr>", "<sip:b@lamplight;lr>"},
		{"a bridge's own, with a comma", "another", "another"},
	} {
		if got := refreshed(c.old, c.now); got != c.want {
			t.Errorf("%q after %q: %q, want %q", c.now, c.old, got, c.want)
		}
	}
}

// A temporary failure has the watcher told again after a wait, or after the phone's Retry-After. The third in a row ends the
// subscription, and nobody is told.
func TestFailuresAreRetried(t *testing.T) { // RFC 6665 §4.2.2
	for code := 300; code < 700; code++ {
		if (Notified{Reply: code}).Final() {
			continue
		}
		s := newStage(t)
		s.do(watch(Dialog, "a")).do(watch(Dialog, "b"))
		s.said = nil
		fails := func() {
			t.Helper()
			last := Notified{Package: Dialog, HasPackage: true, CallID: "a", Sequence: s.e.Subscriptions()[0].Sequence(), Reply: code, Edge: "edge-1"}
			s.do(last).heard()
			if len(s.e.Subscriptions()) == 2 {
				s.do(last).heard() // once more: it counts once
			}
		}
		fails()
		s.pass(4 * time.Second).heard().pass(2 * time.Second).heard("dialog terminated a")
		fails()
		s.pass(59 * time.Second).heard().pass(2 * time.Second).heard("dialog terminated a")
		fails()
		if got := s.e.Subscriptions(); len(got) != 1 || got[0].CallID != "b" {
			t.Fatalf("after three replies of %d there are %d subscriptions", code, len(got))
		}
		if len(s.eff.Records) != 1 || !s.eff.Records[0].Tombstone {
			t.Fatalf("%+v", s.eff.Records)
		}
		if s.reload(); len(s.e.Subscriptions()) != 1 {
			t.Fatal("it is back after a restart")
		}
		s.said = nil
		s.pass(10 * time.Minute).heard()
	}
}

func TestFailuresCountAnew(t *testing.T) {
	fail := func(s *stage, more ...func(*Notified)) {
		t.Helper()
		ev := Notified{CallID: "a", Sequence: s.e.Subscriptions()[0].Sequence(), Reply: 408, Edge: "edge-1"}
		for _, m := range more {
			m(&ev)
		}
		if s.do(ev); len(s.e.Subscriptions()) != 1 {
			t.Fatal("the subscription has ended")
		}
	}
	for name, anew := range map[string]func(*stage){
		"a reply below 300": func(s *stage) {
			s.do(Notified{CallID: "a", Sequence: s.e.Subscriptions()[0].Sequence(), Reply: 200, Edge: "edge-1"})
			if s.e.Subscriptions()[0].rare != nil {
				t.Error("memory stays")
			}
		},
		"a SUBSCRIBE": func(s *stage) { s.do(watch(Dialog, "a")) },
		"a restart": func(s *stage) {
			s.reload()
			s.do(Renotify{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.do(watch(Dialog, "a"))
			for range 4 {
				fail(s)
				s.pass(6 * time.Second)
				fail(s)
				s.pass(61 * time.Second)
				anew(s)
			}
		})
	}
	t.Run("changes count as the retry", func(t *testing.T) {
		s := newStage(t)
		s.do(watch(Dialog, "a"))
		fail(s)
		s.said = nil
		s.pass(time.Second).do(ring("c", Early)).heard("dialog early a")
		s.pass(10 * time.Second).heard() // it is not told once more
		// A phone whose connection is gone: all that it is told fails at once. It counts as one failure until the next retry.
		fail(s)
		for i := range 20 {
			s.do(ring(fmt.Sprint("d", i), Early))
			s.pass(time.Second)
			fail(s)
		}
		s.said = nil
		s.pass(time.Minute).heard("dialog early a") // the retry of the second failure
	})
	t.Run("an older NOTIFY", func(t *testing.T) {
		s := newStage(t)
		s.do(watch(Dialog, "a")).pass(time.Second).do(ring("c", Early))
		s.said = nil
		fail(s, func(ev *Notified) { ev.Sequence-- }) // the newest is on its way
		s.pass(time.Minute).heard()
		fail(s, func(ev *Notified) { ev.Sequence = 0 }) // names none
		fail(s, func(ev *Notified) { ev.Edge = "edge-2" })
		s.pass(time.Minute).heard()
	})
	t.Run("Retry-After", func(t *testing.T) {
		for asked, wait := range map[int]time.Duration{1: time.Second, 90: 90 * time.Second, 1 << 30: 10 * time.Minute} {
			s := newStage(t)
			s.do(watch(Dialog, "a"))
			s.said = nil
			fail(s, func(ev *Notified) { ev.Reply, ev.RetryAfter = 503, asked })
			s.pass(wait - time.Millisecond).heard().pass(time.Second).heard("dialog terminated a")
		}
		s := newStage(t)
		s.do(watch(Dialog, "a")).refused(Notified{CallID: "a", RetryAfter: -1}, ErrInvalid)
	})
}

// What an edge ends when it drains: the subscriptions behind it that need a connection to it, and no others (RFC 6665 §4.1.3).
func TestEndTied(t *testing.T) {
	s := newStage(t)
	for id, route := range map[string]string{"tcp": "<sip:tcp.4f2a.17@lamplight;profile=default;lr>", "ws": "<sip:ws.4f2a.18@lamplight;lr>",
		"udp": "<sip:udp.0.10.0.0.9:5060@lamplight;profile=default;lr>", "proxy": "<sip:tcp.4f2a.17@lamplight;lr>,<sip:10.0.0.1;lr>", "foreign": "<sip:10.0.0.1;lr>", "none": ""} {
		ev := watch(Dialog, id)
		ev.ProxyRoute = route
		s.do(ev)
	}
	other := watch(Dialog, "other")
	other.ProxyRoute, other.ServerID = "<sip:tcp.4f2a.17@lamplight;lr>", "edge-2"
	s.do(other)
	s.said = nil
	s.do(EndSubscriptions{Reason: Deactivated, Edge: "edge-1"}).heard("dialog terminated tcp,ws deactivated")
	s.do(EndSubscriptions{Reason: Deactivated, Edge: "edge-1"}).heard()
	s.reload().do(ring("c", Early)).heard("dialog early foreign,none,other,proxy,udp")
	s.do(EndSubscriptions{Reason: Deactivated}).heard("dialog early foreign,none,other,proxy,udp deactivated")
}

func TestInDialogCreatesNothing(t *testing.T) { // RFC 6665 §4.2.1.4
	s := newStage(t)
	in := func(cseq uint32, expires int) Subscribe {
		ev := watch(Dialog, "a")
		ev.InDialog, ev.HasCSeq, ev.CSeq, ev.Expires = true, true, cseq, expires
		return ev
	}
	s.refused(in(2, 600), ErrNoSubscription)
	s.refused(in(2, 0), ErrNoSubscription)
	s.do(watch(Dialog, "a")).do(in(2, 600)).do(in(3, 0)).heard("dialog terminated a", "dialog terminated a", "dialog terminated a timeout")
	s.do(in(3, 0)).heard() // the same once more
	s.refused(in(4, 0), ErrNoSubscription)
	s.refused(in(4, 600), ErrNoSubscription)
}

// Latency is the time from the newest NOTIFY until the reply to it, within a tenth. It is unknown until then, and a repeated reply does not change it.
func TestLatency(t *testing.T) {
	for _, took := range []time.Duration{0, 3 * time.Millisecond, 120 * time.Millisecond, 31 * time.Second} {
		s := newStage(t)
		s.do(watch(Dialog, "a"))
		w := s.e.Subscriptions()[0]
		if w.Latency() != 0 {
			t.Fatalf("before the reply: %v", w.Latency())
		}
		s.now = s.now.Add(took)
		s.do(Notified{CallID: "a", Sequence: 1, Reply: 200})
		least, most := took*9/10, took*11/10+time.Microsecond
		if got := w.Latency(); got == 0 || got < least || got > most {
			t.Errorf("%v: %v", took, got)
		}
		s.now = s.now.Add(time.Hour)
		before := w.Latency()
		if s.do(Notified{CallID: "a", Sequence: 1, Reply: 200}); w.Latency() != before {
			t.Errorf("a repeated reply: %v, before %v", w.Latency(), before)
		}
		if s.do(watch(Dialog, "a")); w.Latency() != 0 {
			t.Errorf("after a further NOTIFY: %v", w.Latency())
		}
	}
	if size := unsafe.Sizeof(Subscription{}); size > 256 {
		t.Errorf("a Subscription has %d bytes", size)
	}
}
