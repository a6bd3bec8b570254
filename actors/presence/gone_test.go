package presence

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The records of a shard read as what was written, and damaged ones are refused without a panic.
func TestShardRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 20, 100)
		at := func(what string) time.Time {
			return begin.Add(time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, what)) * time.Microsecond)
		}
		g := Gone{Switch: text.Draw(t, "switch"), Before: at("before"), Until: at("until")}
		if got, err := ReadGone(g.Record(begin).Data); err != nil || got != g {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, g)
		}
		s := Source{Name: text.Draw(t, "name"), Switch: text.Draw(t, "its switch"), Incarnation: text.Draw(t, "incarnation"), Expires: rapid.IntRange(0, 3600).Draw(t, "expires"),
			Until: at("lease"), Heard: at("heard"), Silent: rapid.Bool().Draw(t, "silent")}
		if rapid.Bool().Draw(t, "owes") {
			s.Owed = SwitchGone{Switch: text.Draw(t, "owed"), Before: at("owed before")}
		}
		if got, gone, err := ReadSource(s.Record().Data); err != nil || gone || got != s {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, s)
		}
		if _, gone, err := ReadSource(s.Buried(begin).Data); err != nil || !gone {
			t.Fatalf("a forgotten source: %v %v", gone, err)
		}
		data := s.Record().Data
		data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		_, _, _ = ReadSource(data)
		_, _ = ReadGone(data)
	})
}

var again = Origin{By: "the source fs1, which was started again"}

// News of a source that comes late changes nothing.
func TestSourceHearsInOrder(t *testing.T) {
	s := Source{}
	up := func(incarnation string, after time.Duration, expires int) bool {
		forget, err := s.Hear(&SourceUp{Source: "fs1", Switch: "sip:one", Incarnation: incarnation, Expires: expires, Timestamp: begin.Add(after)}, begin.Add(time.Minute))
		if err != nil {
			t.Error(err)
		}
		return forget
	}
	up("i1", 0, 30)
	up("i2", 10*time.Second, 30)
	want := s
	if want.Owed != (SwitchGone{Switch: "sip:one", Before: begin.Add(10 * time.Second), Origin: again}) {
		t.Errorf("owed: %+v", want.Owed)
	}
	up("i1", 5*time.Second, 30)
	if s != want {
		t.Errorf("late news made %+v of %+v", s, want)
	}
	if up("i2", 20*time.Second, 0) {
		t.Error("it is forgotten although something is owed")
	}
	if s.Lapse(begin.Add(time.Hour)); s.Owed != want.Owed {
		t.Errorf("a source that has stopped owes %+v", s.Owed)
	}
}

// A source whose clock is put back by an hour is not taken for gone while it speaks, and takes nothing back that it said before. Late copies within
// a minute are no sign of life.
func TestSourceWhoseClockIsPutBack(t *testing.T) {
	s := Source{}
	now := begin
	up := func(incarnation string, at time.Time, expires int) {
		if _, err := s.Hear(&SourceUp{Source: "fs1", Switch: "sip:one", Incarnation: incarnation, Expires: expires, Timestamp: at}, now); err != nil {
			t.Error(err)
		}
	}
	up("i1", now, 30)
	for range 10 {
		now = now.Add(20 * time.Second)
		up("i1", now.Add(-time.Hour), 30)
		if s.Lapse(now) || !s.Until.Equal(now.Add(30*time.Second)) || !s.Heard.Equal(begin) {
			t.Fatalf("%v after its clock was put back: %+v", now.Sub(begin), s)
		}
	}
	before := s
	now = now.Add(10 * time.Second)
	up("i0", now.Add(-time.Hour), 30)
	up("i1", now.Add(-time.Hour), 0)
	up("i1", begin.Add(-50*time.Second), 30) // a late copy
	if s != before {
		t.Errorf("news of before made %+v of %+v", s, before)
	}
	now = now.Add(30 * time.Second)
	if !s.Lapse(now) || s.Owed.Before != before.Until {
		t.Errorf("it falls silent: %+v", s)
	}
	if up("i1", now.Add(-time.Hour), 30); s.Silent {
		t.Errorf("it speaks again: %+v", s)
	}
}

// A source that tells of another switch owes the end of the calls of the one before. Until that is done it takes no third switch, no other
// incarnation and no silence, which would make it forget what it owes.
func TestSourceOwesOneSwitch(t *testing.T) {
	s := Source{}
	up := func(name, incarnation string, after time.Duration) error {
		_, err := s.Hear(&SourceUp{Source: "fs1", Switch: name, Incarnation: incarnation, Expires: 30, Timestamp: begin.Add(after)}, begin.Add(after))
		return err
	}
	if err := errors.Join(up("sip:old", "i", 0), up("sip:new", "i", time.Second)); err != nil {
		t.Fatal(err)
	}
	want := s
	if want.Owed != (SwitchGone{Switch: "sip:old", Before: begin.Add(time.Second), Origin: again}) {
		t.Errorf("a source that tells of another switch owes %+v", want.Owed)
	}
	if err := up("sip:third", "i", 2*time.Second); !errors.Is(err, ErrOwed) || s != want {
		t.Errorf("a third switch: %v, %+v", err, s)
	}
	if err := up("sip:new", "j", 3*time.Second); !errors.Is(err, ErrOwed) || s != want {
		t.Errorf("another incarnation: %v, %+v", err, s)
	}
	if s.Lapse(begin.Add(time.Hour)) || s != want {
		t.Errorf("silence: %+v", s)
	}
	s.Owed = SwitchGone{}
	if err := up("sip:new", "j", 3*time.Second); err != nil || s.Owed.Switch != "sip:new" {
		t.Errorf("when that is done: %v, %+v", err, s)
	}
}
