package ownership

import "time"

// phase is how far this node is with a range.
type phase uint8

const (
	none      phase = iota // the range is not ours
	claiming               // a claim is on its way
	checking               // the outcome of a claim is unknown or the claim was refused: the leader is asked what stands
	replaying              // the claim is ours; the caller reads the records
	open                   // the range is ours, and takes requests and writes
	flushing               // the range takes no more requests; what it took is being made durable and told
	releasing              // the claim that gives the range up is on its way
)

// rangeState is what the Machine knows of one range.
type rangeState struct {
	phase           phase
	claim           Claim     // the newest that the stream showed
	seq             uint64    // its sequence in the stream; 0: no claim is known
	at              time.Time // the stream's time of it; zero: not known
	held            bool      // our claim was accepted, and nothing newer was seen
	reclaim         bool      // the claim on its way follows one of our own, and the range is still in memory
	wanted          Claim     // the claim on its way
	expect          uint64    // the sequence that wanted replaces
	retry           Time      // the range is not claimed, and its release not repeated, before this
	readAt          Time      // while checking: when the claim is to be read again; 0: an answer is on its way
	shorterSince    Time      // since when the leader shows an older claim than we know; 0: it does not
	unreadableSince Time      // when the claim was seen, if it can't be read
	missed          uint64    // the claims that may have come between the last one that could be read and that one
	floor           Claim     // of the stream before it lost its end: generation and base must go on above it
	highest         uint32    // the highest counter of an extension under the claim
	ended           bool      // all subscriptions were ended, so no phone knows a number any more (rule 8)

	target      string // the node that should hold the range
	targetSince Time   // since when that is another node; 0: it is this one
	next        string // the node that the range is handed over to
}

// Holder returns the node that holds a range, by the newest claim that the stream has shown; "": no node holds it.
func (m *Machine) Holder(id int) string {
	s := m.ranges[id]
	if s.seq == 0 || s.claim.Released || s.claim.Unreadable {
		return ""
	}
	return s.claim.Node
}

// Mine says whether this node holds the range or is taking it over, and takes requests for it.
func (m *Machine) Mine(id int) bool {
	p := m.ranges[id].phase
	return p != none && p != flushing && p != releasing
}

// Wanted says whether the records are still to be read for this claim.
func (m *Machine) Wanted(id int, c Claim) bool {
	s := m.ranges[id]
	return s.phase == replaying && s.claim.Nonce == c.Nonce
}

// Claim returns the newest claim of the range that the stream showed; sequence 0: there is none.
func (m *Machine) Claim(id int) (c Claim, sequence uint64) {
	return m.ranges[id].claim, m.ranges[id].seq
}

// Number draws the next Sequence of an extension (rule 8). generation is that of the claim that the range knows, and
// counter the extension's counter under that claim. next is the counter to pass the next time. ok is false while the
// range may not notify, and when its claim was replaced and it has not heard of that yet. When the counter is full, ok is
// false and the Machine claims the range again.
func (m *Machine) Number(now Time, id int, generation uint64, counter uint32) (sequence, next uint32, ok bool, todo []Action) {
	s := m.ranges[id]
	paused := s.phase != open && s.phase != flushing || generation != s.claim.Generation
	if m.cfg.Off.NotifyPause && s.reclaim && (s.phase == claiming || s.phase == checking) {
		paused = false
	}
	switch {
	case paused:
		return 0, counter, false, nil
	case counter >= Counters:
		return 0, counter, false, m.Spent(now, id)
	}
	next = counter + 1
	s.highest = max(s.highest, next)
	return s.claim.Base + next, next, true, nil
}

// ClaimSeen reports a claim that the stream showed. at is the stream's time of it; zero: it is not known. Claims of ranges
// that do not live in the stream are passed over.
func (m *Machine) ClaimSeen(now Time, id int, c Claim, seq uint64, at time.Time) []Action {
	s := m.ranges[id]
	switch {
	case s == nil:
	case seq > s.seq:
		m.newer(now, id, s, c, seq, at)
	case seq == s.seq && s.at.IsZero():
		s.at = at
	}
	return m.take()
}

// newer takes note of a newer claim. If it is the one that we wanted, it landed; any other ends what we had.
func (m *Machine) newer(now Time, id int, s *rangeState, c Claim, seq uint64, at time.Time) {
	mine := c.Node == m.cfg.Node && c.Nonce == s.wanted.Nonce
	if c.Unreadable {
		c, s.unreadableSince = m.unreadable(s, seq, at), now
		m.nextBeat = min(m.nextBeat, now) // it may prove that the range is still ours
	}
	s.claim, s.seq, s.at, s.shorterSince = c, seq, at, 0
	switch {
	case mine && (s.phase == claiming || s.phase == checking):
		m.landed(id, s)
	case s.phase != none: // the claim of another node, or our own release
		m.drop(id, s)
		m.leaveFurther(now)
	}
	if s.phase == none && m.namedNext(s) && m.mayMove(now) {
		m.claim(id, s, now, false)
	}
}

// drop gives a range up that is not ours any more.
func (m *Machine) drop(id int, s *rangeState) {
	if s.phase == flushing || s.phase == releasing {
		m.handingOver--
	}
	s.phase, s.held, s.ended, s.targetSince = none, false, false, 0
	m.do(Action{Kind: Drop, Range: id})
}

// namedNext says whether the last holder released the range and named this node as the next owner.
func (m *Machine) namedNext(s *rangeState) bool {
	return s.claim.Released && s.claim.Next == m.cfg.Node
}

// holderGone says whether the claim's holder can write no more, so that the range may be claimed (rules 2 and 3).
func (m *Machine) holderGone(s *rangeState) bool {
	if s.seq == 0 || s.claim.Released {
		return true
	}
	if s.claim.Node == m.cfg.Node {
		return s.claim.Incarnation != m.incarnation || !s.held
	}
	h := m.holders[s.claim.Node]
	return h != nil && !h.lease.Unreadable && (h.lease.Incarnation != s.claim.Incarnation || h.lease.Expelled || h.lease.Left)
}

// consider claims a range that should be ours and that nobody holds, expels a holder that does not live any more, and
// begins to hand over a range that should be another's.
func (m *Machine) consider(id int, s *rangeState, now Time) {
	switch {
	case s.phase == open && s.target != m.cfg.Node && s.target != "" && !s.lastNumbers():
		if s.targetSince == 0 || s.next != s.target {
			s.targetSince, s.next = now, s.target
		}
		if now-s.targetSince >= HandOverDelay && m.handingOver < handOvers {
			m.flush(id, s)
		}
	case s.phase == releasing:
		m.releaseAgain(id, s, now)
	case s.phase != none:
		s.targetSince = 0
	case now < s.retry || s.target != m.cfg.Node && !m.namedNext(s) && !(s.claim.Unreadable && m.ours(s)):
	case s.claim.Unreadable && m.wasOurs(s) && !m.ours(s): // wait for the heartbeat
	case m.holderGone(s) && !m.mayBeHeld(s, now) || s.claim.Unreadable && now >= s.unreadableSince+UnreadableWait:
		m.claim(id, s, now, false)
	case m.holderGone(s): // wait for one that holds it without our knowing
	case m.cfg.Off.Expel:
		if h := m.holders[s.claim.Node]; h == nil || now-h.seen > Validity/2 {
			m.claim(id, s, now, false)
		}
	default:
		m.expel(s.claim, now)
	}
}

// claim writes a claim in the place of the newest one that we know. own says that the range is ours and in memory, and
// only its claim is renewed (rules 5 and 8); otherwise the range is taken over.
func (m *Machine) claim(id int, s *rangeState, now Time, own bool) {
	c := Claim{Node: m.cfg.Node, Incarnation: m.incarnation, Nonce: m.cfg.Random() | 1, Generation: s.claim.Generation + 1, Epoch: m.cfg.Epoch}
	switch {
	case own:
		if c.Base = s.claim.Base + s.highest + 1; s.ended {
			c.Base = 0
		}
		c.Since, c.All = m.passedOn(s, m.holders[m.cfg.Node].at)
	case s.seq > 0:
		c.Base = s.claim.Base + TakeOver
		last := m.lastSign(s)
		c.Since, c.All = m.passedOn(s, last)
		if since := last.Add(-UntoldWindow); c.Since.IsZero() || since.Before(c.Since) {
			c.Since = since
		}
		if c.All = c.All || s.claim.Unreadable || m.holders[m.cfg.Node].at.Sub(last) > LongOutage; c.All {
			c.Since = time.Time{}
		}
	}
	m.aboveMissed(s, &c)
	if s.floor.Generation > 0 {
		c.Generation, c.Base = max(c.Generation, s.floor.Generation+1), max(c.Base, s.floor.Base+TakeOver)
	}
	c.Base = min(c.Base, MaxBase)
	s.phase, s.reclaim, s.wanted, s.expect, s.held = claiming, own, c, s.seq, false
	m.do(Action{Kind: WriteClaim, Range: id, Claim: c, Expect: s.expect})
}

// lastSign returns the stream's time of the last sign of life of the claim's holder under that claim; zero: not known.
func (m *Machine) lastSign(s *rangeState) time.Time {
	last := s.at
	if last.IsZero() && s.claim.Released {
		return m.holders[m.cfg.Node].at // we were told of the release by a message, which was sent just now
	}
	if h := m.holders[s.claim.Node]; h != nil && !s.claim.Released {
		switch {
		case h.lease.Incarnation == s.claim.Incarnation && h.at.After(last):
			last = h.at
		case h.lease.Before == s.claim.Incarnation && h.lease.Beat.After(last):
			last = h.lease.Beat
		}
	}
	return last
}

// passedOn returns the Since and All that the next claim takes over from this one. A claim that was younger than
// UntoldWindow at the time last passes them on, because its holder may not have told everything again yet (rule 7).
func (m *Machine) passedOn(s *rangeState, last time.Time) (since time.Time, all bool) {
	if s.at.IsZero() || s.at.After(last.Add(-UntoldWindow)) {
		return s.claim.Since, s.claim.All
	}
	return time.Time{}, false
}

// Spent reports that a write of the range has an unknown outcome (rule 5). The range is claimed again. Number does the
// same when a counter is full, and Flushed when all subscriptions have ended (rule 8).
func (m *Machine) Spent(now Time, id int) []Action {
	if s := m.ranges[id]; s.phase == open || s.phase == flushing {
		if s.phase == flushing {
			m.handingOver--
		}
		m.do(Action{Kind: Pause, Range: id})
		m.claim(id, s, now, true)
	}
	return m.take()
}

// Lost reports that a write of the range was refused because the claim is another's (rule 4).
func (m *Machine) Lost(now Time, id int) []Action {
	if s := m.ranges[id]; s.phase == open || s.phase == flushing {
		m.drop(id, s)
		m.do(Action{Kind: ReadClaim, Range: id})
		m.leaveFurther(now)
	}
	return m.take()
}

// ClaimWritten reports the outcome of a WriteClaim.
func (m *Machine) ClaimWritten(now Time, id int, c Claim, seq uint64, o Outcome) []Action {
	s := m.ranges[id]
	switch {
	case s.wanted.Nonce != c.Nonce || s.phase != claiming && s.phase != releasing:
	case s.phase == releasing:
		m.released(now, id, s, c, seq, o)
	case o == Accepted:
		if seq > s.seq {
			s.claim, s.seq, s.at = c, seq, time.Time{}
			m.landed(id, s)
		}
	case o == Busy:
		s.phase, s.retry, s.readAt = checking, now+Retry, now+Retry
	default:
		s.phase, s.retry, s.readAt = checking, now+Retry, 0
		m.do(Action{Kind: ReadClaim, Range: id})
	}
	return m.take()
}

// readClaimAgain reads the claim of a range in the phase checking, when it is due.
func (m *Machine) readClaimAgain(id int, s *rangeState, now Time) {
	if s.phase == checking && s.readAt != 0 && now >= s.readAt {
		s.readAt = 0
		m.do(Action{Kind: ReadClaim, Range: id})
	}
}

// ClaimRead reports the outcome of a ReadClaim. at is the stream's time of the claim; seq 0 means that there is none; ok
// is false when it could not be read.
func (m *Machine) ClaimRead(now Time, id int, c Claim, seq uint64, at time.Time, ok bool) []Action {
	s := m.ranges[id]
	if !ok {
		if s.phase == checking {
			m.do(Action{Kind: ReadClaim, Range: id})
		}
		return m.take()
	}
	if seq > s.seq {
		m.newer(now, id, s, c, seq, at) // with our nonce, our claim landed; with another's, we stand back (rule 3)
	}
	switch less := seq < s.seq; {
	case lostEnd(&s.shorterSince, less, now):
		m.do(Action{Kind: BeginAnew})
	case s.phase != checking:
	case less: // either the leader was deposed, or the stream lost its end
		s.readAt = now + DeposedTime/4
	default: // the claim that ours is to replace still stands: write again, on the same condition (rule 3)
		s.phase = claiming
		m.do(Action{Kind: WriteClaim, Range: id, Claim: s.wanted, Expect: s.expect})
	}
	return m.take()
}

// landed goes on when our claim was accepted: a range that is in memory resumes, any other is read first.
func (m *Machine) landed(id int, s *rangeState) {
	if s.wanted.Incarnation != m.incarnation {
		m.drop(id, s)
		return
	}
	s.held, s.highest, s.ended, s.floor = true, 0, false, Claim{}
	if s.reclaim {
		s.phase = open
		m.do(Action{Kind: Resume, Range: id, Claim: s.claim, Expect: s.seq, End: s.lastNumbers()})
		return
	}
	s.phase = replaying
	m.do(Action{Kind: Replay, Range: id, Claim: s.claim, Expect: s.seq})
}

// lastNumbers says whether the range's numbers come to their end: its base is past LastBase (rule 8).
func (s *rangeState) lastNumbers() bool { return s.claim.Base > LastBase }

// Covers says whether an answer to a Replay counts (rule 6): ok, if it holds the very claim that is wanted, at the
// sequence that is expected. newer says that the answer holds a newer claim, so that the range is another's by now.
func (m *Machine) Covers(want Claim, expect uint64, got Claim, seq uint64) (ok, newer bool) {
	if m.cfg.Off.ReplayGuard {
		return true, false
	}
	return seq == expect && got.Nonce == want.Nonce, seq > expect
}

// Replayed reports that the range's records have been read under the claim.
func (m *Machine) Replayed(now Time, id int, c Claim) []Action {
	if s := m.ranges[id]; m.Wanted(id, c) {
		s.phase = open
		m.do(Action{Kind: Open, Range: id, Claim: s.claim, Expect: s.seq, Since: s.claim.Since, All: s.claim.All, End: s.lastNumbers()})
	}
	return m.take()
}
