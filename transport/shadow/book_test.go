package shadow

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
)

const (
	dark      = presence.Terminated
	early     = presence.Early
	confirmed = presence.Confirmed
)

// script plays both sides for a book, and has a clock.
type script struct {
	t     *testing.T
	b     *book
	now   time.Time
	live  bool // the running system tells every change, so no listing is needed
	ahead [2]time.Duration

	transitions map[string][]transition
	dialogs     []dialog
	silent      []silent
	fails       error
	found       []Difference
	over        []Difference
}

func (s *script) Found(d *Difference) { s.found = append(s.found, *d) }
func (s *script) Over(d *Difference)  { s.over = append(s.over, *d) }
func (s *script) Summary(*Summary)    {}

// begin makes a script whose sides were both listed once: the running system with these rows.
func begin(t *testing.T, rows ...row) *script {
	t.Helper()
	s := &script{t: t, now: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC), transitions: map[string][]transition{}}
	s.b = newBook("acme.example.com", 5*time.Second, s)
	s.b.begin(lamplight, s.now)
	s.b.allLit(true, s.now)
	s.list(rows...)
	s.wait(time.Second)
	return s
}

func (s *script) wait(d time.Duration) { s.now = s.now.Add(d) }

// ours is a change of Lamplight's lamp.
func (s *script) ours(user string, state presence.State, source string) {
	at := s.now.Add(s.ahead[lamplight])
	s.transitions[user] = append(s.transitions[user], transition{state.String(), source, at})
	s.b.change(lamplight, user, state, at, s.now)
	s.wait(10 * time.Millisecond)
}

// told is a NOTIFY of the running system.
func (s *script) told(user string, state presence.State, call string) {
	s.b.told(notify{user: user, eventPackage: "dialog", watcher: "2" + user[1:], state: state, call: call, code: 200, sent: s.now.Add(s.ahead[running]).Truncate(time.Second)}, s.now)
	s.wait(10 * time.Millisecond)
}

// sent is a document that the running system was sent.
func (s *script) sent(user string, state presence.State, call string) {
	s.b.document(user, call, "sip:10.0.0.1:5060", state, s.now)
	s.wait(10 * time.Millisecond)
}

// list gives the book a complete listing of the running system.
func (s *script) list(rows ...row) {
	s.b.begin(running, s.now)
	for _, r := range rows {
		s.b.watched(r, s.now)
	}
	s.b.allWatched(true, s.now)
}

// watches is the row of a watcher that was told a state now.
func (s *script) watches(user string, state presence.State) row { return told1(user, state, s.now) }

func told1(user string, state presence.State, at time.Time) row {
	return row{user: user, eventPackage: "dialog", watcher: "2" + user[1:], state: state, at: at.Truncate(time.Second), code: 200}
}

// due has Lamplight explain what is due, and returns how many that were.
func (s *script) due() int {
	users := s.b.due(s.live, s.now)
	for _, user := range users {
		x := &explanation{asked: s.now, err: s.fails, state: s.b.extensions[user].lamps[lamplight].state, transitions: append([]transition{}, s.transitions[user]...), dialogs: s.dialogs, silent: s.silent}
		s.b.explained(user, x, s.now)
	}
	return len(users)
}

// Each cause is named with its evidence, and without it the cause is unknown.
func TestCauses(t *testing.T) {
	for name, c := range map[string]struct {
		play           func(s *script)
		cause, because string
	}{
		"lost hang-up": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.wait(time.Minute)
			s.ours("1001", dark, "dialog_update")
		}, LostHangup, "told confirmed at 09:00:01.010Z and nothing since"},
		"lost hang-up of a document that was sent": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.sent("1001", dark, "k")
			s.ours("1001", dark, "dialog_update")
		}, LostHangup, "it was sent terminated of call k at"},
		"told of a call after the end": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.ours("1001", dark, "dialog_update")
			s.wait(time.Minute)
			s.told("1001", confirmed, "another")
		}, Unknown, "may be another call, of which Lamplight was not told"},
		"ended by its lease": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.wait(time.Minute)
			s.ours("1001", dark, "lease")
		}, Unknown, "did not hear of its end either"},
		"reset by hand": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.ours("1001", dark, "manual")
		}, SetByHand, "which no call has done"},
		"set by hand": {func(s *script) { s.ours("1001", confirmed, "manual") }, SetByHand, "which no call has done"},
		"early after terminated, told": {func(s *script) {
			for _, state := range []presence.State{early, confirmed, dark} {
				s.ours("1001", state, "dialog_update")
				s.told("1001", state, "k")
			}
			s.told("1001", early, "k")
		}, EarlyAfterEnd, "told terminated at 09:00:01.050Z and then early of the same call k"},
		"early after an end without a dialog": {func(s *script) {
			s.ours("1001", early, "dialog_update")
			s.told("1001", early, "k")
			s.ours("1001", dark, "dialog_update")
			s.told("1001", dark, "")
			s.told("1001", early, "k")
		}, EarlyAfterEnd, "told terminated"},
		"early after terminated, sent": {func(s *script) {
			s.ours("1001", early, "dialog_update")
			s.sent("1001", early, "k")
			s.sent("1001", dark, "k")
			s.ours("1001", dark, "dialog_update")
			s.sent("1001", early, "k")
			s.list(s.watches("1001", early))
		}, EarlyAfterEnd, "was sent terminated at"},
		"early of another call": {func(s *script) {
			for _, state := range []presence.State{early, dark} {
				s.ours("1001", state, "dialog_update")
				s.told("1001", state, "k")
			}
			s.wait(time.Minute)
			s.told("1001", early, "next")
		}, Unknown, "may be another call"},
		"early after confirmed": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.told("1001", early, "k")
		}, EarlyAfterAnswer, "told confirmed at"},
		"lost answer": {func(s *script) {
			s.ours("1001", early, "dialog_update")
			s.told("1001", early, "k")
			s.wait(time.Minute)
			s.ours("1001", confirmed, "dialog_update")
		}, LostAnswer, "and nothing since"},
		"dead switch": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.sent("1001", confirmed, "k")
			s.told("1001", confirmed, "k")
			s.ours("1001", dark, "switch gone")
		}, DeadSwitch, "took the switch sip:10.0.0.1:5060 for gone at"},
		"dead switch that only its source names": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.silent = []silent{{"sip:far", s.now.Add(-time.Hour)}, {"sip:near", s.now.Add(-time.Second)}}
			s.ours("1001", dark, "switch gone")
		}, DeadSwitch, "took the switch sip:near for gone at"},
		"another of several calls": {func(s *script) {
			s.dialogs = []dialog{{early, "call"}, {confirmed, "call"}}
			s.told("1001", confirmed, "k")
			s.ours("1001", early, "dialog_update")
		}, AnotherCall, "knows 2 dialogs"},
		"lost on the way to Lamplight": {func(s *script) {
			s.ours("1001", confirmed, "dialog_update")
			s.told("1001", confirmed, "k")
			s.wait(time.Minute)
			s.told("1001", dark, "k")
		}, LostBeforeLamplight, "and then terminated at 09:01"},
		"dark from the beginning": {func(s *script) { s.ours("1001", confirmed, "dialog_update") }, Unknown, "became confirmed at"},
		"lit from the beginning": {func(s *script) {
			s.told("1001", confirmed, "k")
		}, Unknown, "remembers no change of this lamp"},
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, row{user: "1001", eventPackage: "dialog", watcher: "2001", state: dark, code: 200})
			s.live = true
			c.play(s)
			s.due()
			if len(s.found) != 0 {
				t.Fatalf("before the grace time: %+v", s.found)
			}
			s.wait(6 * time.Second)
			s.due()
			if len(s.found) != 1 || s.found[0].Cause != c.cause || !strings.Contains(s.found[0].Because, c.because) {
				t.Errorf("found %+v; it should be %q because %q", s.found, c.cause, c.because)
			}
		})
	}
}

// While Lamplight does not answer, nothing is a difference. It is asked again.
func TestLamplightUnreachable(t *testing.T) {
	s := begin(t, told1("1001", dark, time.Time{}))
	s.live = true
	s.ours("1001", confirmed, "dialog_update")
	s.wait(6 * time.Second)
	s.fails = errors.New("no")
	if n := s.due(); n != 1 || len(s.found) != 0 || s.due() != 0 {
		t.Errorf("%d questions, %+v", n, s.found)
	}
	s.fails = nil
	s.wait(6 * time.Second)
	if n := s.due(); n != 1 || len(s.found) != 1 {
		t.Errorf("%d questions, %+v", n, s.found)
	}
}

// A call that begins while nobody watches is no difference. When a watcher comes and is told nothing of it, it is one, and its cause is known if
// a listing showed that nobody watched.
func TestEventWithoutWatchers(t *testing.T) {
	s := begin(t)
	s.ours("1001", confirmed, "dialog_update")
	s.wait(time.Minute)
	s.list()
	s.due()
	var sum Summary
	if s.b.sum(&sum, false); len(s.found) != 0 || sum.Extensions.Unwatched != 1 || sum.Extensions.Compared != 0 {
		t.Fatalf("%+v %+v", s.found, sum)
	}
	s.wait(time.Minute)
	s.list(s.watches("1001", dark))
	s.wait(10 * time.Second)
	s.list(s.watches("1001", dark))
	if s.due(); len(s.found) != 1 || s.found[0].Cause != WithoutWatchers {
		t.Fatalf("%+v", s.found)
	}
	// The call ends, and both are dark. With the watcher goes what is known of the extension.
	s.ours("1001", dark, "dialog_update")
	s.list()
	if len(s.over) != 1 || len(s.b.extensions) != 0 || len(s.b.unequal) != 0 || s.b.openNow != 0 {
		t.Errorf("%+v, and %d extensions are kept", s.over, len(s.b.extensions))
	}
	// Of a watcher that perhaps came before the call, it is not known.
	s = begin(t)
	s.ours("1001", confirmed, "dialog_update")
	s.wait(time.Second)
	s.list(s.watches("1001", dark))
	s.wait(10 * time.Second)
	s.list(s.watches("1001", dark))
	if s.due(); len(s.found) != 1 || s.found[0].Cause != Unknown {
		t.Errorf("%+v", s.found)
	}
	// Nor of one that was there before the first listing.
	s = begin(t, told1("1001", dark, time.Time{}))
	s.ours("1001", confirmed, "dialog_update")
	s.wait(10 * time.Second)
	s.list(s.watches("1001", dark))
	if s.due(); len(s.found) != 1 || s.found[0].Cause != Unknown {
		t.Errorf("%+v", s.found)
	}
}

// A subscription that both sides had is a difference when one has lost it. It is dropped after a failure if one was seen.
func TestSubscriptions(t *testing.T) {
	for _, c := range []struct {
		code  int
		cause string
	}{{500, Dropped}, {200, Unknown}} {
		s := begin(t, told1("1001", dark, time.Time{}), told1("1002", dark, time.Time{}))
		own := func(users ...string) {
			s.b.beginSubscriptions(s.now)
			for _, user := range users {
				s.b.ownSubscription(user, "dialog", "2"+user[1:], s.now)
			}
			s.b.allSubscriptions(true)
		}
		own("1001", "1003") // 1003 is only at Lamplight, 1002 only at the running system
		s.list(s.watches("1001", dark), s.watches("1002", dark))
		s.b.told(notify{user: "1001", eventPackage: "dialog", watcher: "2001", state: dark, code: c.code}, s.now)
		for range 3 {
			s.wait(4 * time.Second)
			own("1001", "1003")
			s.list(s.watches("1002", dark))
		}
		if len(s.found) != 1 || s.found[0].Cause != c.cause || s.found[0].Kind != "subscription" || s.found[0].Watcher != "2001" || s.found[0].Running.State != "none" {
			t.Errorf("%d: %+v", c.code, s.found)
		}
		var sum Summary
		if s.b.sum(&sum, false); sum.Subscriptions != (Counts{Compared: true, Lamplight: 2, Running: 1}) {
			t.Errorf("%+v", sum.Subscriptions)
		}
		s.list(s.watches("1001", dark), s.watches("1002", dark))
		if len(s.over) != 1 {
			t.Errorf("it is not over when the watcher has come again: %+v", s.over)
		}
		own()
		s.list()
		own()
		s.list()
		if s.b.subscriptions != 0 || len(s.b.extensions) != 0 {
			t.Errorf("%d subscriptions and %d extensions are kept", s.b.subscriptions, len(s.b.extensions))
		}
	}
}

// Without NOTIFYs, a difference is one only when a listing that was asked for after the grace time still shows it. A listing that is not complete
// says nothing of what it does not list.
func TestListingsAlone(t *testing.T) {
	s := begin(t, told1("1001", dark, time.Time{}))
	s.ours("1001", confirmed, "dialog_update")
	s.wait(20 * time.Second)
	if s.due() != 0 {
		t.Error("a difference without a listing")
	}
	s.list(s.watches("1001", confirmed)) // it was only not asked
	if len(s.b.unequal) != 0 || s.b.later[running].sum().Changes != 0 {
		t.Error("a listing does not say when the running system told")
	}
	s.ours("1001", dark, "dialog_update")
	s.wait(6 * time.Second)
	s.b.begin(running, s.now)
	s.b.allWatched(false, s.now)
	if s.due() != 0 || s.b.extensions["1001"].lamps[running].state != confirmed {
		t.Error("what an incomplete listing leaves out is taken for gone")
	}
	s.list(told1("1001", confirmed, s.now.Add(-10*time.Second)))
	if s.due() != 1 || s.found[0].Cause != LostHangup {
		t.Errorf("%+v", s.found)
	}
	// Of several watchers that were told different things, the newest counts; an older listing does not undo a NOTIFY.
	s.b.begin(running, s.now)
	s.wait(time.Millisecond)
	s.told("1001", dark, "k")
	s.b.watched(told1("1001", confirmed, s.now), s.now)
	s.b.allWatched(true, s.now)
	if len(s.over) != 1 || s.b.extensions["1001"].lamps[running].state != dark {
		t.Errorf("%+v", s.over)
	}
	// The answer of a slow watcher to an older NOTIFY does not undo a newer one.
	s.wait(10 * time.Second)
	s.b.told(notify{user: "1001", watcher: "2008", state: confirmed, code: 200, sent: s.now.Add(-15 * time.Second)}, s.now)
	if got := s.b.extensions["1001"].lamps[running].state; got != dark {
		t.Errorf("the running system says %v", got)
	}
	s.wait(time.Minute)
	other := told1("1001", early, s.now.Add(-time.Second))
	other.watcher = "2009"
	s.list(s.watches("1001", dark), other)
	if got := s.b.extensions["1001"].lamps[running].state; got != dark {
		t.Errorf("the running system says %v", got)
	}
}

// What differs for less than the grace time makes one side later.
func TestLater(t *testing.T) {
	s := begin(t, told1("1001", dark, time.Time{}))
	s.live = true
	for range 10 {
		for _, state := range []presence.State{early, confirmed, dark} {
			s.ours("1001", state, "dialog_update")
			s.wait(190 * time.Millisecond)
			s.told("1001", state, "k")
			s.due()
		}
	}
	s.told("1001", early, "next")
	s.wait(90 * time.Millisecond)
	s.ours("1001", early, "dialog_update")
	ours, theirs := s.b.later[lamplight].sum(), s.b.later[running].sum()
	if theirs.Changes != 30 || theirs.P50 < 195 || theirs.P99 > 205 || ours.Changes != 1 || ours.Most < 95 || ours.Most > 105 || len(s.found) != 0 {
		t.Errorf("Lamplight was later by %+v, the running system by %+v; found %+v", ours, theirs, s.found)
	}
}

// A side whose clock is wrong by an hour changes neither causes nor how much it is later.
func TestClocks(t *testing.T) {
	for _, ahead := range [][2]time.Duration{{time.Hour, 0}, {-time.Hour, 0}, {0, time.Hour}, {0, -time.Hour}} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			s := begin(t, told1("1001", dark, time.Time{}))
			s.live, s.ahead = true, ahead
			for _, state := range []presence.State{early, confirmed, dark, early, confirmed} {
				s.ours("1001", state, "dialog_update")
				s.told("1001", state, "k")
				s.wait(time.Second)
			}
			s.wait(time.Minute)
			s.ours("1001", dark, "dialog_update")
			at := s.now
			s.wait(6 * time.Second)
			s.due()
			if len(s.found) != 1 || s.found[0].Cause != LostHangup || s.found[0].Lamplight.Since.Sub(at).Abs() > time.Second {
				t.Errorf("%+v", s.found)
			}
			var sum Summary
			s.b.sum(&sum, true)
			for i, off := range []float64{sum.ClockBehind.Lamplight, sum.ClockBehind.Running} {
				if want := -ahead[i].Seconds(); off < want-1.5 || off > want+1.5 {
					t.Errorf("the clock of side %d is %v s behind, and not %v", i, off, want)
				}
			}
			if l := s.b.later[running].sum(); l.Changes != 5 || l.Most > 15 {
				t.Errorf("%+v", l)
			}
		})
	}
	// A stamp that is no time of these days is not believed.
	c := clock{}
	now := time.Now()
	c.sample(time.Unix(1<<40, 0), now)
	if c.known || !c.here(time.Unix(1<<40, 0), now).Equal(now) {
		t.Errorf("%+v", c)
	}
}

// What a hostile side tells is bounded.
func TestBounds(t *testing.T) {
	s := begin(t)
	s.live = true
	for i := range maxOpen + 10 {
		user := fmt.Sprint("u", i)
		s.b.change(running, user, confirmed, time.Time{}, s.now)
	}
	s.wait(time.Minute)
	for s.due() > 0 {
	}
	if s.b.openNow != maxOpen || s.b.unlisted != 10 || len(s.found) != maxOpen || s.b.explaining != 0 {
		t.Errorf("%d differences are open, %d are only counted, %d were found", s.b.openNow, s.b.unlisted, len(s.found))
	}
	for i := range maxOpen + 10 {
		s.b.change(running, fmt.Sprint("u", i), dark, time.Time{}, s.now)
	}
	if s.b.openNow != 0 || len(s.over) != maxOpen || len(s.b.unequal) != 0 {
		t.Errorf("%d are open", s.b.openNow)
	}
	long := strings.Repeat("é", 1000)
	for i := range 100 {
		s.b.told(notify{user: "u1", watcher: long, call: fmt.Sprint(i, long), state: confirmed, code: 200}, s.now)
	}
	e := s.b.extensions["u1"]
	if len(e.events) > maxEvents || len(e.events[0].call) > 2*maxName {
		t.Errorf("%d events, of %d bytes", len(e.events), len(e.events[0].call))
	}
	// Only chosen extensions are kept.
	s.b.only = map[string]bool{"1001": true}
	n := len(s.b.extensions)
	s.b.change(lamplight, "1002", confirmed, s.now, s.now)
	s.b.change(lamplight, "1001", confirmed, s.now, s.now)
	if len(s.b.extensions) != n+1 {
		t.Errorf("%d extensions more", len(s.b.extensions)-n)
	}
}
