package presence

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var names = rapid.SampledFrom([]string{"a", "b", "c"})

// drawCall is news of one of a few calls, younger than a tombstone's life. Every field that news may lack may be absent.
func drawCall(t *rapid.T, now time.Time) CallEvent {
	text := rapid.SampledFrom([]string{"", "x", "y", "z"})
	ev := CallEvent{
		CallID: names.Draw(t, "call"), State: rapid.SampledFrom([]State{None, Trying, Early, Confirmed, Terminated}).Draw(t, "state"),
		Direction: Direction(rapid.IntRange(0, 1).Draw(t, "direction")),
		From:      text.Draw(t, "from"), To: text.Draw(t, "to"), FromTag: text.Draw(t, "fromtag"), ToTag: text.Draw(t, "totag"),
		TargetCallID: text.Draw(t, "target"), SwitchURI: text.Draw(t, "switch"), Source: text.Draw(t, "source"),
		Timestamp: now.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "age")) * time.Second),
		Expires:   rapid.SampledFrom([]int{0, 5, 30, 60, 3600}).Draw(t, "expires"),
	}
	ev.Rendering = rapid.SampledFrom([]Rendering{RenderingUnknown, Rendered, NotRendered}).Draw(t, "rendering")
	ev.FromName, ev.ToName, ev.FromURI, ev.ToURI = text.Draw(t, "fromname"), text.Draw(t, "toname"), text.Draw(t, "fromuri"), text.Draw(t, "touri")
	if rapid.IntRange(0, 3).Draw(t, "published") == 0 {
		ev.ID = names.Draw(t, "id")
		if rapid.Bool().Draw(t, "only id") {
			ev.CallID = ""
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "unstamped") == 0 {
		ev.Timestamp = time.Time{}
	}
	if rapid.IntRange(0, 2).Draw(t, "undirected") == 0 {
		ev.Direction, ev.Undirected = Initiator, true
	}
	return ev
}

// Any order and any repetition of the same news of calls ends the same, in memory and after a restart.
func TestCallNewsCommutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commutes(t, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event { return drawCall(t, begin) }), 1, 12).Draw(t, "events"))
	})
}

// The same with switches that are declared gone, among news of calls that are each on one switch.
func TestSwitchGoneCommutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commutes(t, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
			if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
				return SwitchGone{Switch: "sip:" + names.Draw(t, "switch"), Before: begin.Add(-time.Duration(rapid.IntRange(0, 60_000).Draw(t, "before")) * time.Millisecond)}
			}
			ev := drawCall(t, begin)
			if ev.SwitchURI != "" {
				ev.SwitchURI = "sip:" + ev.CallID
			}
			if ev.ID != "" {
				ev.SwitchURI = "" // what is published has none
			}
			return ev
		}), 1, 14).Draw(t, "events"))
	})
}

// commutes checks that any order and any repetition of the events ends the same, in memory and after a restart.
func commutes(t *rapid.T, events []Event) {
	again := rapid.SliceOfN(rapid.SampledFrom(events), 0, 6).Draw(t, "repeated")
	other := rapid.Permutation(append(append([]Event{}, events...), again...)).Draw(t, "order")
	one, two := newStage(t), newStage(t)
	for _, ev := range events {
		one.do(ev)
	}
	for _, ev := range other {
		two.do(ev)
	}
	same := func(what string) {
		t.Helper()
		if a, b := dump(one.e), dump(two.e); a != b {
			t.Fatalf("%s:\n%s\n%s", what, a, b)
		}
	}
	same("in memory")
	view := fmt.Sprintf("%+v", *one.e.View())
	one.reload()
	two.reload()
	same("after a restart")
	if got := fmt.Sprintf("%+v", *one.e.View()); got != view {
		t.Fatalf("a restart made\n%s of\n%s", got, view)
	}
	one.pass(30 * time.Second)
	two.pass(30 * time.Second)
	same("half a minute later")
	one.pass(80 * time.Second).reload()
	two.pass(80 * time.Second)
	same("two minutes later, one of them after a restart")
}

// Any order and any repetition of the same reports of a mailbox that have a Timestamp ends the same: its counts, and which lamps it lights, also of
// the further extensions that some of them name. A restart changes nothing.
func TestMailboxReportsCommute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		box := Address{Realm: "acme.example.com", User: "1001"}
		reports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) MailboxUpdate {
			return MailboxUpdate{Mailbox: box, Extended: rapid.SampledFrom([]string{"", "7001", "7002"}).Draw(t, "extended"),
				Messages: Messages{New: uint32(rapid.IntRange(0, 2).Draw(t, "new")), Saved: uint32(rapid.IntRange(0, 1).Draw(t, "saved"))},
				At:       begin.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "age")) * time.Second)}
		}), 1, 8).Draw(t, "reports")
		again := rapid.SliceOfN(rapid.SampledFrom(reports), 0, 4).Draw(t, "repeated")
		rules := &Rules{TombstoneLife: time.Minute, MaxCalls: 10}
		shown := func(reports []MailboxUpdate, restarts bool) (text string) {
			all, kept := map[Address]*Extension{}, map[Address]map[string][]byte{}
			apply := func(m Addressed) Effects {
				if all[m.To] == nil {
					all[m.To], kept[m.To] = New(m.To.Realm, m.To.User, rules), map[string][]byte{}
				}
				fx, err := all[m.To].Apply(m.Message.(Event), begin)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range fx.Records {
					kept[m.To][r.Key] = r.Data
				}
				if restarts {
					x := New(m.To.Realm, m.To.User, rules)
					for _, data := range kept[m.To] {
						if err := x.Load(KindMailbox, data); err != nil {
							t.Fatal(err)
						}
					}
					x.Loaded(begin)
					all[m.To] = x
				}
				return fx
			}
			for _, u := range reports {
				if own := apply(u.Events()[0]); own.Ignored == IgnoredNot {
					for _, lamp := range u.Lamps(own.Former) {
						apply(lamp)
					}
				}
			}
			for _, user := range []string{"1001", "*981001", "7001", "7002"} {
				if x := all[Address{Realm: box.Realm, User: user}]; x != nil {
					v := x.View()
					text += fmt.Sprintln(user, v.State == Confirmed, v.Messages)
				} else {
					text += fmt.Sprintln(user, false, Messages{})
				}
			}
			return text
		}
		want := shown(reports, false)
		other := rapid.Permutation(append(slices.Clone(reports), again...)).Draw(t, "order")
		for _, restarts := range []bool{false, true} {
			if got := shown(other, restarts); got != want {
				t.Fatalf("restarts %v: %v\n%s\n%v\n%s", restarts, reports, want, other, got)
			}
		}
	})
}

// drawPublish is a publication of some dialogs, or a later request for it.
func drawPublish(t *rapid.T) Publish {
	ev := published(rapid.SampledFrom([]string{"t1", "t2", "t3", "t4", "t5"}).Draw(t, "tag"), rapid.SampledFrom([]int{0, 30, 60, 3600}).Draw(t, "lease"))
	ev.Publisher = rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "publisher")
	ev.Partial = rapid.Bool().Draw(t, "partial")
	if rapid.Bool().Draw(t, "known") {
		ev.IfMatch = rapid.SampledFrom([]string{"t1", "t2", "t3"}).Draw(t, "match")
		ev.HasBody = rapid.Bool().Draw(t, "body")
	}
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0:
		ev.Package, ev.Basic = Presence, rapid.SampledFrom([]State{None, Online, Offline}).Draw(t, "basic")
	case 1:
		ev.Package, ev.Messages = MessageSummary, &Messages{New: uint32(rapid.IntRange(0, 2).Draw(t, "new"))}
	default:
		for range rapid.IntRange(0, 3).Draw(t, "dialogs") {
			d := dialog(rapid.SampledFrom([]string{"a", "b", "c", "1001", ""}).Draw(t, "id"), rapid.SampledFrom([]State{Trying, Early, Confirmed, Terminated}).Draw(t, "state"))
			d.CallID = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "call")
			d.Rendering = rapid.SampledFrom([]Rendering{RenderingUnknown, Rendered, NotRendered}).Draw(t, "rendering")
			ev.Dialogs = append(ev.Dialogs, d)
		}
	}
	return ev
}

// Any order and any repetition of the same new publications of calls ends the same, in memory and after a restart.
func TestPublicationsCommute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []Publish
		for i := range rapid.IntRange(1, 8).Draw(t, "publications") {
			ev := published(fmt.Sprintf("t%d", i), rapid.SampledFrom([]int{30, 60, 3600}).Draw(t, "lease"))
			ev.Publisher = rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "publisher")
			if rapid.IntRange(0, 3).Draw(t, "basic status") == 0 {
				ev.Package, ev.Basic = Presence, Online
				events = append(events, ev)
				continue
			}
			ev.Partial = rapid.Bool().Draw(t, "partial")
			for _, id := range rapid.SliceOfNDistinct(names, 0, 3, rapid.ID[string]).Draw(t, "ids") {
				d := dialog(id, rapid.SampledFrom([]State{Trying, Early, Confirmed, Terminated}).Draw(t, "state"))
				d.FromTag = rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "tag")
				d.Rendering = rapid.SampledFrom([]Rendering{RenderingUnknown, Rendered, NotRendered}).Draw(t, "rendering")
				ev.Dialogs = append(ev.Dialogs, d)
			}
			events = append(events, ev)
		}
		again := rapid.SliceOfN(rapid.SampledFrom(events), 0, 6).Draw(t, "repeated")
		one, two := newStage(t), newStage(t)
		for _, ev := range events {
			one.do(ev)
		}
		for _, ev := range rapid.Permutation(append(slices.Clone(events), again...)).Draw(t, "order") {
			two.do(ev)
		}
		for _, wait := range []time.Duration{0, 40 * time.Second, time.Hour} {
			one.pass(wait)
			two.pass(wait).reload()
			if a, b := dump(one.e), dump(two.e); a != b {
				t.Fatalf("after %v:\n%s\n%s", wait, a, b)
			}
		}
		if closed := slices.ContainsFunc(events, func(ev Publish) bool { return ev.Basic == Online }); one.e.View().Closed != closed {
			t.Fatalf("when all publications are over, closed is %v", !closed)
		}
		if n := len(one.e.View().Dialogs); n != 0 {
			t.Fatalf("%d dialogs outlived their publications", n)
		}
	})
}

// drawEvent is any event.
func drawEvent(t *rapid.T, now time.Time) Event {
	pkg := Package(rapid.IntRange(0, 2).Draw(t, "package"))
	stamp := time.Time{}
	if rapid.Bool().Draw(t, "stamped") {
		stamp = now.Add(time.Duration(rapid.IntRange(-200, 100).Draw(t, "age")) * time.Second)
	}
	switch rapid.IntRange(0, 14).Draw(t, "kind") {
	case 13, 14:
		return drawPublish(t)
	case 0, 1, 2:
		ev := watch(pkg, names.Draw(t, "watcher"))
		ev.CallID += names.Draw(t, "boot")
		ev.Expires = rapid.SampledFrom([]int{0, 30, 60, 1800}).Draw(t, "expires")
		ev.HasCSeq = rapid.Bool().Draw(t, "has cseq")
		ev.CSeq = uint32(rapid.IntRange(0, 3).Draw(t, "cseq"))
		ev.MaxRate = rapid.SampledFrom([]uint32{0, 0, 100, 1 << 31}).Draw(t, "max rate")
		ev.MinRate = rapid.SampledFrom([]uint32{0, 0, 100, 1 << 31}).Draw(t, "min rate")
		return ev
	case 3, 4, 5:
		ev := drawCall(t, now)
		ev.Timestamp = stamp
		return ev
	case 6, 7:
		ev := RegisterEvent{Name: names.Draw(t, "register"), State: State(rapid.IntRange(1, 6).Draw(t, "state")), Timestamp: stamp,
			Expires: rapid.SampledFrom([]int{0, 0, 10}).Draw(t, "expires")}
		if rapid.Bool().Draw(t, "held") {
			ev.Call = HeldCall{CallID: names.Draw(t, "parked"), FromTag: rapid.SampledFrom([]string{"", "ft"}).Draw(t, "tag"), ToURI: "sip:u@a",
				Rendering: rapid.SampledFrom([]Rendering{RenderingUnknown, Rendered, NotRendered}).Draw(t, "rendering")}
		}
		return ev
	case 8:
		ev := MailboxEvent{Source: names.Draw(t, "box"), Lamp: rapid.Bool().Draw(t, "lamp"), New: uint32(rapid.IntRange(0, 2).Draw(t, "new"))}
		if !ev.Lamp {
			ev.Extended = rapid.SampledFrom([]string{"", "x", "y", "z", "u", "v", "w"}).Draw(t, "extended")
		}
		return ev
	case 9:
		return SetManual{rapid.SampledFrom([]State{Early, Confirmed, Terminated}).Draw(t, "manual")}
	case 10:
		return Reset{rapid.SampledFrom([]State{None, Early, Confirmed, Terminated}).Draw(t, "then")}
	case 11:
		return rapid.SampledFrom([]Event{Renotify{}, Renotify{"edge-1"}, End{}, Tick{}}).Draw(t, "other")
	}
	return Notified{CallID: names.Draw(t, "notified"), Sequence: uint32(rapid.IntRange(0, 50).Draw(t, "sequence")),
		Reply: rapid.SampledFrom([]int{200, 481}).Draw(t, "reply"), Edge: rapid.SampledFrom([]string{"", "edge-1", "edge-2"}).Draw(t, "edge")}
}

// sameRecords says whether two lists of records are the same but for histories: what a restart finds of a history differs from what was in
// memory, such as in when a lease ended, and so does which record carries it. That one may live longer.
func sameRecords(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(x, y Record) bool {
		plain, plainY := without(x.Data, recHistory), without(y.Data, recHistory)
		if (len(plain) < len(x.Data)) != (len(plainY) < len(y.Data)) {
			x.Life, y.Life = 0, 0
		}
		return x.Kind == y.Kind && x.Key == y.Key && x.Life == y.Life && x.Tombstone == y.Tombstone && bytes.Equal(plain, plainY)
	})
}

// without is a record without one of its fields.
func without(record []byte, field uint64) (data []byte) {
	for rest := record; len(rest) > 0; {
		tag, _, _, after, err := cut(rest)
		if err != nil {
			panic(err)
		}
		if tag>>3 != field {
			data = append(data, rest[:len(rest)-len(after)]...)
		}
		rest = after
	}
	return data
}

// The records that were written make the same extension again, whatever happened; equal inputs give
// equal outputs; and in the end every watcher was told what there is.
func TestScripts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, twin := newStage(t), newStage(t)
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			ev := drawEvent(t, s.now)
			err := s.try(ev)
			if _, ok := ev.(Publish); err != nil && !(ok && errors.Is(err, ErrNoPublication)) {
				t.Fatalf("%+v was refused: %v", ev, err)
			}
			if twice := twin.try(ev); (twice == nil) != (err == nil) {
				t.Fatalf("%+v: %v and %v", ev, err, twice)
			}
			if !slices.Equal(s.said, twin.said) || !sameRecords(s.eff.Records, twin.eff.Records) {
				t.Fatalf("not the same:\n%v %v\n%v %v", s.said, s.eff.Records, twin.said, twin.eff.Records)
			}
			s.pass(0) // what is over at once, a restart would drop too
			twin.pass(0)
			memory := dump(s.e)
			e := s.e
			if s.reload(); dump(s.e) != memory {
				t.Fatalf("after %+v a restart made\n%s\nof\n%s", ev, dump(s.e), memory)
			}
			if rapid.IntRange(0, 3).Draw(t, "restart") > 0 {
				s.e = e
			} else {
				twin.reload()
			}
			d := time.Duration(rapid.SampledFrom([]int{0, 0, 1, 100, 250, 20_000, 90_000}).Draw(t, "wait")) * time.Millisecond
			s.pass(d)
			twin.pass(d)
		}
		s.pass(20 * time.Second)
		held := func(w *Subscription) bool { return w.held }
		for range 20 { // a lease may end at the last moment, and a watcher's rate hold that back
			if slices.ContainsFunc(s.e.Subscriptions(), held) {
				s.pass(11 * time.Second)
			}
		}
		for _, w := range s.e.Subscriptions() {
			if w.noticed != nil && !same(w.Package, w.told, s.e.View()) || w.held || w.leaving == 0 && !w.Behind().IsZero() {
				t.Fatalf("%v %s was not told", w.Package, w.CallID)
			}
		}
		seen := map[string]bool{}
		for _, d := range s.e.View().Dialogs {
			if seen[d.ID] {
				t.Fatalf("id %q twice", d.ID)
			}
			seen[d.ID] = true
		}
	})
}

// Fields of a newer release go through load, change and write untouched.
func TestUnknownFieldsStay(t *testing.T) {
	s := newStage(t)
	s.do(watch(Dialog, "a")).do(ring("c", Early)).do(RegisterEvent{Name: "n", State: Early}).do(SetManual{Early})
	s.do(MailboxEvent{Source: "b", New: 1})
	const news = "\xfa\x07\x03new" // field 127, bytes
	for _, all := range s.journal {
		k := &all[len(all)-1]
		k.Data = append(append([]byte("\x08\x07"), k.Data[2:]...), news...) // schema 7
	}
	s.reload()
	s.do(watch(Dialog, "a")).do(ring("c", Confirmed)).do(RegisterEvent{Name: "n", State: Confirmed}).do(SetManual{Confirmed})
	s.do(MailboxEvent{Source: "b", New: 2})
	for name, all := range s.journal {
		k := all[len(all)-1]
		if !strings.Contains(string(k.Data), news) || k.Data[1] != 7 {
			t.Errorf("%q lost something: %q", name, k.Data)
		}
	}
}
