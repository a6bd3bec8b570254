package ownership

import (
	"testing"
	"time"
)

// shorter is a script whose stream lost its end: what was written last is gone, and its sequence numbers are given out
// again.
type shorter struct {
	*script
	lease, claim uint64 // the sequences of the lease and claim that are left; 0: there is none
	leaseHeld    Lease
	claimHeld    Claim
}

// do carries out the Machine's Actions, like script.do, on what is left of the stream.
func (s *shorter) do(actions []Action) {
	for _, a := range actions {
		if a.Range != 0 {
			continue // one range is enough
		}
		s.acted = append(s.acted, a)
		switch a.Kind {
		case ReadLease:
			s.do(s.m.LeaseRead(s.now, s.leaseHeld, s.lease, s.wall, true))
		case WriteLease:
			if a.Expect != s.lease {
				s.do(s.m.LeaseWritten(s.now, a.Sent, a.Lease, 0, Refused))
				continue
			}
			s.seq++
			s.lease, s.leaseHeld = s.seq, a.Lease
			s.do(s.m.LeaseWritten(s.now, a.Sent, a.Lease, s.seq, Accepted))
			s.do(s.m.LeaseSeen(s.now, a.Lease, s.seq, s.wall))
		case ReadClaim:
			s.do(s.m.ClaimRead(s.now, a.Range, s.claimHeld, s.claim, s.wall, true))
		case WriteClaim:
			if a.Expect != s.claim {
				s.do(s.m.ClaimWritten(s.now, a.Range, a.Claim, 0, Refused))
				continue
			}
			s.seq++
			s.claim, s.claimHeld = s.seq, a.Claim
			s.do(s.m.ClaimWritten(s.now, a.Range, a.Claim, s.seq, Accepted))
		case Replay:
			s.do(s.m.Replayed(s.now, a.Range, a.Claim))
		case BeginAnew:
			s.do(s.m.Recreated(s.now, 0))
			if s.claim > 0 {
				s.do(s.m.ClaimSeen(s.now, 0, s.claimHeld, s.claim, s.wall))
			}
			s.do(s.m.Synced(s.now))
		}
	}
}

func (s *shorter) pass(d time.Duration) {
	for end := s.now + d; s.now < end; {
		s.now += 20 * time.Millisecond
		s.wall = s.wall.Add(20 * time.Millisecond)
		s.do(s.m.Tick(s.now))
	}
}

// A stream that lost its end (its server lost power, or an operator purged it) counts as another one after a while. The
// range is then open again, with numbers above those that were given out before (rules 8 and 10).
func TestRule10StreamLostItsEnd(t *testing.T) {
	for name, left := range map[string]func(*script) shorter{
		"the last heartbeats and the claim": func(s *script) shorter {
			return shorter{script: s, lease: 1, leaseHeld: Lease{Node: "a", Incarnation: s.m.Incarnation()}}
		},
		"the claim made again": func(s *script) shorter {
			first := s.last(Open, 0)
			s.do(s.m.Spent(s.now, 0))
			return shorter{script: s, lease: s.m.lease, leaseHeld: Lease{Node: "a", Incarnation: s.m.Incarnation()}, claim: first.Expect, claimHeld: first.Claim}
		},
		"all": func(s *script) shorter { return shorter{script: s} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.pass(time.Second)
			number, _, _, _ := s.number(100)
			w := left(s)
			if n, _, ok, _ := s.number(50); ok {
				number = max(number, n)
			}
			generation := s.m.ranges[0].claim.Generation
			w.seq = 2
			w.do(s.m.Lost(s.now, 0)) // a write meets no claim that is ours
			w.pass(5 * time.Second)
			if w.count(BeginAnew, 0) > 0 {
				t.Fatal("another stream after a moment: it may be a leader that was deposed")
			}
			asked := len(s.acted)
			w.pass(time.Second)
			if n := len(s.acted) - asked; n > 100 {
				t.Errorf("%d actions within a second", n)
			}
			w.pass(10 * time.Second)
			if s.m.ranges[0].phase != open || s.now >= s.m.AnswerUntil() {
				t.Fatalf("the range is in phase %d, the lease good until %v, now is %v", s.m.ranges[0].phase, s.m.AnswerUntil(), s.now)
			}
			n, _, ok, _ := s.number(0)
			if c := s.m.ranges[0].claim; !ok || n <= number || c.Generation <= generation {
				t.Errorf("Sequence %d after %d, %v; generation %d after %d", n, number, ok, c.Generation, generation)
			}
		})
	}
}
