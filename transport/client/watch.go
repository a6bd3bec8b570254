package client

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
)

// The times of a watch.
const (
	flushTime  = 10 * time.Second // how long it waits for the NATS server to know its subscription
	deathTime  = 10 * time.Second // from the death of a node until its shards are taken over, at most
	checkEvery = time.Second      // how often it asks the NATS server whether all that was published has arrived
	nodesEvery = 3 * time.Second  // how often it asks the nodes whether one of them has taken over shards
	feedRoom   = 1 << 14          // the number of changes that may wait; more are lost
)

// Change is one change of a lamp, as the state feed tells it (docs/contract/nats.md, "State feed").
type Change struct {
	Extension string         `json:"extension"` // the user part
	Realm     string         `json:"realm"`
	AccountID string         `json:"account_id"`
	State     string         `json:"state"`    // early, confirmed or terminated
	Previous  string         `json:"previous"` // the state before
	Dialogs   jsontext.Value `json:"dialogs"`  // a list, the most important dialog first
	Sequence  uint32         `json:"sequence"`
	At        string         `json:"at"`   // RFC 3339
	Node      string         `json:"node"` // that told it

	Raw []byte `json:"-"` // the document as it came
}

// Gap says that changes of lamps may be missing: those between Since and Until. What a lamp shows now, Lamps and Show say.
type Gap struct {
	Since  time.Time
	Until  time.Time
	Reason string
}

// Watcher is what Watch calls, one call at a time. An error of Change or Gap ends Watch, which returns it.
type Watcher struct {
	// Ready is called once the NATS server knows the subscription: changes from then on arrive. It may be nil.
	Ready func()
	// Change is called with each change, in the order in which they arrive.
	Change func(Change) error
	// Gap is called when changes may be missing. All changes that arrived before were passed to Change. It may be nil.
	Gap func(context.Context, Gap) error
}

// Watch passes each change of the lamps of a realm to w; with a user it passes the changes of that extension only. It returns nil
// when ctx ends.
//
// The feed is best effort. What happens while the connection is broken is not told again, NATS drops changes when w is too slow,
// and a node that dies may not have told its last changes. Watch notices all three and calls w.Gap: the first two within seconds of
// the connection's return, the third once another node has taken the shards over. (It also calls w.Gap after a hand-over in which
// nothing was lost, because it cannot tell them apart.) A NATS user who may not ask for the status of the nodes does not hear of the
// third.
func (c *Client) Watch(ctx context.Context, realm, user string, w Watcher) error {
	topic := subject.StateOfRealm(realm)
	if user != "" {
		topic = subject.State(realm, strings.ToLower(user))
	}
	f := feed{client: c, Watcher: w, messages: make(chan *nats.Msg, feedRoom)}
	var err error
	if f.subscription, err = c.cfg.Conn.ChanSubscribe(c.cfg.Prefix.Of(topic), f.messages); err != nil {
		return err
	}
	defer func() { _ = f.subscription.Unsubscribe() }()
	soon, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := c.cfg.Conn.FlushWithContext(soon); err != nil {
		return err
	}
	f.began, f.reconnects = time.Now(), c.cfg.Conn.Stats().Reconnects
	f.whole, f.asked = f.began, f.began
	f.takeovers = f.ask(ctx, checkEvery) // before Ready: what a node takes over from then on is noticed
	if f.Ready != nil {
		f.Ready()
	}
	return f.run(ctx)
}

// feed is a Watch under way. One goroutine uses it, but for ask.
type feed struct {
	Watcher
	client       *Client
	subscription *nats.Subscription
	messages     chan *nats.Msg
	began        time.Time
	whole        time.Time         // when the feed was last known to be whole
	reconnects   uint64            // of the connection, at that time
	dropped      int               // changes that the subscription had lost at that time
	takeovers    map[string]uint64 // by node and incarnation: the shards that it had taken over when it was last asked
	asked        time.Time         // when the nodes were last asked
}

// run passes on what comes until ctx ends.
func (f *feed) run(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes := make(chan map[string]uint64, 1)
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	next := time.After(nodesEvery) // when the nodes are asked again; nil while they are being asked
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case m := <-f.messages:
			err = f.pass(m)
		case <-check.C:
			err = f.check(ctx)
		case by := <-nodes:
			next = time.After(nodesEvery)
			err = f.compare(ctx, by)
		case <-next:
			next = nil
			asking.Go(func() { nodes <- f.ask(ctx, nodesEvery) })
		}
		if err != nil {
			return err
		}
	}
}

// ask asks the nodes how many shards each has taken over, by node and incarnation. Nodes that do not answer within the time are left
// out. It may run in another goroutine than the rest.
func (f *feed) ask(ctx context.Context, within time.Duration) map[string]uint64 {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	all, _ := f.client.Status(ctx)
	by := map[string]uint64{}
	for _, s := range all {
		by[s.Node+" "+s.Incarnation] = s.Takeovers
	}
	return by
}

// pass passes on one change. It passes over what another program published on the subject.
func (f *feed) pass(m *nats.Msg) error {
	change := Change{Raw: m.Data}
	if json.Unmarshal(m.Data, &change) != nil {
		return nil
	}
	return f.Change(change)
}

// check asks the NATS server for an answer. Once it has come, all has arrived that was published before, unless the connection was
// broken meanwhile or the subscription lost something.
func (f *feed) check(ctx context.Context) error {
	conn := f.client.cfg.Conn
	if conn.IsClosed() {
		return nats.ErrConnectionClosed
	}
	begun := time.Now()
	soon, cancel := context.WithTimeout(ctx, checkEvery)
	defer cancel()
	if conn.FlushWithContext(soon) != nil {
		return nil // the connection is broken, or the server does not answer: the next check sees what came of it
	}
	reconnects := conn.Stats().Reconnects
	dropped, err := f.subscription.Dropped()
	if err != nil {
		return err
	}
	gap := Gap{Since: f.whole, Until: begun}
	switch {
	case reconnects != f.reconnects:
		gap.Reason = "the connection to NATS was lost"
	case dropped != f.dropped:
		gap.Reason = "changes came faster than they were taken"
	}
	f.whole, f.reconnects, f.dropped = begun, reconnects, dropped
	if gap.Reason == "" {
		return nil
	}
	return f.gap(ctx, gap)
}

// compare compares what the nodes say with what they said when they were last asked.
func (f *feed) compare(ctx context.Context, by map[string]uint64) error {
	if len(by) == 0 { // no node answered
		return nil
	}
	gap := Gap{Since: f.asked.Add(-deathTime), Until: time.Now()}
	if gap.Since.Before(f.began) {
		gap.Since = f.began
	}
	first := len(f.takeovers) == 0
	for node, takeovers := range by {
		if !first && takeovers > f.takeovers[node] {
			gap.Reason = "another node took shards over"
		}
		f.takeovers[node] = takeovers // a node that does not answer next time keeps its number
	}
	f.asked = gap.Until
	if gap.Reason == "" {
		return nil
	}
	return f.gap(ctx, gap)
}

// gap passes on all that has arrived, and then says that changes may be missing.
func (f *feed) gap(ctx context.Context, g Gap) error {
	for n := len(f.messages); n > 0; n-- {
		if err := f.pass(<-f.messages); err != nil {
			return err
		}
	}
	if f.Gap == nil {
		return nil
	}
	return f.Gap(ctx, g)
}
