package presence

import (
	"testing"
	"time"
)

// A record is kept for a minute longer than the owner remembers what it holds, whatever the record before it said. What has no end
// is kept until another record replaces it.
func TestLives(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	sub, lamp := watch(Dialog, "a"), MailboxEvent{Source: "b@acme.example.com", Lamp: true, New: 1}
	end, out := sub, lamp
	end.Expires, out.New = 0, 0
	timed, over := lamp, out
	timed.Timestamp, over.Timestamp = begin, begin.Add(time.Second)
	leased := ring("c", Confirmed)
	leased.Expires = 7200
	register, closed := RegisterEvent{Name: "n", State: Confirmed}, RegisterEvent{Name: "n", State: Terminated}
	brief := register
	brief.Expires = 7200
	refresh, remove := published("t2", 60), published("t2", 0)
	refresh.IfMatch, refresh.HasBody, remove.IfMatch, remove.HasBody = "t1", false, "t1", false
	for name, c := range map[string]struct {
		before []Event
		event  Event
		record string // the kind and the beginning of the key
		life   time.Duration
		buried bool
	}{
		"a subscription":               {nil, sub, "s0", 1800*time.Second + 20*time.Second + time.Minute, false},
		"its tombstone":                {[]Event{sub}, end, "s0", 2 * time.Minute, true},
		"a call":                       {nil, leased, "dc0", 2*hour + 2*time.Minute, false},
		"a call with the usual lease":  {nil, ring("c", Early), "dc0", day + 2*time.Minute, false},
		"its tombstone ":               {[]Event{leased}, ring("c", Terminated), "dc0", 2 * time.Minute, true},
		"the tombstone of any call":    {nil, ring("c", Terminated), "dc0", 2 * time.Minute, true},
		"a call that a reset ended":    {[]Event{leased}, Reset{}, "dc0", 2 * time.Minute, true},
		"a call of a switch gone":      {[]Event{on("sip:one", "c", Confirmed, begin)}, SwitchGone{Switch: "sip:one", Before: begin.Add(time.Minute)}, "dc0", 3 * time.Minute, false},
		"a register":                   {nil, register, "rl", 0, false},
		"a register with a lease":      {nil, brief, "rl", 2*hour + 2*time.Minute, false},
		"a register that lost a lease": {[]Event{brief}, register, "rl", 0, false},
		"its tombstone  ":              {[]Event{register}, closed, "rl", 2 * time.Minute, true},
		"a manual state":               {nil, SetManual{Early}, "mm", 0, false},
		"its removal":                  {[]Event{SetManual{Early}}, SetManual{Terminated}, "mm", 2 * time.Minute, true},
		"counts of a mailbox":          {nil, MailboxEvent{Source: "1001@acme.example.com", New: 1}, "bc", 0, false},
		"a lamp of a mailbox":          {nil, lamp, "bl", 0, false},
		"the lamp is put out":          {[]Event{lamp}, out, "bl", 2 * time.Minute, true},
		"the lamp is put out at":       {[]Event{timed}, over, "bl", 2 * time.Minute, true},
		"a lamp that was never lit":    {nil, over, "bl", 2 * time.Minute, true},
		"a lamp that is lit again":     {[]Event{timed, over}, lamp, "bl", 0, false},
		"a publication":                {nil, published("t1", 3600, dialog("d", Early)), "p0", hour + time.Minute, false},
		"what it reports":              {nil, published("t1", 3600, dialog("d", Early)), "di", hour + 2*time.Minute, false},
		"a shorter refresh":            {[]Event{published("t1", 3600, dialog("d", Early))}, refresh, "p0", 2 * time.Minute, false},
		"what that reports":            {[]Event{published("t1", 3600, dialog("d", Early))}, refresh, "di", 3 * time.Minute, false},
		"a publication's end":          {[]Event{published("t1", 3600, dialog("d", Early))}, remove, "p0", 2 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.e.rules.Transitions = 0 // a record with a history lives longer
			for _, ev := range c.before {
				s.do(ev)
			}
			s.do(c.event)
			for _, r := range s.eff.Records {
				if name := string(r.Kind) + r.Key; len(name) >= len(c.record) && name[:len(c.record)] == c.record {
					if r.Life != c.life || r.Tombstone != c.buried {
						t.Errorf("the life of %s is %v, a tombstone: %v; want %v, %v", name, r.Life, r.Tombstone, c.life, c.buried)
					}
					return
				}
			}
			t.Errorf("no record %s among %+v", c.record, s.eff.Records)
		})
	}
}

// The record that carries the history of a lamp that has gone out is kept for an hour, for the next owner.
func TestHistoryLives(t *testing.T) {
	s := newStage(t)
	s.do(ring("c", Early)).do(ring("c", Terminated))
	if r := s.eff.Records; len(r) != 1 || !r[0].Tombstone || r[0].Life != historyLife {
		t.Errorf("%+v", r)
	}
}

// The record of a call is written when there is news of the call. It is not written again when the call has lasted for long.
func TestLongCallsAreNotWrittenAgain(t *testing.T) {
	s := newStage(t)
	s.do(ring("c", Confirmed)).pass(23 * time.Hour).lamp(Confirmed).reload().lamp(Confirmed)
	if n := len(s.journal["dc0c"]); n != 1 {
		t.Errorf("%d records in 23 hours", n)
	}
	s.do(ring("c", Terminated)).pass(3 * time.Minute).reload().lamp(Terminated)
}
