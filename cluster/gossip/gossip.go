// Package gossip follows which nodes are members of the cluster, with memberlist, and computes which member should hold
// which shard. Membership only advises: the claims in the journal decide who owns a shard (docs/contract/journal.md, rule
// 11). The package also knows the addresses at which the members' embedded NATS servers reach each other. It knows
// nothing of claims, leases or requests.
//
// One goroutine calls New, Start and then Stop or Abandon. All other methods are for any goroutine, after Start; only
// Peers blocks. Rank and Owner are pure functions.
package gossip

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/memberlist"

	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
)

// OldestSchema is the oldest form of records and messages that this release can still read. presence.Schema is the
// newest.
const OldestSchema = 1

// Membership is this node's view of the members. memberlist calls its Notify methods and the other methods of a
// memberlist.Delegate, with a lock of its own held.
type Membership struct {
	cfg       Config
	list      *memberlist.Memberlist
	mu        sync.Mutex
	members   map[string]Member // copies of what memberlist told, because it changes its own nodes while others read them
	meta      []byte            // this node's metadata, encoded
	changed   chan struct{}
	cancel    context.CancelFunc
	done      chan struct{} // closed when join has ended
	transport *transport
	closed    atomic.Bool
}

// Config is what a Membership needs.
type Config struct {
	Node      string
	Listen    string // HOST:PORT
	Advertise string // the host under which the other nodes reach this one; "": memberlist finds it out
	Join      []string
	Key       []byte // 16, 24 or 32 bytes; nil: gossip is not encrypted
	Prefix    string // of the installation: nodes with another one are refused
	Route     string // HOST:PORT of the embedded NATS server for the other servers; "": it is not clustered
	Schema    int    // the newest schema that this node can read; 0: presence.Schema
	// MaxStreams is how many connections others may have open to the gossip port; 0: 256.
	MaxStreams int
	Log        *slog.Logger
}

// Member is a node as gossip shows it.
type Member struct {
	Name    string
	Address string // of gossip, HOST:PORT
	Route   string // as in Config
	Schema  int    // the newest that the node can read
}

// New makes a Membership. It starts nothing.
func New(c Config) *Membership {
	c.Schema = cmp.Or(c.Schema, presence.Schema)
	c.Log = loglimit.Limit(c.Log)
	return &Membership{cfg: c, members: map[string]Member{}, changed: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start opens the gossip port and begins to join the nodes of Config.Join. It does not wait for them: a goroutine tries
// those that do not answer again until they do. Errors name the flag that the operator should change.
func (m *Membership) Start(context.Context) error {
	c := m.cfg
	listen, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--gossip: %w", err)
	}
	if m.meta, err = json.Marshal(metadata{Schema: c.Schema, Oldest: OldestSchema, Prefix: c.Prefix, Route: c.Route}); err != nil {
		return err
	}
	if len(m.meta) > memberlist.MetaMaxSize {
		return fmt.Errorf("the node's metadata have %d bytes, gossip carries %d: shorten --prefix or the host names",
			len(m.meta), memberlist.MetaMaxSize)
	}
	o := memberlist.DefaultLANConfig()
	o.Name, o.BindAddr, o.BindPort, o.AdvertisePort = c.Node, "0.0.0.0", listen.Port, listen.Port
	if listen.IP != nil {
		o.BindAddr = listen.IP.String()
	}
	if c.Advertise != "" {
		ip, err := net.ResolveIPAddr("ip", c.Advertise)
		if err != nil {
			return fmt.Errorf("--advertise: %w", err)
		}
		o.AdvertiseAddr = ip.String()
	}
	o.SecretKey = c.Key
	o.ProbeInterval, o.ProbeTimeout, o.SuspicionMult, o.GossipInterval = 300*time.Millisecond, 200*time.Millisecond, 2, 100*time.Millisecond
	o.DeadNodeReclaimTime = time.Second // a node that is gone may come back under its name from another address
	o.Events, o.Delegate, o.Alive, o.Conflict = m, m, m, m
	o.Logger = log.New(gossipLog{c.Log.With("part", "gossip")}, "", 0)
	t, err := newTransport(o, cmp.Or(c.MaxStreams, maxStreams), c.Log.With("part", "gossip"))
	if err == nil {
		m.list, err = memberlist.Create(o)
	}
	if err != nil {
		if t != nil {
			t.close()
		}
		return fmt.Errorf("gossip on %s: %w; give another address with --gossip", c.Listen, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.transport = t
	go m.join(ctx)
	return nil
}

// join tries each address of Config.Join until it has been reached once, and all of them again whenever this node is
// alone. So nodes that start together find each other, and so do nodes that were cut off for so long that each has
// forgotten the others.
func (m *Membership) join(ctx context.Context) {
	defer close(m.done)
	reached := map[string]bool{}
	for wait := 50 * time.Millisecond; len(m.cfg.Join) > 0; wait = min(2*wait, 2*time.Second) {
		alone := m.list.NumMembers() == 1
		for _, a := range m.cfg.Join {
			if reached[a] && !alone || ctx.Err() != nil {
				continue
			}
			if _, err := m.list.Join([]string{a}); err == nil {
				reached[a] = true
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// Addr returns the HOST:PORT on which gossip listens.
func (m *Membership) Addr() string { return m.list.LocalNode().Address() }

// Members returns the nodes that gossip shows, this one among them, sorted by name.
func (m *Membership) Members() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}

// Nodes returns the names of the members, sorted.
func (m *Membership) Nodes() []string {
	var names []string
	for _, n := range m.Members() {
		names = append(names, n.Name)
	}
	return names
}

// Writes returns the newest schema that all members can read. Nothing newer may be written yet.
func (m *Membership) Writes() int { return commonSchema(m.cfg.Schema, m.Members()) }

// commonSchema returns the newest schema that a release and all members can read.
func commonSchema(own int, members []Member) int {
	for _, n := range members {
		own = min(own, n.Schema)
	}
	return own
}

// Changed returns a channel with room for one value, which receives one after members came, went or changed. Several
// changes may give one value.
func (m *Membership) Changed() <-chan struct{} { return m.changed }

// Stop tells the other members that this node leaves, and stops gossip. It blocks until some of them have heard it, for
// one second at most. It does nothing when it is called again, or before Start.
func (m *Membership) Stop(ctx context.Context) error {
	if m.list == nil || m.closed.Swap(true) {
		return nil
	}
	m.cancel()
	<-m.done
	err := m.list.Leave(leaveTime(ctx))
	if e := m.list.Shutdown(); err == nil {
		err = e
	}
	m.transport.close()
	return err
}

// Abandon stops gossip without telling the other members, as if the process had been killed.
func (m *Membership) Abandon() {
	if m.list == nil || m.closed.Swap(true) {
		return
	}
	m.cancel()
	<-m.done
	_ = m.list.Shutdown()
	m.transport.close()
}

// leaveTime returns how long Stop waits for the other members to hear that this node leaves: until the context's
// deadline, for one second at most. It is never 0, because memberlist then waits without end; when all nodes leave at the
// same time, none is left to hear it.
func leaveTime(ctx context.Context) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return time.Second
	}
	return min(time.Second, max(time.Until(d), time.Millisecond))
}
