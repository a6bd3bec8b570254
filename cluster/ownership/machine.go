package ownership

import (
	"slices"
	"time"
)

// Config is what a Machine needs to know of its node.
type Config struct {
	Node   string
	Shards []int                                  // the shards that live in this stream
	Epoch  int64                                  // the stream's creation, Unix ns
	Quiet  time.Duration                          // rule 12
	Random func() uint64                          // for incarnations and nonces
	Owner  func(shard int, nodes []string) string // placement: the highest rank of these nodes
	Off    Off
}

// holder is a node as its lease shows it.
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
	before      string    // the incarnation of this node before this one
	beat        time.Time // the stream's time of its last heartbeat

	lease      uint64 // sequence of our last heartbeat; 0 before the first
	joined     bool
	sent       Time // when our last accepted heartbeat was sent
	steady     Time // since when all of ours were accepted in time
	inFlight   bool
	flightSent Time
	next       Time // when the next heartbeat is due
	readAgain  Time // when our lease is to be read again; 0: not
	shorter    Time // since when the leader shows less of our lease than we know; 0: it does not
	lookSeq    uint64
	lookUntil  Time // another process of our name is watched until then

	synced  bool
	started Time // when the stream had been shown once
	quiet   Time
	began   bool // the first claims were made (rule 12)
	nodes   []string
	ranked  []string // the candidates that the shards' targets are of
	leaving bool
	left    bool

	holders map[string]*holder
	shards  map[int]*shard
	giving  int // shards that are being handed over
	out     []Action
}

// New makes a Machine that has not started.
func New(c Config) *Machine {
	m := &Machine{cfg: c, shards: map[int]*shard{}, nodes: []string{c.Node}}
	m.incarnation = m.fresh()
	m.forget()
	return m
}

// forget empties what is known of the stream.
func (m *Machine) forget() {
	m.holders, m.giving, m.ranked = map[string]*holder{}, 0, nil
	for _, id := range m.cfg.Shards {
		m.shards[id] = &shard{}
	}
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

// Leases gives every node's lease as the stream showed it last.
func (m *Machine) Leases(give func(Lease)) {
	for _, h := range m.holders {
		if h.seq > 0 {
			give(h.lease)
		}
	}
}

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
	m.readLease()
	return m.take()
}

// Synced says that all claims and leases that the stream held have been reported once.
func (m *Machine) Synced(now Time) []Action {
	m.synced, m.started = true, now
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

// Recreated says that the stream is another one (rule 10): what we held is gone, all begins anew. In one of the same
// epoch numbers and generations go on from those that we know.
func (m *Machine) Recreated(now Time, epoch int64) []Action {
	m.dropAll()
	before := m.shards
	m.shards = map[int]*shard{}
	m.forget()
	if epoch == m.cfg.Epoch {
		for id, s := range before {
			if m.shards[id].least = s.claim; s.least.Generation > s.claim.Generation {
				m.shards[id].least = s.least
			}
		}
	}
	m.cfg.Epoch, m.shorter = epoch, 0
	m.renew()
	m.lease, m.before, m.beat = 0, "", time.Time{}
	m.synced, m.began = false, false
	m.readLease()
	return m.take()
}

// Tick lets time pass.
func (m *Machine) Tick(now Time) []Action {
	if m.left {
		return m.take()
	}
	if m.readAgain > 0 && now >= m.readAgain {
		m.readLease()
	}
	if m.joined && now >= m.next {
		m.heartbeat(now)
	}
	for _, id := range m.cfg.Shards {
		m.checkAgain(id, m.shards[id], now)
	}
	if m.may(now) {
		m.rank(now)
		for _, id := range m.cfg.Shards {
			m.consider(id, m.shards[id], now)
		}
	}
	if m.leaving {
		m.leave(now)
	}
	return m.take()
}

// may says whether shards may be taken and given: our heartbeats are accepted and the stream shows them to us, and
// those who start together have found each other (rules 1, 12).
func (m *Machine) may(now Time) bool {
	own := m.holders[m.cfg.Node]
	if !m.joined || !m.synced || m.leaving || now >= m.AnswerUntil() || own == nil ||
		own.lease.Incarnation != m.incarnation || own.at.IsZero() {
		return false
	}
	if !m.began {
		all := len(m.candidates(now)) == len(m.nodes) || now >= m.started+Candidate
		m.began = all && now >= m.quiet
	}
	return m.began
}

// candidates are the members that should hold shards: their heartbeats are seen (rule 11).
func (m *Machine) candidates(now Time) []string {
	nodes := make([]string, 0, len(m.nodes))
	for _, n := range m.nodes {
		if n == m.cfg.Node {
			if !m.leaving {
				nodes = append(nodes, n)
			}
			continue
		}
		h := m.holders[n]
		if h != nil && now-h.seen < Candidate && !h.lease.Expelled && !h.lease.Left && !h.lease.Draining {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// rank finds for each shard where it should be.
func (m *Machine) rank(now Time) {
	nodes := m.candidates(now)
	if m.ranked != nil && slices.Equal(nodes, m.ranked) {
		return
	}
	m.ranked = nodes
	for _, id := range m.cfg.Shards {
		m.shards[id].target = m.cfg.Owner(id, nodes)
	}
}

// heartbeat writes our lease on condition that our last one is still the newest; one is in flight at a time.
func (m *Machine) heartbeat(now Time) {
	if m.inFlight && now < m.flightSent+Repeat {
		return
	}
	m.write(now, Lease{Node: m.cfg.Node, Incarnation: m.incarnation, Draining: m.leaving, Before: m.before, Beat: m.beat})
}

func (m *Machine) write(now Time, l Lease) {
	m.inFlight, m.flightSent, m.next = true, now, now+Heartbeat
	m.do(Action{Kind: WriteLease, Node: m.cfg.Node, Expect: m.lease, Sent: now, Lease: l})
}

func (m *Machine) readLease() {
	m.readAgain = 0
	m.do(Action{Kind: ReadLease, Node: m.cfg.Node})
}

// LeaseWritten reports a WriteLease; sent is the action's Sent.
func (m *Machine) LeaseWritten(now, sent Time, l Lease, seq uint64, o Outcome) []Action {
	if l.Node != m.cfg.Node {
		m.expulsion(now, l, seq, o)
		return m.take()
	}
	if l.Incarnation != m.incarnation {
		return m.take()
	}
	if sent == m.flightSent {
		m.inFlight = false
	}
	switch o {
	case Accepted:
		if seq > m.lease {
			if !m.joined || sent > m.sent+Validity {
				m.steady = sent
			}
			m.lease, m.joined, m.sent, m.shorter = seq, true, max(m.sent, sent), 0
			m.left = m.left || l.Left
		}
	case Refused:
		m.next = now + Repeat
		m.readLease()
	case Busy, Unknown:
		if !m.joined {
			m.readLease()
		}
	}
	return m.take()
}

// LeaseRead reports a ReadLease of our own lease, at the stream's time; seq 0 means that there is none.
func (m *Machine) LeaseRead(now Time, l Lease, seq uint64, at time.Time, ok bool) []Action {
	switch {
	case m.left:
	case !ok:
		m.readAgain = now + Repeat
	case isShorter(&m.shorter, seq > 0 && seq < m.lease, now):
		m.do(Action{Kind: Anew})
	case seq > 0 && seq < m.lease: // a leader that was deposed and does not know it yet
		m.readAgain = now + Repeat
	case seq > 0 && l.Incarnation == m.incarnation && !l.Expelled:
		m.joined = true // only an answer was lost
		m.left = m.left || l.Left
		m.lease, m.next = seq, min(m.next, now)
	default:
		if m.joined { // expelled: what we hold is no longer ours
			m.dropAll()
			m.renew()
		}
		m.rejoin(now, l, seq, at)
	}
	return m.take()
}

// isShorter says that a leader has shown less than we know for so long that it is no leader that was deposed: the stream
// lost its end.
func isShorter(since *Time, less bool, now Time) bool {
	switch {
	case !less:
		*since = 0
	case *since == 0:
		*since = now
	}
	return *since != 0 && now-*since >= Deposed
}

// rejoin writes the first heartbeat of an incarnation, once what the leader shows is surely not a live process.
func (m *Machine) rejoin(now Time, l Lease, seq uint64, at time.Time) {
	if m.leaving {
		m.left = true // nothing is held any more
		return
	}
	alive := seq > 0 && !l.Expelled && !l.Left
	switch {
	case alive && m.lookSeq == 0:
		m.lookSeq, m.lookUntil, m.readAgain = seq, now+Validity+Guard, now+Validity+Guard
		return
	case alive && m.lookSeq != seq:
		m.do(Action{Kind: Refuse, Node: m.cfg.Node, Lease: l})
		return
	case alive && now < m.lookUntil:
		m.readAgain = m.lookUntil
		return
	}
	m.lease, m.lookSeq = seq, 0
	if m.before, m.beat = l.Incarnation, at; l.Expelled {
		m.beat = l.Beat
	}
	m.heartbeat(now)
}

// dropAll gives up whatever is held.
func (m *Machine) dropAll() {
	for _, id := range m.cfg.Shards {
		if s := m.shards[id]; s.phase != none {
			m.lose(id, s)
		}
	}
}

// renew begins another incarnation.
func (m *Machine) renew() {
	m.joined, m.inFlight, m.sent, m.lookSeq, m.flightSent = false, false, 0, 0, -1
	m.incarnation = m.fresh()
}

// LeaseSeen reports a lease that the stream showed, at the stream's time; zero: it is not known.
func (m *Machine) LeaseSeen(now Time, l Lease, seq uint64, at time.Time) []Action {
	h := m.holders[l.Node]
	if h == nil {
		h = &holder{}
		m.holders[l.Node] = h
		m.quiet = max(m.quiet, now+m.cfg.Quiet)
	}
	if seq < h.seq {
		return m.take()
	}
	switch same := l.Incarnation == h.lease.Incarnation; {
	case l.Expelled:
		h.at = l.Beat
	case !at.IsZero() || !same:
		h.at = at
	} // else the time of an earlier one stands: what is told again from then on is rather too much than too little
	if seq == h.seq {
		return m.take()
	}
	h.lease, h.seq, h.seen = l, seq, now
	if l.Node == m.cfg.Node && m.joined && seq > m.lease && (l.Incarnation != m.incarnation || l.Expelled) {
		m.readLease() // the leader says whether it is so
	}
	return m.take()
}

// expel ends the incarnation of a holder that membership lost, or that has been silent for long while all of our own
// heartbeats were accepted (rules 2, 11).
func (m *Machine) expel(c Claim, now Time) {
	h := m.holders[c.Node]
	if h == nil {
		h = &holder{lease: Lease{Node: c.Node, Incarnation: c.Incarnation}, seen: now}
		m.holders[c.Node] = h
	}
	silent := now - max(h.seen, m.steady)
	if h.busy || silent < Validity+Guard || slices.Contains(m.nodes, c.Node) && silent < Silence {
		return
	}
	h.busy = true
	l := h.lease
	l.Expelled, l.Beat = true, h.at
	m.do(Action{Kind: WriteLease, Node: c.Node, Expect: h.seq, Lease: l})
}

func (m *Machine) expulsion(now Time, l Lease, seq uint64, o Outcome) {
	h := m.holders[l.Node]
	if h == nil {
		return
	}
	h.busy = false
	switch {
	case o == Accepted && seq > h.seq:
		h.lease, h.seq = l, seq
	case o != Accepted:
		h.seen = now // it lives, or we don't know: look again when it has been silent anew
	}
}
