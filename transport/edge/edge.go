// Package edge does what every edge must do towards the nodes (docs/contract/nats.md, "Writing an edge"): it takes the
// NOTIFY messages for the watchers behind it, finds out what is missing and has it sent again, drops what comes twice or
// from a node that no longer owns a shard, says that it lives, and tells the owners what the watchers answered. What to do
// with a NOTIFY is its user's: a SIP edge sends it to phones, the load generator measures it.
//
// It does not remember what each watcher was told: an edge that sends to phones must drop a NOTIFY whose Sequence is not
// above the last one that it sent in the same Epoch, for a repeated message may be older than a later one.
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
	upEvery     = 5 * time.Second        // how often an edge says that it lives
	upAtMost    = 100 * time.Millisecond // how long it waits at least before it says so again because of a gap
	gatherEvery = 50 * time.Millisecond  // how long replies of watchers are gathered
	flushTime   = 10 * time.Second       // how long NATS may take to note a subscription
)

// Message is one NOTIFY message that the edge has taken.
type Message struct {
	*kazoo.Notify
	// Repeated says that the node sent it again, so that it may be older than what came before it.
	Repeated bool
}

// Config is what an Edge needs.
type Config struct {
	Conn   *nats.Conn // it should reconnect for ever, and keep nothing back meanwhile: client.Connect
	Prefix subject.Prefix
	Name   string // the Server-ID of its subscriptions
	// Incarnation names this start of the edge; "": a random one. With another incarnation than before, the nodes send
	// the newest state of all watchers behind the edge.
	Incarnation string
	// Handle gets every message that is neither a duplicate nor of a former owner, one at a time, in the order in which
	// they come. NATS drops messages while it takes too long: the edge then has them sent again.
	Handle func(Message)
	// Unreadable is told of messages that could not be read; nil: nobody is.
	Unreadable func(data []byte, err error)
}

// Counts are what an Edge has dropped since it started.
type Counts struct {
	Duplicates int64 // messages that had come before
	Fenced     int64 // messages of nodes that no longer own the shard
}

// Edge is the NATS side of one edge. Its methods may be called from any goroutine, Reply also from Handle.
type Edge struct {
	cfg    Config
	heard  *nats.Subscription
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	sources sources
	owners  map[int64]claim          // by shard
	replies map[string][]kazoo.Reply // by node
	gap     bool                     // something is missing, and no edge.up has said so
	upAt    time.Time
	counts  Counts
}

// claim is who owns a shard, as far as the edge knows.
type claim struct {
	epoch      time.Time
	generation int64
}

func (c claim) older(than claim) bool {
	return c.epoch.Before(than.epoch) || c.epoch.Equal(than.epoch) && c.generation < than.generation
}

// New makes an Edge that has not started.
func New(c Config) *Edge {
	if c.Incarnation == "" {
		c.Incarnation = rand.Text()
	}
	return &Edge{cfg: c, sources: sources{}, owners: map[int64]claim{}, replies: map[string][]kazoo.Reply{}}
}

// Start begins to take messages and tells the nodes that the edge is there. When it returns, NATS knows of the edge: what
// is told from then on arrives.
func (e *Edge) Start(ctx context.Context) (err error) {
	if e.heard, err = e.cfg.Conn.Subscribe(e.cfg.Prefix.Of(subject.Notify(e.cfg.Name)), func(m *nats.Msg) { e.Hear(m.Data) }); err != nil {
		return err
	}
	_ = e.heard.SetPendingLimits(-1, 256<<20)
	e.up()
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

// Stop sends the replies that it has gathered and takes no more messages.
func (e *Edge) Stop(context.Context) error {
	if e.cancel == nil {
		return nil
	}
	err := e.heard.Unsubscribe()
	e.cancel()
	e.done.Wait()
	e.sendReplies()
	return err
}

// Counts says what the edge has dropped.
func (e *Edge) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// run says regularly that the edge lives, and sends what the watchers answered.
func (e *Edge) run(ctx context.Context, reconnected <-chan nats.Status) {
	up, gather := time.NewTicker(upEvery), time.NewTicker(gatherEvery)
	defer up.Stop()
	defer gather.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-reconnected: // what came meanwhile is missing
			if !ok {
				reconnected = nil
				continue
			}
			e.up()
		case <-up.C:
			e.up()
		case now := <-gather.C:
			e.sendReplies()
			e.mu.Lock()
			e.sayGap(now)
			e.mu.Unlock()
		}
	}
}

// up says that the edge lives and what it has seen.
func (e *Edge) up() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sayUp(time.Now())
}

// sayUp is up for a caller that holds the lock.
func (e *Edge) sayUp(now time.Time) {
	e.upAt, e.gap = now, false
	d := kazoo.EdgeUp{Edge: e.cfg.Name, Incarnation: e.cfg.Incarnation, Seen: e.sources.report(now)}
	_ = e.cfg.Conn.Publish(e.cfg.Prefix.Of(subject.EdgeUp(e.cfg.Name)), d.Append(nil))
}

// sayGap says that something is missing, once and not too often. The lock is held.
func (e *Edge) sayGap(now time.Time) {
	if e.gap && now.Sub(e.upAt) > upAtMost {
		e.sayUp(now)
	}
}

// Hear takes one message. NATS's goroutine calls it once Start has been called; tests call it themselves.
func (e *Edge) Hear(data []byte) {
	n, err := kazoo.ReadNotify(data)
	if err != nil {
		if e.cfg.Unreadable != nil {
			e.cfg.Unreadable(data, err)
		}
		return
	}
	if repeated, ok := e.take(n, time.Now()); ok {
		e.cfg.Handle(Message{Notify: n, Repeated: repeated})
	}
}

// take notes a message. ok says that the edge is to do what it says.
func (e *Edge) take(n *kazoo.Notify, now time.Time) (repeated, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.sources.take(n.Node+"/"+n.Incarnation, n.EdgeSeq, now)
	e.gap = e.gap || a.gap
	e.sayGap(now)
	if a.duplicate {
		e.counts.Duplicates++
		return true, false
	}
	c := claim{n.Epoch, n.Generation}
	if c.older(e.owners[n.Shard]) {
		e.counts.Fenced++
		return a.repeated, false
	}
	e.owners[n.Shard] = c
	return a.repeated, true
}

// Reply tells the owner what a watcher answered to a NOTIFY, with what others answer within 50 ms.
func (e *Edge) Reply(node string, r kazoo.Reply) {
	e.mu.Lock()
	all := append(e.replies[node], r)
	e.replies[node] = all
	full := len(all) >= kazoo.MaxReplies
	if full {
		delete(e.replies, node)
	}
	e.mu.Unlock()
	if full {
		e.send(node, all)
	}
}

// sendReplies sends all replies that were gathered.
func (e *Edge) sendReplies() {
	e.mu.Lock()
	all := e.replies
	if len(all) > 0 {
		e.replies = map[string][]kazoo.Reply{}
	}
	e.mu.Unlock()
	for node, replies := range all {
		e.send(node, replies)
	}
}

func (e *Edge) send(node string, replies []kazoo.Reply) {
	_ = e.cfg.Conn.Publish(e.cfg.Prefix.Of(subject.Notified(node, e.cfg.Name)), kazoo.AppendNotified(nil, e.cfg.Name, replies))
}

// ReplyAll tells the owner that all watchers of a message answered the same SIP status code.
func (e *Edge) ReplyAll(m Message, code int) {
	p, _ := presence.ParsePackage(m.Package)
	for i := range m.Targets {
		e.Reply(m.Node, kazoo.Reply{Presentity: m.Presentity, Package: p, CallID: m.Targets[i].CallID, Sequence: uint32(m.Sequence), Code: code})
	}
}
