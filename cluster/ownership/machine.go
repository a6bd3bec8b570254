package ownership

import (
	"slices"
	"time"
)

// Config is what a Machine needs to know of its node.
type Config struct {
	Node   string
	Ranges []int                               // the ranges that live in this stream
	Epoch  int64                               // when the stream was created, in Unix ns
	Quiet  time.Duration                       // rule 12: how long membership must have been quiet before the first claims
	Random func() uint64                       // for incarnations and nonces
	Owner  func(id int, nodes []string) string // placement: which of these nodes should hold the range; "": there are none
	Off    Off
}

// holder is what the Machine knows of a node's lease.
type holder struct {
	lease     Lease
	seq       uint64    // of the lease in the stream; 0: none was seen
	seen      Time      // when the newest heartbeat was seen
	at        time.Time // the stream's time of that heartbeat; zero: not known
	expelling bool      // an expulsion of the node is on its way
}

// Machine is the rules for one node and one stream.
type Machine struct {
	cfg         Config
	incarnation string
	before      string    // the node's incarnation before this one
	beat        time.Time // the stream's time of the last heartbeat of before

	lease         uint64 // the sequence of our last heartbeat; 0: there was none
	joined        bool   // a heartbeat of this incarnation was accepted
	sent          Time   // when our last accepted heartbeat was sent
	steadySince   Time   // since when all our heartbeats were accepted in time
	inFlight      bool   // a heartbeat has no answer yet
	inFlightSent  Time
	nextBeat      Time   // when the next heartbeat is due
	readLeaseAt   Time   // when our lease is to be read again; 0: it need not be
	shorterSince  Time   // since when the leader shows an older lease of ours than we know; 0: it does not
	watchedSeq    uint64 // the lease of another process of our name, which is watched: does it still move?
	watchedUntil  Time
	watchedMoves  int  // how often it has moved
	synced        bool // the stream has been shown once, up to its end
	syncedAt      Time
	quietUntil    Time
	claimsAllowed bool // the nodes that start together have found each other (rule 12)
	leaving       bool
	left          bool

	nodes       []string // the members
	rankedFor   []string // the candidates for which the ranges' targets were computed
	holders     map[string]*holder
	ranges      map[int]*rangeState
	handingOver int // the number of ranges that are being handed over
	out         []Action
}

// New makes a Machine. It does nothing before Start.
func New(c Config) *Machine {
	m := &Machine{cfg: c, ranges: map[int]*rangeState{}, nodes: []string{c.Node}}
	m.incarnation = m.newIncarnation()
	m.forgetStream()
	return m
}

// forgetStream empties what is known of the stream.
func (m *Machine) forgetStream() {
	m.holders, m.handingOver, m.rankedFor = map[string]*holder{}, 0, nil
	for _, id := range m.cfg.Ranges {
		m.ranges[id] = &rangeState{}
	}
}

// newIncarnation makes a random name for an incarnation: 16 hexadecimal digits.
func (m *Machine) newIncarnation() string {
	const hex = "0123456789abcdef"
	r := m.cfg.Random()
	b := make([]byte, 16)
	for i := range b {
		b[i] = hex[r>>(4*i)&15]
	}
	return string(b)
}

// Incarnation returns the name of this start of the node in this stream. It changes when the node was expelled.
func (m *Machine) Incarnation() string { return m.incarnation }

// Leases calls give with every node's newest lease that the stream showed and that could be read.
func (m *Machine) Leases(give func(Lease)) {
	for _, h := range m.holders {
		if h.seq > 0 && h.lease.Incarnation != "" {
			give(h.lease)
		}
	}
}

// AnswerUntil returns the time until which the node may answer from memory (rule 1).
func (m *Machine) AnswerUntil() Time {
	if m.cfg.Off.LeaseCheck {
		return 1 << 62
	}
	if !m.joined {
		return 0
	}
	return m.sent + Validity
}

// Left says whether the node has given everything up: it wrote so in its lease, or it has no lease that stands.
func (m *Machine) Left() bool { return m.left }

// do adds an Action for the caller. take, at the end of every method that reports something, returns them.
func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func (m *Machine) take() []Action {
	out := m.out
	m.out = nil
	return out
}

// Start begins: it asks for the lease that an earlier process of this name may have left.
func (m *Machine) Start(now Time) []Action {
	m.readLease()
	return m.take()
}

// Synced reports that all claims and leases that the stream held have been reported once.
func (m *Machine) Synced(now Time) []Action {
	m.synced, m.syncedAt = true, now
	m.quietUntil = now + m.cfg.Quiet
	return m.take()
}

// Members reports which nodes membership shows, this node among them.
func (m *Machine) Members(now Time, nodes []string) []Action {
	if !slices.Equal(nodes, m.nodes) {
		m.nodes, m.quietUntil = slices.Clone(nodes), now+m.cfg.Quiet
	}
	return m.take()
}

// Recreated reports that the stream is another one (rule 10): the node drops all its ranges and begins anew. If the epoch
// is the same, the stream lost its end, and numbers and generations go on above those that the Machine knows.
func (m *Machine) Recreated(now Time, epoch int64) []Action {
	m.dropAll()
	before := m.ranges
	m.ranges = map[int]*rangeState{}
	m.forgetStream()
	if epoch == m.cfg.Epoch {
		for id, s := range before {
			if m.ranges[id].floor = s.claim; s.floor.Generation > s.claim.Generation {
				m.ranges[id].floor = s.floor
			}
		}
	}
	m.cfg.Epoch, m.shorterSince = epoch, 0
	m.renewIncarnation()
	m.lease, m.before, m.beat = 0, "", time.Time{}
	m.synced, m.claimsAllowed = false, false
	m.readLease()
	return m.take()
}

// Tick lets time pass: it writes the heartbeat that is due, and takes, expels or hands over what is to be.
func (m *Machine) Tick(now Time) []Action {
	if m.left {
		return m.take()
	}
	if m.readLeaseAt > 0 && now >= m.readLeaseAt {
		m.readLease()
	}
	if m.joined && now >= m.nextBeat {
		m.heartbeat(now)
	}
	for _, id := range m.cfg.Ranges {
		m.readClaimAgain(id, m.ranges[id], now)
	}
	if m.mayMove(now) {
		m.rank(now)
		for _, id := range m.cfg.Ranges {
			m.consider(id, m.ranges[id], now)
		}
	}
	if m.leaving {
		m.leave(now)
	}
	return m.take()
}

// Rest returns how long Tick need not be called, half a heartbeat at most: no heartbeat is due until then, all members are heard, and each range is
// with the node that should hold it, so a Tick would do nothing. What changes that should be followed by a Tick: Members, Leave, a claim, a lease of
// a node that leaves or is expelled. After anything else it may come when Rest says.
func (m *Machine) Rest(now Time) time.Duration {
	if !m.claimsAllowed || m.leaving || m.readLeaseAt != 0 || !m.Heard(now) || now > m.sent+2*Heartbeat {
		return 0
	}
	for _, id := range m.cfg.Ranges {
		s := m.ranges[id]
		switch {
		case s.phase == open && s.target == m.cfg.Node:
		case s.phase == none && s.target != m.cfg.Node && !m.namedNext(s) && !s.claim.Unreadable:
		default:
			return 0
		}
	}
	return max(min(m.nextBeat-now, Heartbeat/2), 0)
}

// mayMove says whether this node may take ranges and hand them over: its heartbeats are accepted, the stream shows them
// to it, and the nodes that start together have found each other (rules 1 and 12).
func (m *Machine) mayMove(now Time) bool {
	own := m.holders[m.cfg.Node]
	if !m.joined || !m.synced || m.leaving || now >= m.AnswerUntil() || own == nil ||
		own.lease.Incarnation != m.incarnation || own.at.IsZero() {
		return false
	}
	if !m.claimsAllowed {
		all := len(m.candidates(now)) == len(m.nodes) || now >= m.syncedAt+CandidateSeen
		m.claimsAllowed = all && now >= m.quietUntil
	}
	return m.claimsAllowed
}

// candidates returns the members that may be given ranges: their heartbeats are seen, and they do not leave (rule 11).
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
		if h != nil && now-h.seen < CandidateSeen && !h.lease.Expelled && !h.lease.Left && !h.lease.Draining && !h.lease.Unreadable {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// rank computes which candidate should hold each range, when the candidates have changed.
func (m *Machine) rank(now Time) {
	nodes := m.candidates(now)
	if m.rankedFor != nil && slices.Equal(nodes, m.rankedFor) {
		return
	}
	m.rankedFor = nodes
	for _, id := range m.cfg.Ranges {
		m.ranges[id].target = m.cfg.Owner(id, nodes)
	}
}
