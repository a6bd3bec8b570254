package ownership

import "time"

type phase uint8

const (
	none      phase = iota
	claiming        // a claim is on its way
	checking        // its outcome is being read at the leader
	replaying       //
	serving         //
	flushing        // nothing more is taken; what was is being kept and told
	releasing       // the last write is on its way
)

type shard struct {
	phase   phase
	claim   Claim     // the newest that the stream showed
	seq     uint64    // its sequence; 0: none known
	at      time.Time // the stream's time of it; zero: not known
	held    bool      // our claim was accepted and nothing newer seen
	reclaim bool      // the claim on its way follows one of our own whose memory we hold
	wanted  Claim     // the claim on its way
	expect  uint64
	retry   Time
	again   Time   // of one that is checked: when the claim is to be read again; 0: the answer is on its way
	shorter Time   // since when the leader shows an older claim than we know; 0: it does not
	least   Claim  // of the stream before it lost its end: what follows is above it
	highest uint32 // the highest counter under the claim
	ended   bool   // no subscription is left that saw a number (rule 8)

	target string // where the shard should be
	reason Time   // since when that is elsewhere; 0: it is not
	next   string // whom it is being given to
}

// Holder is who holds the shard as far as the stream showed; "" when no one does.
func (m *Machine) Holder(id int) string {
	s := m.shards[id]
	if s.seq == 0 || s.claim.Released {
		return ""
	}
	return s.claim.Node
}

// Mine says that this node holds the shard or is taking it over, and takes requests for it.
func (m *Machine) Mine(id int) bool {
	p := m.shards[id].phase
	return p != none && p != flushing && p != releasing
}

// Wanted says that the records are to be read for this claim.
func (m *Machine) Wanted(id int, c Claim) bool {
	s := m.shards[id]
	return s.phase == replaying && s.claim.Nonce == c.Nonce
}

// Claim is the newest claim of the shard that the stream showed; sequence 0: none.
func (m *Machine) Claim(id int) (c Claim, sequence uint64) {
	return m.shards[id].claim, m.shards[id].seq
}

// Number draws the next Sequence of an extension whose counter since the claim of this generation stands at counter
// (rule 8). Not ok: the shard may not notify now, or has not heard yet that it was claimed again; when the counter is
// full it claims again by itself.
func (m *Machine) Number(now Time, id int, generation uint64, counter uint32) (sequence, next uint32, ok bool, todo []Action) {
	s := m.shards[id]
	silent := s.phase != serving && s.phase != flushing || generation != s.claim.Generation
	if m.cfg.Off.Silence && s.reclaim && (s.phase == claiming || s.phase == checking) {
		silent = false
	}
	switch {
	case silent:
		return 0, counter, false, nil
	case counter >= Counters:
		return 0, counter, false, m.Spent(now, id)
	}
	next = counter + 1
	s.highest = max(s.highest, next)
	return s.claim.Base + next, next, true, nil
}

// ClaimSeen reports a claim that the stream showed, at the stream's time; zero: it is not known.
func (m *Machine) ClaimSeen(now Time, id int, c Claim, seq uint64, at time.Time) []Action {
	s := m.shards[id]
	switch {
	case s == nil:
	case seq > s.seq:
		m.newer(now, id, s, c, seq, at)
	case seq == s.seq && s.at.IsZero():
		s.at = at
	}
	return m.take()
}

// newer takes note of a claim; if it is another's, what we had is gone.
func (m *Machine) newer(now Time, id int, s *shard, c Claim, seq uint64, at time.Time) {
	mine := c.Node == m.cfg.Node && c.Nonce == s.wanted.Nonce
	s.claim, s.seq, s.at, s.shorter = c, seq, at, 0
	switch {
	case mine && (s.phase == claiming || s.phase == checking):
		m.landed(id, s)
	case s.phase != none: // another's, or our own release
		m.lose(id, s)
		m.leaveOn(now)
	}
	if s.phase == none && m.named(s) && m.may(now) {
		m.claim(id, s, now, false)
	}
}

// lose forgets a shard that is not ours any more.
func (m *Machine) lose(id int, s *shard) {
	if s.phase == flushing || s.phase == releasing {
		m.giving--
	}
	s.phase, s.held, s.ended, s.reason = none, false, false, 0
	m.do(Action{Kind: Drop, Shard: id})
}

// named says that the last holder named this node.
func (m *Machine) named(s *shard) bool { return s.claim.Released && s.claim.Next == m.cfg.Node }

// gone says whether the claim's holder can write no more (rules 2 and 3).
func (m *Machine) gone(s *shard) bool {
	if s.seq == 0 || s.claim.Released {
		return true
	}
	if s.claim.Node == m.cfg.Node {
		return s.claim.Incarnation != m.incarnation || !s.held
	}
	h := m.holders[s.claim.Node]
	return h != nil && (h.lease.Incarnation != s.claim.Incarnation || h.lease.Expelled || h.lease.Left)
}

// consider takes a shard that should be ours and is free, expels a holder that is gone, and begins to give up a
// shard that should be elsewhere.
func (m *Machine) consider(id int, s *shard, now Time) {
	switch {
	case s.phase == serving && s.target != m.cfg.Node && s.target != "" && !s.ending():
		if s.reason == 0 || s.next != s.target {
			s.reason, s.next = now, s.target
		}
		if now-s.reason >= Standing && m.giving < handOvers {
			m.flush(id, s)
		}
	case s.phase == releasing:
		m.releaseAgain(id, s, now)
	case s.phase != none:
		s.reason = 0
	case now < s.retry || s.target != m.cfg.Node && !m.named(s):
	case m.gone(s):
		m.claim(id, s, now, false)
	case m.cfg.Off.Expel:
		if h := m.holders[s.claim.Node]; h == nil || now-h.seen > Validity/2 {
			m.claim(id, s, now, false)
		}
	default:
		m.expel(s.claim, now)
	}
}

// claim writes a claim in the place of the one we know. own: the shard's memory is ours already (rules 5, 8).
func (m *Machine) claim(id int, s *shard, now Time, own bool) {
	c := Claim{Node: m.cfg.Node, Incarnation: m.incarnation, Nonce: m.cfg.Random() | 1, Generation: s.claim.Generation + 1, Epoch: m.cfg.Epoch}
	switch {
	case own:
		if c.Base = s.claim.Base + s.highest + 1; s.ended {
			c.Base = 0
		}
		c.Since, c.All = m.untold(s, m.holders[m.cfg.Node].at)
	case s.seq > 0:
		c.Base = s.claim.Base + TakeOver
		last := m.last(s)
		c.Since, c.All = m.untold(s, last)
		if since := last.Add(-Untold); c.Since.IsZero() || since.Before(c.Since) {
			c.Since = since
		}
		if c.All = c.All || m.holders[m.cfg.Node].at.Sub(last) > Outage; c.All {
			c.Since = time.Time{}
		}
	}
	if s.least.Generation > 0 {
		c.Generation, c.Base = max(c.Generation, s.least.Generation+1), max(c.Base, s.least.Base+TakeOver)
	}
	s.phase, s.reclaim, s.wanted, s.expect, s.held = claiming, own, c, s.seq, false
	m.do(Action{Kind: WriteClaim, Shard: id, Claim: c, Expect: s.expect})
}

// last is the stream's time of the last sign of life under a claim; zero: not known.
func (m *Machine) last(s *shard) time.Time {
	last := s.at
	if last.IsZero() && s.claim.Released {
		return m.holders[m.cfg.Node].at // whoever released it told so just now
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

// untold is the limit that a claim passes on as long as it is young: its holder may not have told all of it yet
// (rule 7).
func (m *Machine) untold(s *shard, last time.Time) (since time.Time, all bool) {
	if s.at.IsZero() || s.at.After(last.Add(-Untold)) {
		return s.claim.Since, s.claim.All
	}
	return time.Time{}, false
}

// Spent says that a write of the shard has an unknown outcome, or that its counters are used up: claim again.
func (m *Machine) Spent(now Time, id int) []Action {
	if s := m.shards[id]; s.phase == serving || s.phase == flushing {
		if s.phase == flushing {
			m.giving--
		}
		m.do(Action{Kind: Pause, Shard: id})
		m.claim(id, s, now, true)
	}
	return m.take()
}

// Lost says that the shard's fence was refused.
func (m *Machine) Lost(now Time, id int) []Action {
	if s := m.shards[id]; s.phase == serving || s.phase == flushing {
		m.lose(id, s)
		m.do(Action{Kind: ReadClaim, Shard: id})
		m.leaveOn(now)
	}
	return m.take()
}

// ClaimWritten reports a WriteClaim.
func (m *Machine) ClaimWritten(now Time, id int, c Claim, seq uint64, o Outcome) []Action {
	s := m.shards[id]
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
		s.phase, s.retry, s.again = checking, now+Repeat, now+Repeat
	default:
		s.phase, s.retry, s.again = checking, now+Repeat, 0
		m.do(Action{Kind: ReadClaim, Shard: id})
	}
	return m.take()
}

// checkAgain reads a claim again after a while.
func (m *Machine) checkAgain(id int, s *shard, now Time) {
	if s.phase == checking && s.again != 0 && now >= s.again {
		s.again = 0
		m.do(Action{Kind: ReadClaim, Shard: id})
	}
}

// ClaimRead reports a ReadClaim; seq 0: there is none. ok false: it could not be read.
func (m *Machine) ClaimRead(now Time, id int, c Claim, seq uint64, at time.Time, ok bool) []Action {
	s := m.shards[id]
	if !ok {
		if s.phase == checking {
			m.do(Action{Kind: ReadClaim, Shard: id})
		}
		return m.take()
	}
	if seq > s.seq {
		m.newer(now, id, s, c, seq, at) // our nonce: it landed; another's: stand back
	}
	switch less := seq < s.seq; {
	case isShorter(&s.shorter, less, now):
		m.do(Action{Kind: Anew})
	case s.phase != checking:
	case less: // its leader was deposed, or the stream lost its end
		s.again = now + Deposed/4
	default: // the old one still: the same condition decides again
		s.phase = claiming
		m.do(Action{Kind: WriteClaim, Shard: id, Claim: s.wanted, Expect: s.expect})
	}
	return m.take()
}

func (m *Machine) landed(id int, s *shard) {
	if s.wanted.Incarnation != m.incarnation {
		m.lose(id, s)
		return
	}
	s.held, s.highest, s.ended, s.least = true, 0, false, Claim{}
	if s.reclaim {
		s.phase = serving
		m.do(Action{Kind: Resume, Shard: id, Claim: s.claim, Expect: s.seq, End: s.ending()})
		return
	}
	s.phase = replaying
	m.do(Action{Kind: Replay, Shard: id, Claim: s.claim, Expect: s.seq})
}

// ending says that the numbers come to their end (rule 8).
func (s *shard) ending() bool { return s.claim.Base > LastBase }

// Covers says whether an answer of a replay may be used: it holds the very claim and reaches at least its sequence
// (rule 6). newer says that it shows that the shard is another's by now.
func (m *Machine) Covers(want Claim, expect uint64, got Claim, seq uint64) (ok, newer bool) {
	if m.cfg.Off.ReplayGuard {
		return true, false
	}
	return seq == expect && got.Nonce == want.Nonce, seq > expect
}

// Replayed says that the shard's records have been read under the claim.
func (m *Machine) Replayed(now Time, id int, c Claim) []Action {
	if s := m.shards[id]; m.Wanted(id, c) {
		s.phase = serving
		m.do(Action{Kind: Open, Shard: id, Claim: s.claim, Expect: s.seq, Since: s.claim.Since, All: s.claim.All, End: s.ending()})
	}
	return m.take()
}
