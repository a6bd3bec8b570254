package ownership

import (
	"slices"
	"time"
)

// Config is what a Machine needs to know of its node.
type Config struct {
	Node    string
	Shards  []int                                  // the shards that live in this stream
	Epoch   int64                                  // the stream's creation, Unix ns
	Quiet   time.Duration                          // rule 12
	Random  func() uint64                          // for incarnations and nonces
	Owner   func(shard int, nodes []string) string // placement
	Highest func(shard int) uint32                 // the highest counter that an extension of the shard used
	Off     Off
}

type phase uint8

const (
	none      phase = iota
	claiming        // a claim is on its way
	checking        // its outcome is being read at the leader
	replaying       //
	serving         //
	releasing       //
)

type shard struct {
	phase   phase
	claim   Claim  // the newest that the stream showed
	seq     uint64 // its sequence; 0: none known
	at      time.Time
	held    bool  // our claim was accepted and nothing newer seen
	reclaim bool  // the claim on its way follows one of our own whose memory we hold
	wanted  Claim // the claim on its way
	expect  uint64
	retry   Time
	since   time.Time
	all     bool
}

type holder struct {
	lease Lease
	seq   uint64
	seen  Time      // when its newest heartbeat was seen
	at    time.Time // the stream's time of that heartbeat
	busy  bool      // an expulsion is on its way
}

// Machine is the rules for one node and one stream.
type Machine struct {
	cfg         Config
	incarnation string
	lease       uint64 // sequence of our last heartbeat; 0 before the first
	joined      bool
	sent        Time // when our last accepted heartbeat was sent
	inFlight    bool
	flightSent  Time
	next        Time // when the next heartbeat is due
	lookAgain   Time // a same-named incarnation is watched until then
	lookSeq     uint64
	synced      bool
	quiet       Time
	nodes       []string
	leaving     bool
	left        bool
	holders     map[string]*holder
	shards      map[int]*shard
	out         []Action
}

// New makes a Machine that has not started.
func New(c Config) *Machine {
	m := &Machine{cfg: c, holders: map[string]*holder{}, shards: map[int]*shard{}, nodes: []string{c.Node}}
	for _, s := range c.Shards {
		m.shards[s] = &shard{}
	}
	m.incarnation = m.fresh()
	return m
}

func (m *Machine) fresh() string {
	const hex = "0123456789abcdef"
	r := m.cfg.Random()
	b := make([]byte, 16)
	for i := range b {
		b[i] = hex[r>>(4*i)&15]
	}
	return string(b)
}

// Incarnation names this start of the node, until it is expelled.
func (m *Machine) Incarnation() string { return m.incarnation }

// AnswerUntil is until when the node may answer from memory (rule 1).
func (m *Machine) AnswerUntil() Time {
	if m.cfg.Off.LeaseCheck {
		return 1 << 62
	}
	if !m.joined {
		return 0
	}
	return m.sent + Validity
}

// Serving says whether the shard is ours and open, and under which claim and fence.
func (m *Machine) Serving(id int) (Claim, uint64, bool) {
	s := m.shards[id]
	return s.claim, s.seq, s.phase == serving
}

// Holder is who holds the shard as far as the stream showed; "" when no one does.
func (m *Machine) Holder(id int) string {
	s := m.shards[id]
	if s.seq == 0 || s.claim.Released {
		return ""
	}
	return s.claim.Node
}

// Left says that the node gave all up and said so.
func (m *Machine) Left() bool { return m.left }

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) take() []Action {
	out := m.out
	m.out = nil
	return out
}

// Start begins: what does the stream say of an earlier process of this name?
func (m *Machine) Start(now Time) []Action {
	m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
	return m.take()
}

// Synced says that all claims and leases that the stream held have been reported once.
func (m *Machine) Synced(now Time) []Action {
	m.synced = true
	m.quiet = now + m.cfg.Quiet
	return m.take()
}

// Members says which nodes membership shows as serving, ourselves among them.
func (m *Machine) Members(now Time, nodes []string) []Action {
	if !slices.Equal(nodes, m.nodes) {
		m.nodes, m.quiet = slices.Clone(nodes), now+m.cfg.Quiet
	}
	return m.take()
}

// Tick lets time pass.
func (m *Machine) Tick(now Time) []Action {
	if m.lookAgain > 0 && now >= m.lookAgain {
		m.lookAgain = 0
		m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
	}
	if m.joined && !m.left && now >= m.next {
		m.heartbeat(now)
	}
	if m.joined && m.synced && now >= m.quiet && !m.leaving && now < m.AnswerUntil() {
		for _, id := range m.cfg.Shards {
			m.consider(id, now)
		}
	}
	if m.leaving && !m.left {
		m.leave(now)
	}
	return m.take()
}

// heartbeat writes our lease on condition that our last one is still the newest; one is in flight at a time.
func (m *Machine) heartbeat(now Time) {
	if m.inFlight && now < m.flightSent+Repeat {
		return
	}
	m.inFlight, m.flightSent, m.next = true, now, now+Heartbeat
	m.do(Action{Kind: WriteLease, Node: m.cfg.Node, Expect: m.lease, Lease: Lease{Node: m.cfg.Node, Incarnation: m.incarnation}})
}

// LeaseWritten reports a WriteLease; sent is when it was sent.
func (m *Machine) LeaseWritten(now, sent Time, l Lease, seq uint64, o Outcome) []Action {
	if l.Node != m.cfg.Node || l.Incarnation != m.incarnation {
		m.expulsion(now, l, seq, o)
		return m.take()
	}
	switch o {
	case Accepted:
		if seq < m.lease {
			break
		}
		m.lease, m.joined, m.sent = seq, true, max(m.sent, sent)
		m.left = m.left || l.Left
		if sent == m.flightSent {
			m.inFlight = false
		}
	case Refused:
		if sent == m.flightSent {
			m.inFlight, m.next = true, now+Repeat
		}
		m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
	case Busy, Unknown:
		if sent == m.flightSent {
			m.inFlight = false
		}
		if !m.joined {
			m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
		}
	}
	return m.take()
}

// LeaseRead reports a ReadLease of our own lease; seq 0 means that there is none.
func (m *Machine) LeaseRead(now Time, l Lease, seq uint64, ok bool) []Action {
	switch {
	case !ok:
		m.lookAgain = now + Repeat
	case seq > 0 && l.Incarnation == m.incarnation && !l.Expelled:
		m.joined = true // only an answer was lost
		m.lease, m.inFlight, m.next = max(m.lease, seq), false, now
	case m.joined: // expelled: what we hold is no longer ours
		m.expelled()
		m.rejoin(now, l, seq)
	default:
		m.rejoin(now, l, seq)
	}
	return m.take()
}

// rejoin writes the first heartbeat of an incarnation, once what the leader shows is surely not a live process.
func (m *Machine) rejoin(now Time, l Lease, seq uint64) {
	alive := seq > 0 && !l.Expelled && !l.Left
	switch {
	case alive && m.lookSeq == 0:
		m.lookSeq, m.lookAgain = seq, now+Validity+Guard
	case alive && m.lookSeq != seq:
		m.do(Action{Kind: Refuse, Node: m.cfg.Node, Lease: l})
	case alive && now < m.lookAgain:
	default:
		m.lease, m.lookSeq = seq, 0
		m.heartbeat(now)
	}
}

func (m *Machine) expelled() {
	for _, id := range m.cfg.Shards {
		if s := m.shards[id]; s.phase != none {
			s.phase, s.held = none, false
			m.do(Action{Kind: Drop, Shard: id})
		}
	}
	m.joined, m.inFlight, m.sent, m.lookSeq = false, false, 0, 0
	m.incarnation = m.fresh()
}

// LeaseSeen reports a lease that the stream showed, at the stream's time.
func (m *Machine) LeaseSeen(now Time, l Lease, seq uint64, at time.Time) []Action {
	h := m.holders[l.Node]
	if h == nil {
		h = &holder{}
		m.holders[l.Node] = h
	}
	if seq > h.seq {
		if h.lease.Incarnation == l.Incarnation && l.Expelled {
			at = h.at // the time of its last own heartbeat counts (rule 7)
		}
		h.lease, h.seq, h.seen, h.at = l, seq, now, at
	}
	return m.take()
}

// ClaimSeen reports a claim that the stream showed.
func (m *Machine) ClaimSeen(now Time, id int, c Claim, seq uint64, at time.Time) []Action {
	s := m.shards[id]
	if s != nil && seq > s.seq {
		m.newer(id, s, c, seq, at)
	}
	return m.take()
}

// newer takes note of a claim; if it is another's, what we had is gone.
func (m *Machine) newer(id int, s *shard, c Claim, seq uint64, at time.Time) {
	mine := c.Nonce == s.wanted.Nonce && c.Node == m.cfg.Node
	s.claim, s.seq, s.at = c, seq, at
	if !mine && s.phase != none {
		s.phase, s.held = none, false
		m.do(Action{Kind: Drop, Shard: id})
	}
	if mine && (s.phase == claiming || s.phase == checking) {
		m.landed(id, s)
	}
}

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

func (m *Machine) candidates(now Time) []string {
	nodes := make([]string, 0, len(m.nodes))
	for _, n := range m.nodes {
		h := m.holders[n]
		if n == m.cfg.Node || h != nil && now-h.seen < Candidate && !h.lease.Expelled && !h.lease.Left {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// consider takes a shard that should be ours and is free, or expels a holder that is gone.
func (m *Machine) consider(id int, now Time) {
	s := m.shards[id]
	if s.phase != none || now < s.retry || m.cfg.Owner(id, m.candidates(now)) != m.cfg.Node {
		return
	}
	if !m.gone(s) {
		if m.cfg.Off.Expel {
			if h := m.holders[s.claim.Node]; h == nil || now-h.seen > Validity+Guard && !slices.Contains(m.nodes, s.claim.Node) {
				m.claim(id, s, now, false)
			}
			return
		}
		m.expel(s.claim, now)
		return
	}
	m.claim(id, s, now, false)
}

// expel ends the incarnation of a holder that membership lost, or that has been silent for long (rules 2, 11).
func (m *Machine) expel(c Claim, now Time) {
	h := m.holders[c.Node]
	if h == nil {
		h = &holder{lease: Lease{Node: c.Node, Incarnation: c.Incarnation}, seen: now}
		m.holders[c.Node] = h
	}
	silent := now - h.seen
	if h.busy || silent < Validity+Guard || slices.Contains(m.nodes, c.Node) && silent < Silence {
		return
	}
	h.busy = true
	l := h.lease
	l.Expelled = true
	m.do(Action{Kind: WriteLease, Node: c.Node, Expect: h.seq, Lease: l})
}

func (m *Machine) expulsion(now Time, l Lease, seq uint64, o Outcome) {
	h := m.holders[l.Node]
	if h == nil || !l.Expelled {
		return
	}
	h.busy = false
	if o == Accepted && seq > h.seq {
		h.lease, h.seq = l, seq
	} else {
		h.seen = now // it lives, or we don't know: look again when it has been silent anew
	}
}

// claim writes a claim in the place of the one we know. own: the shard's memory is ours already (rules 5, 8).
func (m *Machine) claim(id int, s *shard, now Time, own bool) {
	c := Claim{Node: m.cfg.Node, Incarnation: m.incarnation, Nonce: m.cfg.Random() | 1, Generation: s.claim.Generation + 1, Epoch: m.cfg.Epoch}
	switch {
	case own:
		c.Base = s.claim.Base + m.cfg.Highest(id) + 1
	case s.seq > 0:
		c.Base = s.claim.Base + TakeOver
		s.since, s.all = s.at, false
		if h := m.holders[s.claim.Node]; h != nil && h.lease.Incarnation == s.claim.Incarnation && h.at.After(s.at) {
			s.since = h.at
		}
		s.since = s.since.Add(-10 * time.Second)
	default:
		s.since, s.all = time.Time{}, false
	}
	s.phase, s.reclaim, s.wanted, s.expect, s.held = claiming, own, c, s.seq, false
	m.do(Action{Kind: WriteClaim, Shard: id, Claim: c, Expect: s.expect})
}

// Spent says that a write of the shard has an unknown outcome, or that its counters are used up: claim again.
func (m *Machine) Spent(now Time, id int) []Action {
	if s := m.shards[id]; s.phase == serving {
		m.do(Action{Kind: Pause, Shard: id})
		m.claim(id, s, now, true)
	}
	return m.take()
}

// Lost says that the shard's fence was refused.
func (m *Machine) Lost(now Time, id int) []Action {
	if s := m.shards[id]; s.phase == serving {
		s.phase, s.held = none, false
		m.do(Action{Kind: Drop, Shard: id})
		m.do(Action{Kind: ReadClaim, Shard: id})
	}
	return m.take()
}

// ClaimWritten reports a WriteClaim.
func (m *Machine) ClaimWritten(now Time, id int, c Claim, seq uint64, o Outcome, at time.Time) []Action {
	s := m.shards[id]
	if s.phase == releasing && c.Released {
		if o == Accepted || o == Refused {
			s.phase = none
			if o == Accepted {
				s.claim, s.seq = c, seq
			}
			m.do(Action{Kind: Drop, Shard: id})
		} else {
			s.retry = now + Repeat
		}
		return m.take()
	}
	if s.phase != claiming || s.wanted.Nonce != c.Nonce {
		return m.take()
	}
	if o == Accepted {
		s.claim, s.seq, s.at = c, seq, at
		m.landed(id, s)
		return m.take()
	}
	s.phase = checking
	s.retry = now + Repeat
	m.do(Action{Kind: ReadClaim, Shard: id})
	return m.take()
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
		m.newer(id, s, c, seq, at) // our nonce: it landed; another's: stand back
	}
	if s.phase == checking { // the old one still: the same condition decides again
		s.phase = claiming
		m.do(Action{Kind: WriteClaim, Shard: id, Claim: s.wanted, Expect: s.expect})
	}
	return m.take()
}

func (m *Machine) landed(id int, s *shard) {
	s.held = true
	if s.wanted.Incarnation != m.incarnation {
		s.phase, s.held = none, false
		return
	}
	if s.reclaim {
		s.phase = serving
		m.do(Action{Kind: Resume, Shard: id, Claim: s.claim, Expect: s.seq})
		return
	}
	s.phase = replaying
	m.do(Action{Kind: Replay, Shard: id, Claim: s.claim, Expect: s.seq})
}

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
	s := m.shards[id]
	if s.phase == replaying && s.claim.Nonce == c.Nonce {
		s.phase = serving
		m.do(Action{Kind: Open, Shard: id, Claim: s.claim, Expect: s.seq, Since: s.since, All: s.all})
	}
	return m.take()
}

// Leave begins to give all shards up. The caller has stopped its intake and flushed what was pending.
func (m *Machine) Leave(now Time) []Action {
	m.leaving = true
	m.leave(now)
	return m.take()
}

func (m *Machine) leave(now Time) {
	busy := false
	for _, id := range m.cfg.Shards {
		s := m.shards[id]
		switch {
		case s.phase == serving, s.phase == releasing && now >= s.retry:
			c := s.claim
			c.Released, c.Nonce = true, m.cfg.Random()|1
			c.Base += m.cfg.Highest(id) + 1
			s.wanted, s.phase, s.retry = c, releasing, now+Repeat
			m.do(Action{Kind: WriteClaim, Shard: id, Claim: c, Expect: s.seq})
			busy = true
		case s.phase != none:
			busy = true
		}
	}
	if !busy && now >= m.next {
		m.inFlight, m.flightSent, m.next = true, now, now+Heartbeat
		m.do(Action{Kind: WriteLease, Node: m.cfg.Node, Expect: m.lease,
			Lease: Lease{Node: m.cfg.Node, Incarnation: m.incarnation, Left: true}})
	}
}
