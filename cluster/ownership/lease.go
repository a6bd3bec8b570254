package ownership

import (
	"slices"
	"time"
)

// heartbeat writes our lease, on condition that our last one is still the newest. One heartbeat is in flight at a time;
// one without an answer is repeated after Retry (rule 1).
func (m *Machine) heartbeat(now Time) {
	if m.inFlight && now < m.inFlightSent+Retry {
		return
	}
	m.writeLease(now, Lease{Node: m.cfg.Node, Incarnation: m.incarnation, Draining: m.leaving, Before: m.before, Beat: m.beat})
}

// writeLease writes our lease. The next heartbeat is due at a multiple of Heartbeat, as in all other streams, so that those of all streams go together.
func (m *Machine) writeLease(now Time, l Lease) {
	m.inFlight, m.inFlightSent, m.nextBeat = true, now, now.Truncate(Heartbeat)+Heartbeat
	m.do(Action{Kind: WriteLease, Node: m.cfg.Node, Expect: m.lease, Sent: now, Lease: l})
}

func (m *Machine) readLease() {
	m.readLeaseAt = 0
	m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
}

// LeaseWritten reports the outcome of a WriteLease. sent is the Sent of the Action.
func (m *Machine) LeaseWritten(now, sent Time, l Lease, seq uint64, o Outcome) []Action {
	if l.Node != m.cfg.Node {
		m.expulsionWritten(now, l, seq, o)
		return m.take()
	}
	if l.Incarnation != m.incarnation {
		return m.take()
	}
	if sent == m.inFlightSent {
		m.inFlight = false
	}
	switch o {
	case Accepted:
		if seq > m.lease {
			if !m.joined || sent > m.sent+Validity {
				m.steadySince = sent
			}
			m.lease, m.joined, m.sent, m.shorterSince = seq, true, max(m.sent, sent), 0
			m.left = m.left || l.Left
		}
	case Refused:
		m.nextBeat = now + Retry
		m.readLease()
	case Busy, Unknown:
		if !m.joined {
			m.readLease()
		}
	}
	return m.take()
}

// LeaseRead reports the outcome of a ReadLease of our own lease. at is the stream's time of the lease; seq 0 means that
// there is none; ok is false when it could not be read.
func (m *Machine) LeaseRead(now Time, l Lease, seq uint64, at time.Time, ok bool) []Action {
	switch {
	case m.left:
	case !ok:
		m.readLeaseAt = now + Retry
	case lostEnd(&m.shorterSince, seq > 0 && seq < m.lease, now):
		m.do(Action{Kind: BeginAnew})
	case seq > 0 && seq < m.lease: // perhaps a leader that was deposed and does not know it yet
		m.readLeaseAt = now + Retry
	case seq > 0 && l.Incarnation == m.incarnation && !l.Expelled:
		m.joined = true // our heartbeat was accepted, and only the answer was lost
		m.left = m.left || l.Left
		m.lease, m.nextBeat = seq, min(m.nextBeat, now)
	default:
		if m.joined { // this incarnation was expelled: its ranges are not ours any more
			m.dropAll()
			m.renewIncarnation()
		}
		m.firstBeat(now, l, seq, at)
	}
	return m.take()
}

// lostEnd says whether a leader has shown less than we know for DeposedTime. A deposed leader learns sooner that it is
// one; so the stream lost its end (rule 10). since keeps when the leader first showed less; 0: it shows all.
func lostEnd(since *Time, less bool, now Time) bool {
	switch {
	case !less:
		*since = 0
	case *since == 0:
		*since = now
	}
	return *since != 0 && now-*since >= DeposedTime
}

// firstBeat writes the first heartbeat of an incarnation, in the place of the lease that the leader shows. If that lease
// may be of a live process, the Machine first watches whether it moves, for Validity + Guard (rule 1).
func (m *Machine) firstBeat(now Time, l Lease, seq uint64, at time.Time) {
	if m.leaving {
		m.left = true // this node holds nothing any more
		return
	}
	mayLive := seq > 0 && !l.Expelled && !l.Left && !l.Unreadable // a live process replaces what can't be read at once, as we do
	switch {
	case mayLive && m.watchedSeq == 0:
		m.watchedSeq, m.watchedUntil, m.readLeaseAt = seq, now+Validity+Guard, now+Validity+Guard
		return
	case mayLive && m.watchedSeq != seq:
		if m.watchedMoves++; m.watchedMoves > strayHeartbeats {
			m.do(Action{Kind: Refuse, Node: m.cfg.Node, Lease: l})
			return
		}
		m.watchedSeq, m.watchedUntil, m.readLeaseAt = seq, now+Validity+Guard, now+Validity+Guard
		return
	case mayLive && now < m.watchedUntil:
		m.readLeaseAt = m.watchedUntil
		return
	}
	m.lease, m.watchedSeq, m.watchedMoves = seq, 0, 0
	if h := m.holders[m.cfg.Node]; l.Unreadable && h != nil {
		l.Incarnation, at = h.lease.Incarnation, h.at
	}
	if m.before, m.beat = l.Incarnation, at; l.Expelled {
		m.beat = l.Beat
	}
	m.heartbeat(now)
}

// strayHeartbeats is how many times a lease of our name may move before it counts as that of a live process. A process that was killed may have left
// one heartbeat on its way, and the first read may have come from a leader that was deposed. Each time the lease is watched anew. A live process moves it
// each time.
const strayHeartbeats = 2

// dropAll drops every range that the node holds or is taking.
func (m *Machine) dropAll() {
	for _, id := range m.cfg.Ranges {
		if s := m.ranges[id]; s.phase != none {
			m.drop(id, s)
		}
	}
}

// renewIncarnation begins another incarnation, which has no heartbeat yet.
func (m *Machine) renewIncarnation() {
	m.joined, m.inFlight, m.sent, m.watchedSeq, m.watchedMoves, m.inFlightSent = false, false, 0, 0, 0, -1
	m.incarnation = m.newIncarnation()
}

// LeaseSeen reports a lease that the stream showed. at is the stream's time of it; zero: it is not known.
func (m *Machine) LeaseSeen(now Time, l Lease, seq uint64, at time.Time) []Action {
	node := l.Node
	h := m.holders[node]
	if h == nil {
		h = &holder{}
		m.holders[node] = h
		m.quietUntil = max(m.quietUntil, now+m.cfg.Quiet)
	}
	if seq < h.seq {
		return m.take()
	}
	if l.Unreadable { // it stands for a heartbeat of the last incarnation that we know of (rule 10)
		at = h.at
		l = h.lease
		l.Unreadable, l.Node = true, node
	}
	switch same := l.Incarnation == h.lease.Incarnation; {
	case l.Expelled:
		h.at = l.Beat
	case !at.IsZero() || !same:
		h.at = at
	} // else the time of an earlier heartbeat stands: then rather too much is told again than too little
	if seq == h.seq {
		return m.take()
	}
	h.lease, h.seq, h.seen = l, seq, now
	if node == m.cfg.Node && m.joined && seq > m.lease && (l.Incarnation != m.incarnation || l.Expelled || l.Unreadable) {
		m.readLease() // what the stream shows is a hint; the leader decides
	}
	return m.take()
}

// Heard says whether this node has joined and has been shown its own lease, and whether the newest heartbeat of each other member is no older than
// two of them take.
func (m *Machine) Heard(now Time) bool {
	for _, n := range m.nodes {
		if h := m.holders[n]; n != m.cfg.Node && (h == nil || now-h.seen > 2*Heartbeat) {
			return false
		}
	}
	return m.joined && m.holders[m.cfg.Node] != nil && !m.holders[m.cfg.Node].at.IsZero()
}

// expel ends the incarnation of a claim's holder. It does so only when the holder was silent for Validity + Guard, and
// either membership has lost it, or it was silent for HolderSilence while all of our own heartbeats were accepted (rules 2
// and 11).
func (m *Machine) expel(c Claim, now Time) {
	h := m.holders[c.Node]
	if h == nil {
		h = &holder{lease: Lease{Node: c.Node, Incarnation: c.Incarnation}, seen: now}
		m.holders[c.Node] = h
	}
	silent := now - max(h.seen, m.steadySince)
	if h.expelling || silent < Validity+Guard || slices.Contains(m.nodes, c.Node) && silent < HolderSilence {
		return
	}
	h.expelling = true
	l := h.lease
	if l.Unreadable {
		l.Unreadable, l.Incarnation = false, c.Incarnation
	}
	l.Expelled, l.Beat = true, h.at
	m.do(Action{Kind: WriteLease, Node: c.Node, Expect: h.seq, Lease: l})
}

// expulsionWritten takes the outcome of an expulsion.
func (m *Machine) expulsionWritten(now Time, l Lease, seq uint64, o Outcome) {
	h := m.holders[l.Node]
	if h == nil {
		return
	}
	h.expelling = false
	switch {
	case o == Accepted && seq > h.seq:
		h.lease, h.seq = l, seq
	case o != Accepted:
		h.seen = now // the holder lives, or may: consider it again when it has been silent anew
	}
}
