package ownership

import "time"

// flush begins to give a shard up: what was taken is still kept and told.
func (m *Machine) flush(id int, s *shard) {
	s.phase, s.reason = flushing, 0
	m.giving++
	m.do(Action{Kind: Flush, Shard: id, Node: s.next})
}

// Flushed says that all that the shard took is kept and told: it is released, and the next owner named. At the end of
// the numbers it says that all subscriptions are ended, and the shard begins again from 0.
func (m *Machine) Flushed(now Time, id int) []Action {
	switch s := m.shards[id]; {
	case s.phase == flushing:
		s.phase = releasing
		m.release(id, s, now)
	case s.phase == serving && s.ending():
		s.ended = true
		return m.Spent(now, id)
	}
	return m.take()
}

func (m *Machine) release(id int, s *shard, now Time) {
	c := s.claim
	c.Released, c.Next, c.Nonce = true, s.next, m.cfg.Random()|1
	c.Base += s.highest
	c.Since, c.All = m.untold(s, m.holders[m.cfg.Node].at)
	s.wanted, s.retry = c, now+Repeat
	m.do(Action{Kind: WriteClaim, Shard: id, Claim: c, Expect: s.seq})
}

// releaseAgain repeats a release whose outcome is not known, on the same condition.
func (m *Machine) releaseAgain(id int, s *shard, now Time) {
	if now >= s.retry {
		s.retry = now + Repeat
		m.do(Action{Kind: WriteClaim, Shard: id, Claim: s.wanted, Expect: s.seq})
	}
}

// released reports a release. Refused: it landed before, or another claimed; the stream shows which.
func (m *Machine) released(now Time, id int, s *shard, c Claim, seq uint64, o Outcome) {
	switch o {
	case Accepted:
		if seq > s.seq {
			s.claim, s.seq, s.at = c, seq, time.Time{}
		}
		m.lose(id, s)
	case Refused:
		m.lose(id, s)
		m.do(Action{Kind: ReadClaim, Shard: id})
	}
	m.leaveOn(now)
}

// Leave begins to give all shards up, one after the other. The node's intake has stopped.
func (m *Machine) Leave(now Time) []Action {
	m.leaving = true
	m.next = min(m.next, now) // the others should hear of it at once
	if !m.joined {
		m.left = true
		return m.take()
	}
	m.heartbeat(now)
	m.leave(now)
	return m.take()
}

func (m *Machine) leaveOn(now Time) {
	if m.leaving {
		m.leave(now)
	}
}

func (m *Machine) leave(now Time) {
	busy := false
	for _, id := range m.cfg.Shards {
		s := m.shards[id]
		switch {
		case s.phase == serving && m.giving < handOvers && !s.ending():
			s.next = m.cfg.Owner(id, m.candidates(now))
			m.flush(id, s)
		case s.phase == releasing:
			m.releaseAgain(id, s, now)
		}
		busy = busy || s.phase != none
	}
	if !busy && !m.left && (!m.inFlight || now >= m.flightSent+Repeat) {
		m.write(now, Lease{Node: m.cfg.Node, Incarnation: m.incarnation, Left: true, Before: m.before, Beat: m.beat})
	}
}
