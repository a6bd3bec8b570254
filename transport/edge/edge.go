// Package edge does what every edge must do towards the nodes (docs/contract/nats.md, "Writing an edge"). It takes the NOTIFY
// messages for the watchers behind the edge. It notices when a message is missing and has it sent again. It drops messages
// that come twice, and messages of nodes that no longer own the shard. It tells the nodes that the edge lives, and how the
// watchers answered. The user of the package decides what to do with a message: a SIP edge sends NOTIFY requests to phones,
// the load generator measures.
//
// The package does not remember what each watcher was told. A message that was sent again may be older than one that came
// before it. So an edge that sends to phones must itself drop a target whose Sequence is not above the last one that it sent
// for the same subscription and Epoch.
package edge

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

const (
	upEvery    = 5 * time.Second        // how often an edge says edge.up
	upAtMost   = 100 * time.Millisecond // the least time between an edge.up and the next one that reports a gap
	gatherTime = 50 * time.Millisecond  // how long replies of watchers are gathered, and how soon a gap is reported that could not be reported at once
	flushTime  = 10 * time.Second       // how long Start waits for the NATS server to know the subscription
)

// Message is one NOTIFY message.
type Message struct {
	*kazoo.Notify
	// Repeated says that a message with a higher Edge-Seq of the same node came before this one: the node has sent this one
	// again, and it may be older than what the watchers were told meanwhile.
	Repeated bool
}

// Config is what an Edge needs. Conn, Name and Handle must be set.
type Config struct {
	Conn   *nats.Conn     // it should reconnect for ever and keep nothing back meanwhile, as one of client.Connect does
	Prefix subject.Prefix // of the installation; "": none
	Name   string         // the Server-ID of the subscriptions of the watchers behind the edge
	// Incarnation names this start of the edge; "": a random one. When the nodes hear of another incarnation than before,
	// they send the newest state of all watchers behind the edge.
	Incarnation string
	// Handle is called for each message, one at a time and in the order in which they arrive. It is not called for
	// duplicates and for messages of nodes that no longer own the shard. Each message that a node still keeps arrives in the
	// end. When Handle is too slow NATS drops messages, which the Edge then has sent again.
	Handle func(Message)
	// StandIn has the Edge also take messages for watchers behind edges that are down, as one of those that do so together: each message
	// goes to one of them. Edge of the message is the name of the edge that is down, and the reply to it names it in For. Handle is then
	// also called while it handles another message. It must leave out the targets that cannot be reached from here.
	StandIn bool
	// PickupCookies says that the messages are to have the pickup cookies of calls (docs/contract/sip.md, "Pickup cookies").
	PickupCookies bool
	// Unreadable is called for each message that could not be read; nil: such messages are dropped.
	Unreadable func(data []byte, err error)
}

// Counts are the messages that an Edge has dropped since it started.
type Counts struct {
	Duplicates int64 // messages that had come before
	Fenced     int64 // messages of nodes that no longer own the shard
}

// Edge is the NATS side of one edge. Its methods may be called from any goroutine, also from Handle, but for Start and Stop.
// They may wait for NATS's client to write to the socket.
type Edge struct {
	cfg          Config
	subscription *nats.Subscription
	others       *nats.Subscription // with StandIn: messages for watchers behind edges that are down
	cancel       context.CancelFunc
	done         sync.WaitGroup
	soon         chan struct{} // asks run to send what is gathered gatherTime later

	mu      sync.Mutex // held while an edge.up is published
	sources sources
	owners  map[int64]claim          // the newest claim that was heard of, by shard
	replies map[string][]kazoo.Reply // gathered and not sent, by node
	drains  bool                     // Drain was called
	gap     bool                     // a message is missing, and no edge.up has reported it
	upAt    time.Time                // of the last edge.up
	counts  Counts
}

// claim is a node's claim of a shard, as its messages carry it.
type claim struct {
	epoch      time.Time
	generation int64
}

// older says whether c was made before than.
func (c claim) older(than claim) bool {
	return c.epoch.Before(than.epoch) || c.epoch.Equal(than.epoch) && c.generation < than.generation
}

// New makes an Edge. It starts nothing.
func New(c Config) *Edge {
	if c.Incarnation == "" {
		c.Incarnation = rand.Text()
	}
	return &Edge{cfg: c, sources: sources{}, owners: map[int64]claim{}, replies: map[string][]kazoo.Reply{}, soon: make(chan struct{}, 1)}
}

// Start subscribes to the messages and says edge.up. It waits until the NATS server knows the subscription: messages from then
// on arrive.
func (e *Edge) Start(ctx context.Context) (err error) {
	if e.subscription, err = e.cfg.Conn.Subscribe(e.cfg.Prefix.Of(subject.Notify(e.cfg.Name)), func(m *nats.Msg) { e.Hear(m.Data) }); err != nil {
		return err
	}
	_ = e.subscription.SetPendingLimits(-1, 256<<20)
	if e.cfg.StandIn {
		if e.others, err = e.cfg.Conn.QueueSubscribe(e.cfg.Prefix.Of(subject.Notify(subject.AnyEdge)), subject.Queue, func(m *nats.Msg) { e.hearOthers(m.Data) }); err != nil {
			return err
		}
	}
	e.sendUp()
	run, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	reconnected := e.cfg.Conn.StatusChanged(nats.CONNECTED)
	e.done.Go(func() {
		defer e.cfg.Conn.RemoveStatusListener(reconnected)
		e.run(run, reconnected)
	})
	soon, stop := context.WithTimeout(ctx, flushTime)
	defer stop()
	return e.cfg.Conn.FlushWithContext(soon)
}

// Drain tells the nodes that the edge is about to stop, if connected is true: watchers are on connections to it. The nodes then end the
// subscriptions that are tied to these, as deactivated, and their last NOTIFYs come as messages. From then on other edges take the
// messages for watchers behind edges that are down. Call Stop after it.
func (e *Edge) Drain(connected bool) {
	if e.others != nil {
		_ = e.others.Drain()
		e.others = nil
	}
	if !connected {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drains = true
	e.sendUpLocked(time.Now())
}

// Stop takes no more messages and sends the replies that were gathered. One call of Handle may still be under way when it
// returns. Stop does nothing if Start was not called.
func (e *Edge) Stop(context.Context) error {
	if e.cancel == nil {
		return nil
	}
	e.Drain(false)
	err := e.subscription.Unsubscribe()
	e.cancel()
	e.done.Wait()
	e.sendReplies()
	return err
}

// Counts returns the messages that were dropped so far.
func (e *Edge) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// run says edge.up regularly and sends gathered replies, until ctx ends.
func (e *Edge) run(ctx context.Context, reconnected <-chan nats.Status) {
	up := time.NewTicker(upEvery)
	defer up.Stop()
	var gathered <-chan time.Time // nil: nothing is gathered
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-reconnected: // messages were lost while there was no connection
			if !ok {
				reconnected = nil
				continue
			}
			e.sendUp()
		case <-up.C:
			e.sendUp()
		case <-e.soon:
			if gathered == nil {
				gathered = time.After(gatherTime)
			}
		case now := <-gathered:
			gathered = nil
			e.sendReplies()
			e.mu.Lock()
			e.reportGapLocked(now)
			e.mu.Unlock()
		}
	}
}

// sendUp says edge.up: the edge lives, and which messages it has.
func (e *Edge) sendUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sendUpLocked(time.Now())
}

// sendUpLocked is sendUp for a caller that holds e.mu.
func (e *Edge) sendUpLocked(now time.Time) {
	e.upAt, e.gap = now, false
	d := kazoo.EdgeUp{Edge: e.cfg.Name, Incarnation: e.cfg.Incarnation, Seen: e.sources.report(now), Draining: e.drains, PickupCookies: e.cfg.PickupCookies}
	_ = e.cfg.Conn.Publish(e.cfg.Prefix.Of(subject.EdgeUp(e.cfg.Name)), d.Append(nil))
}

// reportGapLocked says edge.up if a message is missing and no edge.up has reported it, but not too often. The caller holds e.mu.
func (e *Edge) reportGapLocked(now time.Time) {
	switch {
	case !e.gap:
	case now.Sub(e.upAt) > upAtMost:
		e.sendUpLocked(now)
	default:
		e.sendSoon()
	}
}

// sendSoon has run send the replies that are gathered, and report a gap, gatherTime later.
func (e *Edge) sendSoon() {
	select {
	case e.soon <- struct{}{}:
	default: // run has not taken the last one yet
	}
}

// hearOthers handles one message for watchers behind another edge, which is down. Those for watchers that name no edge are passed over.
// No such message comes twice, and none can be asked for again.
func (e *Edge) hearOthers(data []byte) {
	n, err := kazoo.ReadNotify(data)
	if err != nil || n.Edge == "" {
		return
	}
	e.mu.Lock()
	ok := e.currentLocked(n)
	e.mu.Unlock()
	if ok {
		e.cfg.Handle(Message{Notify: n})
	}
}

// Hear handles one message, as Start makes the goroutine of the subscription do for each that arrives. It is exported for tests
// and benchmarks that have no connection.
func (e *Edge) Hear(data []byte) {
	n, err := kazoo.ReadNotify(data)
	if err != nil {
		if e.cfg.Unreadable != nil {
			e.cfg.Unreadable(data, err)
		}
		return
	}
	if repeated, ok := e.accept(n, time.Now()); ok {
		e.cfg.Handle(Message{Notify: n, Repeated: repeated})
	}
}

// accept notes a message. ok is false for a message that must be dropped.
func (e *Edge) accept(n *kazoo.Notify, now time.Time) (repeated, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.sources.note(n.Node+"/"+n.Incarnation, n.EdgeSeq, n.EdgeFirst, now)
	e.gap = e.gap || a.gap
	e.reportGapLocked(now)
	if a.duplicate {
		e.counts.Duplicates++
		return true, false
	}
	return a.repeated, e.currentLocked(n)
}

// currentLocked says whether the node of a message still owns the shard, as far as messages have said. The caller holds e.mu.
func (e *Edge) currentLocked(n *kazoo.Notify) bool {
	c := claim{n.Epoch, n.Generation}
	if c.older(e.owners[n.Shard]) {
		e.counts.Fenced++
		return false
	}
	e.owners[n.Shard] = c
	return true
}

// Reply tells a node how a watcher answered a NOTIFY. node is the Node of the message. Replies are gathered for 50 ms, or until
// there are kazoo.MaxReplies of them, and sent in one document. Delivery is best effort: when a reply is lost, listings show
// that the watcher has not replied.
func (e *Edge) Reply(node string, r kazoo.Reply) {
	e.mu.Lock()
	e.replies[node] = append(e.replies[node], r)
	all := e.replies[node]
	full := len(all) >= kazoo.MaxReplies
	if full {
		delete(e.replies, node)
	}
	e.mu.Unlock()
	switch {
	case full:
		e.send(node, all)
	case len(all) == 1:
		e.sendSoon()
	}
}

// sendReplies sends all gathered replies.
func (e *Edge) sendReplies() {
	e.mu.Lock()
	all := e.replies
	if len(all) == 0 {
		e.mu.Unlock()
		return
	}
	e.replies = map[string][]kazoo.Reply{}
	e.mu.Unlock()
	for node, replies := range all {
		e.send(node, replies)
	}
}

// send publishes replies to a node.
func (e *Edge) send(node string, replies []kazoo.Reply) {
	_ = e.cfg.Conn.Publish(e.cfg.Prefix.Of(subject.Notified(node, e.cfg.Name)), kazoo.AppendNotified(nil, e.cfg.Name, replies))
}

// ReplyAll is Reply for all watchers of a message, with the same SIP status code.
func (e *Edge) ReplyAll(m Message, code int) {
	p, _ := presence.ParsePackage(m.Package)
	for i := range m.Targets {
		e.Reply(m.Node, kazoo.Reply{Presentity: m.Presentity, Package: p, CallID: m.Targets[i].CallID, Sequence: uint32(m.Sequence), Code: code, For: m.Edge})
	}
}
