package ownership

import "time"

// flush begins to hand a range over to s.next. What the range took is still made durable and told.
func (m *Machine) flush(id int, s *rangeState) {
	s.phase, s.targetSince = flushing, 0
	m.handingOver++
	m.do(Action{Kind: Flush, Range: id, Node: s.next})
}

// Flushed reports that everything that the range took is durable and told. After a Flush the range is then released, and
// its claim names the next owner (rule 11). After an Open or Resume with End it says that all subscriptions are ended;
// the range is then claimed again with base 0 (rule 8).
func (m *Machine) Flushed(now Time, id int) []Action {
	switch s := m.ranges[id]; {
	case s.phase == flushing:
		s.phase = releasing
		m.release(id, s, now)
	case s.phase == open && s.lastNumbers():
		s.ended = true
		return m.Spent(now, id)
	}
	return m.take()
}

// release writes the claim that gives the range up.
func (m *Machine) release(id int, s *rangeState, now Time) {
	c := s.claim
	c.Released, c.Next, c.Nonce = true, s.next, m.cfg.Random()|1
	c.Base += s.highest
	c.Since, c.All = m.passedOn(s, m.holders[m.cfg.Node].at)
	s.wanted, s.retry = c, now+Retry
	m.do(Action{Kind: WriteClaim, Range: id, Claim: c, Expect: s.seq})
}

// releaseAgain repeats a release that has no answer, on the same condition, once Retry has passed.
func (m *Machine) releaseAgain(id int, s *rangeState, now Time) {
	if now >= s.retry {
		s.retry = now + Retry
		m.do(Action{Kind: WriteClaim, Range: id, Claim: s.wanted, Expect: s.seq})
	}
}

// released takes the outcome of a release. If it was refused, an earlier try landed or another node claimed the range;
// the claim is read to learn which.
func (m *Machine) released(now Time, id int, s *rangeState, c Claim, seq uint64, o Outcome) {
	switch o {
	case Accepted:
		if seq > s.seq {
			s.claim, s.seq, s.at = c, seq, time.Time{}
		}
		m.drop(id, s)
	case Refused:
		m.drop(id, s)
		m.do(Action{Kind: ReadClaim, Range: id})
	}
	m.leaveFurther(now)
}

// Leave begins to give all ranges up, handOvers at a time. The caller takes no new requests from outside any more. Left
// says when it is done.
func (m *Machine) Leave(now Time) []Action {
	m.leaving = true
	m.nextBeat = min(m.nextBeat, now) // the other nodes should learn soon that this one drains
	if !m.joined {
		m.left = true
		return m.take()
	}
	m.heartbeat(now)
	m.leave(now)
	return m.take()
}

// leaveFurther goes on with leaving, if the node leaves, when a range was dropped: another one can be handed over.
func (m *Machine) leaveFurther(now Time) {
	if m.leaving {
		m.leave(now)
	}
}

// leave hands ranges over. When none is left, it writes the lease that says so.
func (m *Machine) leave(now Time) {
	busy := false
	for _, id := range m.cfg.Ranges {
		s := m.ranges[id]
		switch {
		case s.phase == open && m.handingOver < handOvers && !s.lastNumbers():
			s.next = m.cfg.Owner(id, m.candidates(now))
			m.flush(id, s)
		case s.phase == releasing:
			m.releaseAgain(id, s, now)
		}
		busy = busy || s.phase != none
	}
	if !busy && !m.left && (!m.inFlight || now >= m.inFlightSent+Retry) {
		m.writeLease(now, Lease{Node: m.cfg.Node, Incarnation: m.incarnation, Left: true, Before: m.before, Beat: m.beat})
	}
}
