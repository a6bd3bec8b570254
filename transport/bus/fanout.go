package bus

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// Bounds of the fan-out.
const (
	ringEntries = 4096
	ringBytes   = 8 << 20
	maxEdges    = 4096
	renotifyGap = 10 * time.Second
	lookGap     = time.Minute
)

var errEdges = fmt.Errorf("there are %d edges already; no subscription behind another one is taken", maxEdges)

// FanoutConfig is what a Fanout needs.
type FanoutConfig struct {
	Conn        *nats.Conn
	Prefix      subject.Prefix
	Node        string
	Incarnation func() string
	Version     string
	Account     func(realm string) string // account id of a realm
	Log         *slog.Logger
}

// Fanout implements actors.Notifier: it numbers what each edge is sent and keeps the newest of it to send again.
// Messages to one edge keep their order.
type Fanout struct {
	cfg      FanoutConfig
	sender   kazoo.Sender
	Renotify func(edge string) // tells every watcher behind the edge its newest state
	inbox    string
	replies  *nats.Subscription
	mu       sync.Mutex
	edges    map[string]*edge
}

// edge is one receiver of NOTIFYs. Its lock is held while a message is numbered and published.
type edge struct {
	mu          sync.Mutex
	name, token string

	subject, reply string
	seq            uint64
	ring           []numbered
	bytes          int    // that the ring takes
	spare          []byte // the buffer of a message that the ring gave up
	target         int    // bytes that one target took last
	spoke, down    bool
	dropped        bool // from the table: another one has its name
	incarnation    string
	renotified     time.Time
}

type numbered struct {
	seq  uint64
	data []byte
}

// NewFanout makes a Fanout that has not started.
func NewFanout(c FanoutConfig) *Fanout {
	f := &Fanout{cfg: c, sender: kazoo.NewSender(c.Version, c.Node), edges: map[string]*edge{}, inbox: c.Conn.NewInbox(), Renotify: func(string) {}}
	return f
}

// Start begins to listen for NATS saying that no edge takes a message.
func (f *Fanout) Start(context.Context) (err error) {
	f.replies, err = f.cfg.Conn.Subscribe(f.inbox+".*", func(m *nats.Msg) {
		if m.Header.Get("Status") != "503" {
			return
		}
		name, err := subject.ParseToken(subject.Last(m.Subject))
		if err != nil {
			return
		}
		if e := f.lock(name); e != nil {
			e.down = e.spoke
			e.mu.Unlock()
		}
	})
	return err
}

// Stop stops listening.
func (f *Fanout) Stop(context.Context) error {
	if f.replies == nil {
		return nil
	}
	return f.replies.Unsubscribe()
}

func (f *Fanout) edge(name string) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.edges[name]
	if e == nil {
		if len(f.edges) >= maxEdges && !f.makeRoom() {
			return nil
		}
		e = &edge{name: name, token: subject.Token(name)}
		e.subject, e.reply = f.cfg.Prefix.Of(subject.Notify(name)), f.inbox+"."+e.token
		f.edges[name] = e
	}
	return e
}

// makeRoom forgets an edge that was never sent anything. The lock is held.
func (f *Fanout) makeRoom() bool {
	for name, e := range f.edges {
		e.mu.Lock()
		e.dropped = e.seq == 0
		e.mu.Unlock()
		if e.dropped {
			delete(f.edges, name)
			return true
		}
	}
	return false
}

// lock finds an edge and takes its lock; nil when there is no room for it.
func (f *Fanout) lock(name string) *edge {
	for {
		e := f.edge(name)
		if e == nil {
			return nil
		}
		if e.mu.Lock(); !e.dropped {
			return e
		}
		e.mu.Unlock()
	}
}

// room says whether the edge can be sent anything.
func (f *Fanout) room(name string) bool { return f.edge(name) != nil }

// Notify implements actors.Notifier.
func (f *Fanout) Notify(n actors.Notification) {
	room := heads.Get().(*[]byte)
	head := kazoo.AppendNotifyHead((*room)[:0], f.sender, f.cfg.Incarnation(), &n)
	defer func() { *room = head; heads.Put(room) }()
	first := n.Watchers[0].Edge()
	if !slices.ContainsFunc(n.Watchers, func(w *presence.Subscription) bool { return w.Edge() != first }) {
		f.toEdge(cmp.Or(first, subject.AnyEdge), head, &n, n.Watchers)
		return
	}
	g := groups.Get().(*grouping)
	g.group(n.Watchers)
	if len(n.Watchers) < abreast {
		for i := range g.edges {
			f.toEdge(cmp.Or(g.edges[i], subject.AnyEdge), head, &n, g.behind(i))
		}
	} else {
		var all sync.WaitGroup // each edge keeps its order, as this notification is sent to all before the next
		for i := range g.edges {
			all.Go(func() { f.toEdge(cmp.Or(g.edges[i], subject.AnyEdge), head, &n, g.behind(i)) })
		}
		all.Wait()
	}
	clear(g.watchers)
	groups.Put(g)
}

// grouping is watchers by edge.
type grouping struct {
	edges    []string       // in the order in which they came up
	at       map[string]int // of the edges, where there are many
	of       []int          // each watcher's edge
	end      []int          // of each edge's watchers
	watchers []*presence.Subscription
}

var groups = sync.Pool{New: func() any { return &grouping{at: map[string]int{}} }}

// few is up to how many edges looking at each is faster than a map.
const few = 8

func (g *grouping) group(watchers []*presence.Subscription) {
	g.edges, g.of, g.end = g.edges[:0], g.of[:0], g.end[:0]
	clear(g.at)
	for _, w := range watchers {
		i := g.edge(w.Edge())
		g.of, g.end[i] = append(g.of, i), g.end[i]+1
	}
	begin := 0
	for i, count := range g.end {
		g.end[i] = begin
		begin += count
	}
	g.watchers = slices.Grow(g.watchers[:0], len(watchers))[:len(watchers)]
	for k, w := range watchers {
		i := g.of[k]
		g.watchers[g.end[i]] = w
		g.end[i]++
	}
}

func (g *grouping) edge(name string) int {
	if i := slices.Index(g.edges[:min(len(g.edges), few)], name); i >= 0 {
		return i
	}
	i, ok := g.at[name]
	if !ok {
		i = len(g.edges)
		g.edges, g.end = append(g.edges, name), append(g.end, 0)
		if i >= few {
			g.at[name] = i
		}
	}
	return i
}

// behind is the watchers behind the i-th edge.
func (g *grouping) behind(i int) []*presence.Subscription {
	if i == 0 {
		return g.watchers[:g.end[0]]
	}
	return g.watchers[g.end[i-1]:g.end[i]]
}

// abreast is from how many watchers on the messages for several edges are made side by side.
const abreast = 200

// heads are buffers to make heads in: each is copied into the messages of its edges.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

func (f *Fanout) toEdge(name string, head []byte, n *actors.Notification, watchers []*presence.Subscription) {
	for len(watchers) > 0 {
		e := f.lock(name)
		if e == nil {
			f.cfg.Log.Error("too many edges; a NOTIFY is not sent", "edges", maxEdges)
			return
		}
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
		e.keep(numbered{e.seq, b})
		if !e.down {
			f.send(e, b)
		}
		e.mu.Unlock()
	}
}

func (f *Fanout) send(e *edge, data []byte) {
	_ = f.cfg.Conn.PublishRequest(e.subject, e.reply, data)
}

// buffer is room for a message, most often where one was that the ring gave up: publishing copied it.
func (e *edge) buffer(size int) []byte {
	b := e.spare
	e.spare = nil
	if cap(b) < size || cap(b) > 2*size {
		b = make([]byte, 0, size)
	}
	return b[:0]
}

func (e *edge) keep(m numbered) {
	e.ring = append(e.ring, m)
	e.bytes += cap(m.data)
	for len(e.ring) > 1 && (len(e.ring) > ringEntries || e.bytes > ringBytes) {
		e.bytes -= cap(e.ring[0].data)
		e.spare = e.ring[0].data
		e.ring[0] = numbered{}
		e.ring = e.ring[1:]
	}
}

// Lamp implements actors.Notifier.
func (f *Fanout) Lamp(c actors.LampNews) {
	b := kazoo.AppendState(make([]byte, 0, 512), &c, f.cfg.Account(c.To.Realm), f.cfg.Node)
	_ = f.cfg.Conn.Publish(f.cfg.Prefix.Of(subject.State(c.To.Realm, c.To.User)), b)
}

// up is what an edge says of itself: seen is the highest number up to which it misses nothing of ours.
func (f *Fanout) up(name, incarnation string, seen uint64, known bool) {
	e := f.lock(name)
	if e == nil {
		return
	}
	first := e.seq + 1
	if len(e.ring) > 0 {
		first = e.ring[0].seq
	}
	again := incarnation != e.incarnation
	e.spoke, e.down, e.incarnation = true, false, incarnation
	all := !known || seen+1 < first || seen > e.seq
	if !all {
		for _, m := range e.ring {
			if m.seq > seen {
				f.send(e, m.data)
			}
		}
	}
	gap := renotifyGap
	if e.seq == 0 { // most likely nobody here is behind it: a look at all watchers for nothing
		gap = lookGap
	}
	all = all && (again || time.Since(e.renotified) > gap)
	if all {
		e.renotified = time.Now()
	}
	e.mu.Unlock()
	if all {
		f.Renotify(name)
	}
}
