package ownership

import "time"

// maxMissed is how many claims of a range this node may have missed between the last one that it knows and one that can't be
// read.
const maxMissed = 1024

// unreadable returns what counts in the place of a claim that can't be read (rule 10). It stands for the last claim that this
// node knows, whose holder claims the range again if it lives, and notes how many claims may have come in between. When this
// node knows no claim, it takes a generation that no range reaches by counting, and a base so high that all subscriptions of the
// range end first (rule 8).
func (m *Machine) unreadable(s *rangeState, seq uint64, at time.Time) Claim {
	if s.seq == 0 {
		return Claim{Unreadable: true, Released: true, Generation: uint64(at.UnixMilli()), Base: LastBase + 1}
	}
	c := s.claim
	missed := seq - s.seq - 1
	if c.Unreadable {
		missed += s.missed
	}
	s.missed = min(missed, maxMissed)
	c.Unreadable, c.Nonce, c.Next = true, 0, ""
	return c
}

// aboveMissed raises the generation and base of a claim that replaces one that can't be read above those of all claims that
// this node may have missed.
func (m *Machine) aboveMissed(s *rangeState, c *Claim) {
	if !s.claim.Unreadable || m.ours(s) {
		return
	}
	c.Generation += s.missed
	c.Base = max(c.Base, min(c.Base+uint32(s.missed)*TakeOver, LastBase+1))
}

// wasOurs says whether the last claim that could be read is of this incarnation, which never released it.
func (m *Machine) wasOurs(s *rangeState) bool {
	return s.claim.Node == m.cfg.Node && s.claim.Incarnation == m.incarnation && !s.claim.Released && !s.wanted.Released
}

// ours says whether, beyond that, no other node has claimed the range since: a heartbeat that was accepted after the claim that
// can't be read proves that this incarnation was not expelled before it.
func (m *Machine) ours(s *rangeState) bool { return m.wasOurs(s) && m.lease > s.seq }

// mayBeHeld says whether a node may hold the range that is not the holder that we know of: the claim can't be read, and may
// have replaced one that we have not seen. Such a node claims the range again as soon as it sees that, for which it has
// UnreadableWait.
func (m *Machine) mayBeHeld(s *rangeState, now Time) bool {
	if !s.claim.Unreadable || m.ours(s) || now >= s.unreadableSince+UnreadableWait {
		return false
	}
	for node, h := range m.holders {
		if l := &h.lease; node != m.cfg.Node && (l.Unreadable || !l.Expelled && !l.Left) {
			return true
		}
	}
	return false
}
