package bus

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/age"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// The bounds of what a node keeps for edges.
const (
	maxEdges     = 4096             // edges in the table; those that have watchers always find room
	makeRoomFor  = maxEdges / 8     // edges that are forgotten at a time to make room, so that not each new edge costs a look at all
	ringMessages = 4096             // messages in the ring of one edge
	ringBytes    = 8 << 20          // bytes in the ring of one edge
	DefaultKept  = 256 << 20        // bytes in the rings of all edges together
	forgetAfter  = time.Hour        // the node forgets an edge without watchers after this time without an edge.up
	lookEvery    = 10 * time.Minute // how often the node looks for edges to forget
	downAfter    = 10 * time.Second // how long nobody must have listened for an edge before Down returns it
	silentAfter  = 15 * time.Second // how long an edge that says edge.up every 5 s must have said nothing to count as silent
	noticeTime   = time.Second      // in which NATS says that nobody took a message
)

// find returns the edge of that name, or nil when it is not in the table.
func (f *Fanout) find(name string) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edges[name]
}

// findOrMake returns the edge of that name and makes an entry for it if there is none. In a full table it first forgets edges
// without watchers. The edges that have watchers may be more than maxEdges; the memory of what is kept for all edges together is
// bounded all the same.
func (f *Fanout) findOrMake(name string) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.edges[name]; e != nil {
		return e
	}
	if len(f.edges) >= maxEdges {
		f.makeRoom()
	}
	token := subject.Token(name)
	e := &edge{fanout: f, name: name, token: token, subject: f.cfg.Prefix.Of(subject.Notify(name)), reply: f.inbox + "." + token,
		seq: f.forgottenSeq, first: f.forgottenSeq + 1}
	e.heard.Set(time.Now())
	f.edges[name] = e
	return e
}

// lock is findOrMake, and takes the lock of the edge. It tries again when the edge was forgotten between the two.
func (f *Fanout) lock(name string) *edge {
	for {
		e := f.findOrMake(name)
		if e.mu.Lock(); !e.forgotten {
			return e
		}
		e.mu.Unlock()
	}
}

// concerned says whether an edge.up of that edge concerns this node: it has sent messages to the edge, or watchers are behind it.
func (f *Fanout) concerned(name string) bool { return f.find(name) != nil || f.Watches(name) }

// watched says whether watchers on this node are behind an edge.
func (f *Fanout) watched(e *edge) bool {
	if e.name == subject.AnyEdge {
		return f.Watches("")
	}
	return f.Watches(e.name)
}

// makeRoom forgets up to makeRoomFor edges without watchers: first those that have never said edge.up, and of each kind those
// that have been silent for longest. The caller holds f.mu.
func (f *Fanout) makeRoom() {
	var idle []*edge
	for _, e := range f.edges {
		if !f.watched(e) {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *edge) int {
		if as, bs := a.spoke.Load(), b.spoke.Load(); as != bs {
			if bs {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.heard.Age(), b.heard.Age())
	})
	for _, e := range idle[:min(len(idle), makeRoomFor)] {
		f.forget(e)
	}
}

// forget takes an edge out of the table. The numbers of all edges that are made later begin above its own. An edge that comes
// back would otherwise take new messages for those that it has. The caller holds f.mu.
func (f *Fanout) forget(e *edge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	f.forgottenSeq = max(f.forgottenSeq, e.seq)
	e.dropRing()
	delete(f.edges, e.name)
}

// look has the watchers behind edges that are down served by others, and forgets the edges that nobody needs, every lookEvery, until
// ctx ends.
func (f *Fanout) look(ctx context.Context) {
	regular, often := time.NewTicker(lookEvery), time.NewTicker(time.Second)
	defer regular.Stop()
	defer often.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-regular.C:
			f.lookOnce(now)
		case now := <-often.C:
			if !f.cfg.Conn.IsConnected() {
				f.joined.Set(now)
			}
			f.replaceDown(now)
		}
	}
}

// replaceDown has other edges serve the watchers behind the edges that Down returns, until these say edge.up. These watchers may have
// missed changes since the edge went down, so all of them are told their newest state once. The messages that were kept for the edge are
// dropped: if it got them later, the CSeq of its NOTIFYs would go back.
func (f *Fanout) replaceDown(now time.Time) {
	for _, name := range f.Down(now) {
		e := f.lock(name)
		turned := e.downSince.Age() != 0 && e.replaced.CompareAndSwap(false, true)
		if turned {
			e.dropRing()
		}
		e.mu.Unlock()
		if turned {
			f.log.Warn("an edge has been down for 10 s: other edges send its NOTIFYs, but for those of phones on its own connections; start it again under its name", "edge", name)
			f.Renotify(name)
		}
	}
}

// State says whether anybody listens for an edge; "" is the edge of the watchers that name none. It does not wait.
func (f *Fanout) State(name string, now time.Time) presence.EdgeState {
	if f.Local != nil && name == f.LocalName {
		return presence.EdgeState{Listens: presence.EdgeListening, At: now}
	}
	joined := f.joined.Age()
	if joined == 0 || !f.cfg.Conn.IsConnected() {
		return presence.EdgeState{}
	}
	unknown := presence.EdgeState{Listens: presence.EdgeNeverUp}
	if name == "" { // the edges that share it say edge.up under their own names
		unknown.Listens = ""
	}
	e := f.find(cmp.Or(name, subject.AnyEdge))
	if e == nil {
		return unknown
	}
	down, heard, nobody, open := e.downSince.Age(), e.heard.Age(), e.nobody.Age(), e.open.Age()
	switch {
	case down != 0:
		return presence.EdgeState{Listens: presence.EdgeDown, At: age.Time(down, now)}
	case e.spoke.Load() && age.Of(now)-max(heard, joined) > silentAfter:
		return presence.EdgeState{Listens: presence.EdgeDown, Silent: true, At: age.Time(heard, now)}
	case e.spoke.Load():
		return presence.EdgeState{Listens: presence.EdgeListening, At: age.Time(heard, now)}
	case nobody != 0 && (open == 0 || age.Of(now)-open < noticeTime):
		return presence.EdgeState{Listens: presence.EdgeNobody, At: age.Time(nobody, now)}
	}
	return unknown
}

// said notes that an edge lives.
func (f *Fanout) said(name string) {
	if e := f.find(name); e != nil {
		e.heard.Set(time.Now())
	}
}

// replaced says whether other edges serve the watchers behind an edge.
func (f *Fanout) replaced(name string) bool {
	e := f.find(name)
	return e != nil && e.replaced.Load()
}

// lookOnce forgets the edges that have no watchers and have not said edge.up for forgetAfter.
func (f *Fanout) lookOnce(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.edges {
		if age.Of(now)-e.heard.Age() >= forgetAfter && !f.watched(e) {
			f.forget(e)
		}
	}
}

// Down returns the edges for which nobody has listened for 10 s and more. A node notices that nobody listens only when it
// sends a message to the edge. An edge that has never said edge.up is never down.
func (f *Fanout) Down(now time.Time) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, e := range f.edges {
		if since := e.downSince.Age(); since != 0 && age.Of(now)-since >= downAfter {
			names = append(names, name)
		}
	}
	return names
}

// edgeUp handles an edge.up document: the edge lives, and says which messages it has. Nobody answers it. One that does not concern
// this node is passed over before it is read, so that a flood of them does not hold up the others.
func (b *Bus) edgeUp(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	if err == nil && edge != subject.AnyEdge && !b.cfg.Fanout.concerned(edge) {
		return
	}
	f := b.metrics.noDocument("edge_up")
	var d kazoo.EdgeUp
	if err == nil {
		d, err = kazoo.ReadEdgeUp(m.Data, edge)
	}
	if err == nil && edge == subject.AnyEdge {
		err = refuse("the edge's name is %s, which no edge may have", edge)
	}
	if b.note(m.Subject, f, err); err != nil {
		return
	}
	seen, named := d.Seen[b.cfg.Node+"/"+b.cfg.Fanout.cfg.Incarnation()]
	b.cfg.Fanout.up(edge, d.Incarnation, uint64(seen), named, d.Draining, d.PickupCookies)
}

// errReply is the error of one reply of a watcher among those that were gathered.
var errReply = refuse("a reply of a watcher can't be read, or is of an edge whose watchers others serve")

// notified handles a notified document: how the watchers behind an edge answered. Nobody answers it.
func (b *Bus) notified(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	f := b.metrics.noDocument("notified")
	var replies []kazoo.Addressed
	var wrong int
	if err == nil {
		replies, wrong, err = kazoo.ReadNotified(m.Data, edge, b.cfg.Fanout.replaced)
	}
	if b.note(m.Subject, f, err); err != nil {
		return
	}
	for range wrong {
		b.note(m.Subject, f, errReply)
	}
	b.cfg.Fanout.said(edge)
	deadline := time.Now().Add(b.cfg.Timeout)
	for _, r := range replies {
		b.cfg.Router.Go(actors.Request{To: r.To, Message: r.Event, Deadline: deadline}, func(actors.Answer) {})
	}
}
