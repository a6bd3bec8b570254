package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/age"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

const (
	renotifyGap  = 10 * time.Second // the time between two rounds in which all watchers behind an edge are told again, if it goes on
	spareRounds  = 3                // rounds that may come sooner, so that one that nobody needed does not put off the next
	roundGap     = time.Second      // the least time between two rounds
	resendGap    = time.Second      // the least time after which a message is sent again once more
	parallelFrom = 200              // the number of watchers from which on each edge's messages are made on a goroutine of their own
)

// FanoutConfig is what a Fanout needs. All fields but Prefix and Kept must be set.
type FanoutConfig struct {
	Conn        *nats.Conn
	Prefix      subject.Prefix
	Node        string                    // the node's name
	Incarnation func() string             // of the node; it does not change once the journal has started
	Version     string                    // App-Version of the messages
	Account     func(realm string) string // the id of the account that has the realm, "" if none has; it must not wait
	Kept        int64                     // bytes of messages kept for all edges, to be sent again; 0: DefaultKept
	Log         *slog.Logger
	Registerer  prometheus.Registerer
}

// Fanout implements actors.Notifier. It numbers the messages to each edge (Edge-Seq) and keeps the newest of them in a ring,
// to send them again when the edge missed them. It delivers a message at least once to an edge that says edge.up regularly:
// a message that has left the ring is made good by telling all watchers behind the edge their newest state.
//
// Messages to one edge leave in the order of their numbers. Two notifications that are made one after the other, the second
// when the first call of Notify has returned, get their numbers in that order. A message that is sent again may arrive
// behind a newer one.
//
// Its methods may be called from any goroutine. They may wait for NATS's client to write to the socket, and for another
// goroutine that publishes to the same edge.
type Fanout struct {
	cfg    FanoutConfig
	sender kazoo.Sender
	inbox  string // the first part of the reply subjects; NATS says there that nobody listens for an edge

	// Renotify tells every watcher behind an edge its newest state. It must not wait. Set it before Start.
	Renotify func(edge string)
	// EndTied ends the subscriptions behind an edge that are tied to its connections. It must not wait. Set it before Start.
	EndTied func(edge string)
	// LocalName is the name of the edge inside this node, and Local takes what its watchers are told, without NATS. Local must not
	// wait, and may read the notification and the watchers only until it returns. nil: there is no such edge. Set both before Start.
	LocalName string
	Local     func(n *actors.Notification, watchers []*presence.Subscription)
	// Watches says whether watchers on this node are behind an edge; "" is the edge of those that name none. It must not
	// wait, and it must not call the Fanout. Set it before Start.
	Watches func(edge string) bool

	log      *slog.Logger // limited
	tooLarge prometheus.Counter

	replies *nats.Subscription
	cancel  context.CancelFunc
	looking sync.WaitGroup
	kept    atomic.Int64 // bytes in all rings
	joined  age.Mark     // since then the node hears what edges say, because its connection stands

	mu           sync.Mutex
	edges        map[string]*edge // by name
	forgottenSeq uint64           // the highest Edge-Seq of all edges that were forgotten
}

// edge is one receiver of NOTIFY messages. Its lock is held while a message is numbered and published. A goroutine that holds
// Fanout.mu may take the lock of an edge. A goroutine that holds the lock of an edge must not take Fanout.mu.
type edge struct {
	fanout         *Fanout
	name, token    string // token: the name as a subject has it
	subject, reply string // of its messages

	mu          sync.Mutex
	seq         uint64     // Edge-Seq of the newest message
	ring        []numbered // the newest messages, oldest first
	bytes       int        // memory that the messages in the ring take
	spare       []byte     // the buffer of a message that left the ring, to be used again
	target      int        // bytes that one target of the last message took
	first       uint64     // the lowest Edge-Seq that the edge needs
	forgotten   bool       // it is no longer in the table
	incarnation string     // of its last edge.up
	renotified  time.Time  // when all watchers behind it were last told again
	paidUntil   time.Time  // the time for which rounds have been used up: each uses up renotifyGap
	cookies     bool       // it wants pickup cookies with its messages
	owed        bool       // all watchers behind it must be told again, whatever it says next
	resent      time.Time  // when messages of the ring were last sent again
	resentTo    uint64     // the highest Edge-Seq of these
	drained     time.Time  // when the subscriptions that are tied to its connections were last ended

	// Other goroutines read these without the lock.
	downSince age.Mark    // when NATS first said that nobody listens; messages are only kept until the next edge.up; not set: not down
	heard     age.Mark    // when it last said edge.up or notified, or when the entry was made
	spoke     atomic.Bool // it has said edge.up, or does so because it is a SIP edge of Lamplight's
	replaced  atomic.Bool // it is down, and its messages go to lamplight.notify.any; none is kept
	nobody    age.Mark    // of an edge that has not spoken: when NATS last said that nobody listens
	open      age.Mark    // after nobody: when the first message was sent of which NATS has not said so; not set: it said so of the newest
}

// numbered is a message in a ring.
type numbered struct {
	seq  uint64
	data []byte
}

// NewFanout makes a Fanout and registers its metrics. It starts nothing.
func NewFanout(c FanoutConfig) *Fanout {
	if c.Kept == 0 {
		c.Kept = DefaultKept
	}
	f := &Fanout{cfg: c, sender: kazoo.NewSender(c.Version, c.Node), edges: map[string]*edge{}, inbox: c.Conn.NewInbox(),
		Renotify: func(string) {}, EndTied: func(string) {}, Watches: func(string) bool { return true }, log: loglimit.Limit(c.Log).With("part", "fan-out"),
		tooLarge: prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_notify_too_large_total",
			Help: "Messages for watchers that are larger than the NATS server carries, and are lost. Raise its max_payload."})}
	c.Registerer.MustRegister(f.tooLarge)
	gauge := func(name, help string, value func() float64) {
		c.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_" + name, Help: help}, value))
	}
	gauge("edges", "Edges that this node knows: it sent them NOTIFY messages, or they have watchers here and said edge.up.", func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(len(f.edges))
	})
	gauge("edges_down", "Edges for which nobody has listened for 10 s and more. Their watchers are told when the edge is back.",
		func() float64 { return float64(len(f.Down(time.Now()))) })
	gauge("edge_kept_bytes", "Memory of the messages that are kept to be sent to edges again, in bytes; --edge-memory bounds it.",
		func() float64 { return float64(f.kept.Load()) })
	return f
}

// Start subscribes to the reply subjects, and starts the goroutine that forgets edges without watchers.
func (f *Fanout) Start(context.Context) (err error) {
	if f.replies, err = f.cfg.Conn.Subscribe(f.inbox+".>", f.nobodyListens); err != nil {
		return err
	}
	f.joined.Set(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.looking.Go(func() { f.look(ctx) })
	return nil
}

// Stop ends both. Notify and Lamp still work after it.
func (f *Fanout) Stop(context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	f.looking.Wait()
	return f.replies.Unsubscribe()
}

// nobodyListens handles NATS's answer to a message that no subscription took: it marks the edge as down. An edge that has
// never said edge.up would never be marked as up again, so it is not marked: it is only noted that nobody took that message.
func (f *Fanout) nobodyListens(m *nats.Msg) {
	if m.Header.Get("Status") != "503" {
		return
	}
	token, number, numbered := strings.Cut(strings.TrimPrefix(m.Subject, f.inbox+"."), ".")
	name, err := subject.ParseToken(token)
	if err != nil {
		return
	}
	e := f.find(name)
	if e == nil {
		return
	}
	if !numbered {
		e.downSince.SetFirst(time.Now())
		return
	}
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || e.spoke.Load() { // it was sent before the edge said edge.up
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.nobody.Set(now)
	if seq == e.seq {
		e.open.Clear()
	} else {
		e.open.Set(now)
	}
}

// Notify implements actors.Notifier. It returns when all messages are published.
func (f *Fanout) Notify(n actors.Notification) {
	if f.Local != nil && !slices.ContainsFunc(n.Watchers, func(w *presence.Subscription) bool { return w.Edge() != f.LocalName }) {
		f.Local(&n, n.Watchers)
		return
	}
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
		// Each goroutine serves one edge, and Notify waits for all of them before the shard's next notification. So each
		// edge still gets the notifications of a shard in their order.
		var all sync.WaitGroup
		for i := range g.edges {
			all.Go(func() { f.toEdge(cmp.Or(g.edges[i], subject.AnyEdge), head, &n, g.behind(i)) })
		}
		all.Wait()
	}
	clear(g.watchers)
	groupings.Put(g)
}

// heads are buffers for the part of a notification that is the same for all edges. toEdge copies it into each message.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// toEdge sends an edge one notification, in as many messages as its watchers need, or hands it to the edge inside this node. It takes the edge's lock for one message at
// a time.
func (f *Fanout) toEdge(name string, head []byte, n *actors.Notification, watchers []*presence.Subscription) {
	if f.Local != nil && name == f.LocalName {
		f.Local(n, watchers)
		return
	}
	for len(watchers) > 0 {
		e := f.lock(name)
		if !e.spoke.Load() && name != subject.AnyEdge { // a node that took shards over of one that is gone has perhaps not heard that one's edge
			_, own := presence.Tied(watchers[0].ProxyRoute)
			e.spoke.Store(own)
		}
		replaced := e.replaced.Load()
		b := e.buffer(128 + len(head) + min(len(watchers), kazoo.MaxTargets)*max(e.target, 200))
		b = append(b, '{')
		e.seq++
		b = appendjson.Field(b, "Msg-ID", f.cfg.Incarnation()+"-"+e.token+"-"+strconv.FormatUint(e.seq, 10))
		b = appendjson.Number(b, "Edge-Seq", int64(e.seq))
		b = appendjson.Number(b, "Edge-First", int64(e.first))
		if replaced {
			b = appendjson.Field(b, "Edge", name)
		}
		b = append(append(b, ','), head...)
		if e.cookies {
			b = kazoo.AppendPickupCookies(b, n)
		}
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
		if replaced {
			topic := f.cfg.Prefix.Of(subject.Notify(subject.AnyEdge))
			f.lost(f.cfg.Conn.Publish(topic, b), topic, len(b))
		} else if e.keep(numbered{e.seq, b}); e.downSince.Age() == 0 {
			f.send(e, numbered{e.seq, b})
		}
		e.mu.Unlock()
	}
}

// send publishes a message to an edge. Its reply subject is for the NATS server, which answers there at once when nobody
// listens. An error is not handled: the message is in the ring, and the edge asks for what it misses. One that NATS never carries is
// logged. The caller holds e.mu.
func (f *Fanout) send(e *edge, m numbered) {
	reply := e.reply
	if !e.spoke.Load() { // it matters which message nobody took: the edge may listen by the next one, and does not say so
		reply += "." + strconv.FormatUint(m.seq, 10)
		if e.nobody.Age() != 0 {
			e.open.SetFirst(time.Now())
		}
	}
	f.lost(f.cfg.Conn.PublishRequest(e.subject, reply, m.data), e.subject, len(m.data))
}

// lost logs and counts a message that is larger than the NATS server carries. Other errors pass with the connection's trouble.
func (f *Fanout) lost(err error, topic string, size int) {
	if errors.Is(err, nats.ErrMaxPayload) {
		f.tooLarge.Inc()
		f.log.Error("a message for watchers is larger than the NATS server carries, and is lost; raise the server's max_payload",
			"subject", topic, "bytes", size, "max_payload", f.cfg.Conn.MaxPayload(), "needed", subject.MinPayload)
	}
}

// buffer returns an empty buffer for a message of about size bytes. It uses the buffer of the message that last left the ring,
// if that is neither too small nor much too large; the connection has its own copy of that message.
func (e *edge) buffer(size int) []byte {
	b := e.spare
	e.spare = nil
	if cap(b) < size || cap(b) > 2*size {
		b = make([]byte, 0, size)
	}
	return b[:0]
}

// keep puts a message into the ring. The oldest messages leave the ring when it is past its bounds, or when all rings together
// are past theirs. When an edge misses a message that has left, all its watchers are told again.
func (e *edge) keep(m numbered) {
	e.ring = append(e.ring, m)
	size := cap(m.data)
	e.bytes += size
	all := e.fanout.kept.Add(int64(size))
	for len(e.ring) > 0 && (len(e.ring) > ringMessages || e.bytes > ringBytes && len(e.ring) > 1 || all > e.fanout.cfg.Kept) {
		size := cap(e.ring[0].data)
		e.bytes -= size
		all = e.fanout.kept.Add(-int64(size))
		if len(e.ring) > 1 { // not the message that was just added: it is sent after this
			e.spare = e.ring[0].data
		}
		e.ring[0] = numbered{}
		e.ring = e.ring[1:]
	}
}

// dropRing forgets the messages that are kept. The caller holds e.mu.
func (e *edge) dropRing() {
	e.fanout.kept.Add(-int64(e.bytes))
	e.ring, e.bytes = nil, 0
}

// Lamp implements actors.Notifier. The state feed is best effort: NATS drops what nobody listens for, and nothing is sent again.
func (f *Fanout) Lamp(c actors.LampNews) {
	b := kazoo.AppendState(make([]byte, 0, 512), &c, f.cfg.Account(c.To.Realm), f.cfg.Node)
	topic := f.cfg.Prefix.Of(subject.State(c.To.Realm, c.To.User))
	f.lost(f.cfg.Conn.Publish(topic, b), topic, len(b))
}

// Watched says on lamplight.watched that an extension has its first watcher of an event package (docs/contract/nats.md, "First watchers").
func (f *Fanout) Watched(to actors.Address, p presence.Package) {
	b := kazoo.AppendWatched(make([]byte, 0, 256), to, p, f.cfg.Node)
	topic := f.cfg.Prefix.Of(subject.Watched(p.String(), to.Realm, to.User))
	f.lost(f.cfg.Conn.Publish(topic, b), topic, len(b))
}

// up handles an edge.up. An edge that was started again, and names nothing that it has seen, needs none of the messages that
// are kept: it begins with the next one. The edge misses no message of this node up to the Edge-Seq seen; named says whether it
// named this incarnation of the node at all. up sends again what the edge misses, from the ring, a message at most once in
// resendGap. When the ring does not hold all of it, all watchers behind the edge are told their newest state: at most once in
// renotifyGap, and spareRounds more, at least roundGap apart. What is put off comes with a later edge.up, whatever that says, and
// the edge says edge.up regularly. An edge that others have served begins anew as well: the phones know more than the edge does.
//
// An edge that is draining is about to stop: the subscriptions that are tied to its connections end, and nobody is told anew.
func (f *Fanout) up(name, incarnation string, seen uint64, named, draining, cookies bool) {
	e := f.lock(name)
	now := time.Now()
	first := e.seq + 1
	if len(e.ring) > 0 {
		first = e.ring[0].seq
	}
	restarted := incarnation != e.incarnation
	if cookies && !e.cookies { // its watchers were told without them
		e.owed = true
	}
	e.incarnation, e.cookies = incarnation, cookies
	e.spoke.Store(true)
	e.downSince.Clear()
	e.nobody.Clear()
	e.open.Clear()
	e.heard.Set(now)
	replaced := e.replaced.Swap(false)
	if replaced {
		f.log.Info("an edge that was down is back, and all its watchers are told their newest state", "edge", name)
	}
	if replaced || restarted && !named { // all that this edge has to know comes as newest states: the messages of before are of no use
		e.first = e.seq + 1
		e.dropRing()
	}
	seen = max(seen, e.first-1)
	all := !named || seen+1 < first || seen > e.seq || replaced
	local := f.Local != nil && name == f.LocalName
	if local { // it is told by calls, of which none is lost, and so it never names this node
		all = restarted
	}
	if all && (named || restarted || replaced) { // what the edge missed is gone, and its next edge.up need not show that
		e.owed = true
	}
	if !all && !local {
		f.sendAgain(e, seen, now)
	}
	round := !draining && (all || e.owed) && f.Watches(name) && e.mayTellAll(now)
	if round {
		e.owed = false
	}
	ends := draining && now.Sub(e.drained) >= roundGap
	if ends {
		e.drained = now
	}
	e.mu.Unlock()
	if round {
		f.Renotify(name)
	}
	if ends {
		f.EndTied(name)
	}
}

// mayTellAll says whether all watchers behind the edge may be told again now, and notes that they are. The caller holds e.mu.
func (e *edge) mayTellAll(now time.Time) bool {
	if now.Sub(e.renotified) < roundGap || e.paidUntil.Sub(now) > spareRounds*renotifyGap {
		return false
	}
	if e.renotified = now; e.paidUntil.Before(now) {
		e.paidUntil = now
	}
	e.paidUntil = e.paidUntil.Add(renotifyGap)
	return true
}

// sendAgain sends an edge the messages of its ring above an Edge-Seq, without those that were sent again a moment ago. The caller
// holds e.mu.
func (f *Fanout) sendAgain(e *edge, above uint64, now time.Time) {
	if now.Sub(e.resent) < resendGap {
		above = max(above, e.resentTo)
	} else {
		e.resentTo = 0
	}
	for _, m := range e.ring {
		if m.seq > above {
			f.send(e, m)
			e.resent, e.resentTo = now, m.seq
		}
	}
}
