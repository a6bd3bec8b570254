package presence

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An extension is open while one of its phones is registered, and closed when the last registration has ended or lapsed.
func TestRegistrations(t *testing.T) {
	s := newStage(t)
	is := func(closed, registered bool) {
		t.Helper()
		for range 2 {
			if v := s.e.View(); v.Closed != closed || v.Registered != registered {
				t.Fatalf("closed %v, registered %v", v.Closed, v.Registered)
			}
			s.reload()
		}
	}
	is(false, false)
	s.do(Registration{Contact: "desk", Expires: 600}).do(Registration{Contact: "mobile", Expires: 60})
	is(false, true)
	s.pass(2 * time.Minute)
	is(false, true)
	s.do(Registration{Contact: "desk", Expires: 600, Timestamp: s.now})
	s.pass(9 * time.Minute)
	is(false, true)
	s.do(Registration{Contact: "desk", Timestamp: s.now})
	is(true, false)
	s.do(Registration{Contact: "desk", Expires: 600, Timestamp: s.now.Add(-time.Second)}) // late
	if is(true, false); s.eff.Ignored != IgnoredOvertaken {
		t.Errorf("late news is ignored as %d", s.eff.Ignored)
	}
	s.do(Registration{Contact: "desk", Expires: 60, Timestamp: s.now.Add(time.Second)})
	is(false, true)
	s.pass(2 * time.Minute)
	is(true, false)
	s.do(Reset{})
	is(false, false)
	s.refused(Registration{Expires: -1}, ErrInvalid)
}

// Any order and any repetition of the same news of registrations ends the same.
func TestRegistrationsCommute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		commutes(t, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
			return Registration{Contact: names.Draw(t, "contact"), Expires: rapid.SampledFrom([]int{0, 30, 90, 600}).Draw(t, "expires"),
				Timestamp: begin.Add(-time.Duration(rapid.IntRange(0, 50_000).Draw(t, "age")) * time.Millisecond)}
		}), 1, 8).Draw(t, "events"))
	})
}
