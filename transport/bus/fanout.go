package bus

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

const (
	renotifyGap  = 10 * time.Second // how often at most an edge that misses more than is kept has all watchers told again
	idleGap      = time.Minute      // the same for an edge that this node has sent nothing
	parallelFrom = 200              // watchers from which the messages for several edges are made at the same time
)

// FanoutConfig is what a Fanout needs.
type FanoutConfig struct {
	Conn        *nats.Conn
	Prefix      subject.Prefix
	Node        string
	Incarnation func() string // of the node, fixed once the journal has started
	Version     string
	Account     func(realm string) string // the id of the account that has the realm
	Kept        int64                     // bytes that are kept for all edges to be sent again; 0: DefaultKept
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

// Fanout implements actors.Notifier. It numbers what each edge is sent and keeps the newest of it to send it again.
// Messages for one edge keep the order of the calls.
type Fanout struct {
	cfg    FanoutConfig
	sender kazoo.Sender
	inbox  string // what the subjects begin with at which NATS says that nobody listens

	// Renotify has every watcher behind an edge told its newest state. Set before Start.
	Renotify func(edge string)
	// Watched returns the edges that watchers on this node are behind. Set before Start.
	Watched func(ctx context.Context) (map[string]struct{}, error)

	replies *nats.Subscription
	cancel  context.CancelFunc
	looking sync.WaitGroup
	crowded chan struct{} // there is no room for another edge
	kept    atomic.Int64  // bytes in all rings

	mu           sync.Mutex
	edges        map[string]*edge
	forgottenSeq uint64 // the highest Edge-Seq of an edge that was forgotten
}

// edge is one receiver of NOTIFYs. Its lock is held while a message is numbered and published. Whoever holds Fanout.mu may
// take it, never the other way round.
type edge struct {
	fanout      *Fanout
	name, token string

	subject, reply string

	mu          sync.Mutex
	seq         uint64     // of the newest message
	ring        []numbered // the newest messages, oldest first
	bytes       int        // that the ring takes
	spare       []byte     // the buffer of a message that left the ring
	target      int        // bytes that one target of the last message took
	base        uint64     // what seq was when the entry was made
	spoke       bool       // it has said edge.up
	forgotten   bool       // it is not in the table any more
	incarnation string
	renotified  time.Time

	// Others read these without the lock. Times are in Unix ns.
	downSince atomic.Int64 // since when nobody listens: it gets nothing until it says edge.up; 0: somebody does
	heard     atomic.Int64 // when it spoke last, or when the entry was made
	sent      atomic.Bool  // it was sent something since the last look began
	used      atomic.Bool  // it was sent something since the last look, or had watchers then
}

type numbered struct {
	seq  uint64
	data []byte
}

// NewFanout makes a Fanout that has not started.
func NewFanout(c FanoutConfig) *Fanout {
	if c.Kept == 0 {
		c.Kept = DefaultKept
	}
	f := &Fanout{cfg: c, sender: kazoo.NewSender(c.Version, c.Node), edges: map[string]*edge{}, inbox: c.Conn.NewInbox(), crowded: make(chan struct{}, 1),
		Renotify: func(string) {}, Watched: func(context.Context) (map[string]struct{}, error) { return nil, context.Canceled }}
	gauge := func(name, help string, value func() float64) {
		c.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_" + name, Help: help}, value))
	}
	gauge("edges", "Edges that this node has sent NOTIFYs to or has heard of.", func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(len(f.edges))
	})
	gauge("edges_down", "Edges that nobody has heard for 10 s and more; their watchers are told when they are back.", func() float64 { return float64(len(f.Down(time.Now()))) })
	gauge("edge_kept_bytes", "Bytes of messages that are kept for edges to be sent again.", func() float64 { return float64(f.kept.Load()) })
	return f
}

// Start begins to listen for NATS saying that no edge takes a message, and to look for edges that are not needed.
func (f *Fanout) Start(context.Context) (err error) {
	if f.replies, err = f.cfg.Conn.Subscribe(f.inbox+".*", f.unheard); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.looking.Go(func() { f.look(ctx) })
	return nil
}

// Stop ends both.
func (f *Fanout) Stop(context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	f.looking.Wait()
	return f.replies.Unsubscribe()
}

// unheard takes NATS's word that nobody listens for an edge. An edge that never spoke may not know of edge.up at all: it
// is never marked as down.
func (f *Fanout) unheard(m *nats.Msg) {
	if m.Header.Get("Status") != "503" {
		return
	}
	name, err := subject.ParseToken(subject.Last(m.Subject))
	if err != nil {
		return
	}
	e := f.find(name)
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.spoke {
		e.downSince.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// Notify implements actors.Notifier.
func (f *Fanout) Notify(n actors.Notification) {
	buffer := heads.Get().(*[]byte)
	head := kazoo.AppendNotifyHead((*buffer)[:0], f.sender, f.cfg.Incarnation(), &n)
	defer func() { *buffer = head; heads.Put(buffer) }()
	first := n.Watchers[0].Edge()
	if !slices.ContainsFunc(n.Watchers, func(w *presence.Subscription) bool { return w.Edge() != first }) {
		f.toEdge(cmp.Or(first, subject.AnyEdge), head, &n, n.Watchers)
		return
	}
	g := groupings.Get().(*grouping)
	g.group(n.Watchers)
	if len(n.Watchers) < parallelFrom {
		for i := range g.edges {
			f.toEdge(cmp.Or(g.edges[i], subject.AnyEdge), head, &n, g.behind(i))
		}
	} else {
		var all sync.WaitGroup // each edge keeps its order, because this notification is sent to all before the next
		for i := range g.edges {
			all.Go(func() { f.toEdge(cmp.Or(g.edges[i], subject.AnyEdge), head, &n, g.behind(i)) })
		}
		all.Wait()
	}
	clear(g.watchers)
	groupings.Put(g)
}

// heads are buffers for the part of a message that all its edges get. It is copied into their messages.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// toEdge sends an edge as many messages as its watchers need.
func (f *Fanout) toEdge(name string, head []byte, n *actors.Notification, watchers []*presence.Subscription) {
	for len(watchers) > 0 {
		e := f.lock(name, true)
		b := e.buffer(128 + len(head) + min(len(watchers), kazoo.MaxTargets)*max(e.target, 200))
		b = append(b, '{')
		e.seq++
		b = appendjson.Field(b, "Msg-ID", f.cfg.Incarnation()+"-"+e.token+"-"+strconv.FormatUint(e.seq, 10))
		b = appendjson.Number(b, "Edge-Seq", int64(e.seq))
		b = append(append(b, ','), head...)
		b = append(appendjson.Key(b, "Targets"), '[')
		i := 0
		for ; i < len(watchers) && i < kazoo.MaxTargets; i++ {
			fits := len(b)
			if i > 0 {
				b = append(b, ',')
			}
			if b = kazoo.AppendTarget(b, watchers[i], n); i > 0 && len(b) > kazoo.MaxMessage-len("]}") {
				b = b[:fits]
				break
			}
		}
		b = append(b, "]}"...)
		e.target = (len(b)-len(head))/i + 8
		watchers = watchers[i:]
		e.sent.Store(true)
		e.used.Store(true)
		e.keep(numbered{e.seq, b})
		if e.downSince.Load() == 0 {
			f.send(e, b)
		}
		e.mu.Unlock()
	}
}

// send publishes a message. Its reply subject is only for NATS, which says there at once that nobody listens.
func (f *Fanout) send(e *edge, data []byte) {
	_ = f.cfg.Conn.PublishRequest(e.subject, e.reply, data)
}

// buffer is memory for a message: that of a message that left the ring, if it fits. Publishing has copied that one.
func (e *edge) buffer(size int) []byte {
	b := e.spare
	e.spare = nil
	if cap(b) < size || cap(b) > 2*size {
		b = make([]byte, 0, size)
	}
	return b[:0]
}

// keep puts a message into the ring. The oldest ones leave it past the bounds of the ring, and past the bound of all rings
// together. An edge that misses one that has left has all its watchers told again.
func (e *edge) keep(m numbered) {
	e.ring = append(e.ring, m)
	size := cap(m.data)
	e.bytes += size
	all := e.fanout.kept.Add(int64(size))
	for len(e.ring) > 0 && (len(e.ring) > ringMessages || e.bytes > ringBytes && len(e.ring) > 1 || all > e.fanout.cfg.Kept) {
		size := cap(e.ring[0].data)
		e.bytes -= size
		all = e.fanout.kept.Add(-int64(size))
		if len(e.ring) > 1 { // the message that was just added is still to be sent
			e.spare = e.ring[0].data
		}
		e.ring[0] = numbered{}
		e.ring = e.ring[1:]
	}
}

// Lamp implements actors.Notifier.
func (f *Fanout) Lamp(c actors.LampNews) {
	b := kazoo.AppendState(make([]byte, 0, 512), &c, f.cfg.Account(c.To.Realm), f.cfg.Node)
	_ = f.cfg.Conn.Publish(f.cfg.Prefix.Of(subject.State(c.To.Realm, c.To.User)), b)
}

// up takes what an edge says of itself: seen is the highest Edge-Seq up to which it misses nothing of this node, known
// says whether it has named this incarnation of the node at all. What it misses is sent again from the ring. Where that is
// not enough, all its watchers are told their newest state, at most once in renotifyGap unless the edge is a new one.
func (f *Fanout) up(name, incarnation string, seen uint64, known bool) {
	e := f.lock(name, false)
	if e == nil {
		return
	}
	first := e.seq + 1
	if len(e.ring) > 0 {
		first = e.ring[0].seq
	}
	restarted := incarnation != e.incarnation
	e.spoke, e.incarnation = true, incarnation
	e.downSince.Store(0)
	e.heard.Store(time.Now().UnixNano())
	all := !known || seen+1 < first || seen > e.seq
	if !all {
		for _, m := range e.ring {
			if m.seq > seen {
				f.send(e, m.data)
			}
		}
	}
	gap := renotifyGap
	if e.seq == e.base { // most likely nobody here is behind it: all watchers would be looked at for nothing
		gap = idleGap
	}
	all = all && (restarted || time.Since(e.renotified) > gap)
	if all {
		e.renotified = time.Now()
	}
	e.mu.Unlock()
	if all {
		f.Renotify(name)
	}
}
