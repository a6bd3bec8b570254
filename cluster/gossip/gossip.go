package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/memberlist"

	"lamplight/actors/presence"
)

// OldestSchema is the oldest form of records and messages that this release still understands, as presence.Schema is the
// newest.
const OldestSchema = 1

// Membership follows who is there, by gossip. It only advises: claims decide (docs/contract/journal.md, rule 11).
type Membership struct {
	cfg     Config
	list    *memberlist.Memberlist
	mu      sync.Mutex
	members map[string]Member // as memberlist told of them: its own nodes change while they are read
	meta    []byte
	changed chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
	warned  atomic.Int64 // Unix ns
	closed  atomic.Bool
}

// sayEvery is how often a node that waits says for whom.
const sayEvery = 5 * time.Second

// warnEvery is how often strangers on the gossip port are worth a line in the log.
const warnEvery = time.Second

// Config is what a Membership needs.
type Config struct {
	Node      string
	Listen    string // HOST:PORT
	Advertise string // host that others reach us at; "": found out
	Join      []string
	Key       []byte // 16, 24 or 32 bytes; nil: no encryption
	Prefix    string // of the installation: nodes of another one are refused
	Route     string // HOST:PORT of the embedded NATS server for others; "": it stands alone
	Schema    int    // the newest that this node reads; 0: presence.Schema
	Log       *slog.Logger
}

// hello is what a node says of itself in its metadata, at most 512 bytes. Unknown fields are ignored.
type hello struct {
	Schema int    `json:"schema"` // the newest that it reads
	Oldest int    `json:"oldest"` // the oldest that it understands
	Prefix string `json:"prefix,omitzero"`
	Route  string `json:"route,omitzero"`
}

// Member is a node as gossip shows it.
type Member struct {
	Name, Address, Route string
	Schema               int
}

// New makes a Membership that has not started.
func New(c Config) *Membership {
	c.Schema = cmp.Or(c.Schema, presence.Schema)
	return &Membership{cfg: c, members: map[string]Member{}, changed: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start joins the cluster, or begins one. Nodes to join that do not answer are tried again until they do.
func (m *Membership) Start(context.Context) error {
	c := m.cfg
	listen, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--gossip: %w", err)
	}
	if m.meta, err = json.Marshal(hello{Schema: c.Schema, Oldest: OldestSchema, Prefix: c.Prefix, Route: c.Route}); err != nil {
		return err
	}
	if len(m.meta) > memberlist.MetaMaxSize {
		return fmt.Errorf("the node's metadata have %d bytes, gossip carries %d: shorten --prefix or the host names", len(m.meta), memberlist.MetaMaxSize)
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
	o.DeadNodeReclaimTime = time.Second // a name may come back from another address
	o.Events, o.Delegate, o.Alive, o.Conflict = m, m, m, m
	o.Logger = log.New(gossipLog{c.Log.With("part", "gossip")}, "", 0)
	if m.list, err = memberlist.Create(o); err != nil {
		return fmt.Errorf("gossip on %s: %w; give another address with --gossip", c.Listen, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.join(ctx)
	return nil
}

// join goes on until every address to join has been reached, and again when it is alone: so that those who start
// together, and those who were cut off for long, find each other.
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

// Addr is where gossip listens.
func (m *Membership) Addr() string { return m.list.LocalNode().Address() }

// Members are the nodes that gossip shows, by name.
func (m *Membership) Members() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
}

// Nodes are the names of the members, sorted.
func (m *Membership) Nodes() []string {
	var names []string
	for _, n := range m.Members() {
		names = append(names, n.Name)
	}
	return names
}

// Writes is the newest schema that all members read: what is newer must not be written yet.
func (m *Membership) Writes() int { return commonSchema(m.cfg.Schema, m.Members()) }

// commonSchema is the newest schema that a release and all members read.
func commonSchema(own int, members []Member) int {
	for _, n := range members {
		own = min(own, n.Schema)
	}
	return own
}

// Changed receives after members came or went.
func (m *Membership) Changed() <-chan struct{} { return m.changed }

// peersFile keeps the routes of all members in the data directory, for a restart while others are away.
const peersFile = "peers"

// Peers are the routes of the servers that make up the cluster, this one's among them. A cluster that begins waits until
// every address to join is a member; one that goes on knows them from the file that KeepPeers wrote into dir.
func (m *Membership) Peers(ctx context.Context, dir string, begins bool) ([]string, error) {
	if begins {
		routes, err := m.found(ctx)
		if err == nil {
			if err = os.MkdirAll(dir, 0o700); err == nil {
				m.KeepPeers(dir)
			}
		}
		return routes, err
	}
	known, err := os.ReadFile(filepath.Join(dir, peersFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	routes := append(m.routes(), strings.Fields(string(known))...)
	slices.Sort(routes)
	return slices.Compact(routes), nil
}

// KeepPeers writes down the routes of all members; those that are away stay.
func (m *Membership) KeepPeers(dir string) {
	name := filepath.Join(dir, peersFile)
	before, _ := os.ReadFile(name)
	routes := append(strings.Fields(string(before)), m.routes()...)
	slices.Sort(routes)
	now := strings.Join(slices.Compact(routes), "\n")
	if now == strings.TrimSpace(string(before)) || m.cfg.Route == "" {
		return
	}
	if err := os.WriteFile(name, []byte(now+"\n"), 0o600); err != nil {
		m.cfg.Log.Warn("the members' addresses can't be kept for a restart", "err", err)
	}
}

func (m *Membership) routes() (routes []string) {
	for _, n := range m.Members() {
		if n.Route != "" {
			routes = append(routes, n.Route)
		}
	}
	return routes
}

// found waits until every address to join is a member.
func (m *Membership) found(ctx context.Context) ([]string, error) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for said := time.Now(); ; {
		there := map[string]bool{}
		for _, n := range m.Members() {
			there[n.Address] = n.Route != ""
		}
		var missing []string
		for _, a := range m.cfg.Join {
			if tcp, err := net.ResolveTCPAddr("tcp", a); err != nil || !there[tcp.String()] {
				missing = append(missing, a)
			}
		}
		if len(missing) == 0 {
			return m.routes(), nil
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			m.cfg.Log.Info("still waiting for the nodes to join", "missing", missing, "members", m.Nodes())
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("a cluster begins when all its nodes are there: no member with --nats-cluster at %s (--join); start the others too", strings.Join(missing, ", "))
		}
	}
}

func (m *Membership) poke() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (m *Membership) NotifyJoin(n *memberlist.Node) { m.note(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (m *Membership) NotifyLeave(n *memberlist.Node) { m.note(n, false) }

// NotifyUpdate implements memberlist.EventDelegate.
func (m *Membership) NotifyUpdate(n *memberlist.Node) { m.note(n, true) }

// note copies what memberlist shows of a node while it holds its lock.
func (m *Membership) note(n *memberlist.Node, there bool) {
	h, err := readHello(n.Meta)
	m.mu.Lock()
	if delete(m.members, n.Name); there && err == nil {
		m.members[n.Name] = Member{Name: n.Name, Address: n.Address(), Route: h.Route, Schema: h.Schema}
	}
	m.mu.Unlock()
	m.poke()
}

var errForeign = errors.New("not a node of this installation")

func readHello(meta []byte) (h hello, err error) {
	if len(meta) > memberlist.MetaMaxSize {
		return h, errForeign
	}
	if err := json.Unmarshal(meta, &h); err != nil {
		return h, fmt.Errorf("%w: %w", errForeign, err)
	}
	if _, _, err := net.SplitHostPort(h.Route); h.Route != "" && (err != nil || strings.ContainsFunc(h.Route, unprintable)) {
		return h, fmt.Errorf("%w: its route is %.60q", errForeign, h.Route)
	}
	return h, nil
}

// unprintable characters are in no name and no address; they would end a line of the peers' file.
func unprintable(r rune) bool { return r <= 0x20 || r > 0x7e }

// NotifyAlive implements memberlist.AliveDelegate: a node of another installation, or of a release too far away, is no
// member. What it says of itself is checked, whoever it is.
func (m *Membership) NotifyAlive(peer *memberlist.Node) error {
	h, err := readHello(peer.Meta)
	switch {
	case err != nil:
	case h.Prefix != m.cfg.Prefix:
		err = fmt.Errorf("%w: its --prefix is %.60q", errForeign, h.Prefix)
	case h.Schema < OldestSchema || h.Oldest > m.cfg.Schema:
		err = fmt.Errorf("%w: it reads schemas %d to %d, this release %d to %d: upgrade one release at a time", errForeign, h.Oldest, h.Schema, OldestSchema, m.cfg.Schema)
	case peer.Name == "" || len(peer.Name) > 128 || strings.ContainsFunc(peer.Name, unprintable):
		err = fmt.Errorf("%w: its name can't be one", errForeign)
	}
	if now := time.Now().UnixNano(); err != nil && now-m.warned.Load() > int64(warnEvery) { // a stranger repeats itself
		m.warned.Store(now)
		m.cfg.Log.Warn("a peer on the gossip port is refused", "peer", fmt.Sprintf("%.60q", peer.Name), "address", peer.Address(), "err", err)
	}
	return err
}

// NotifyConflict implements memberlist.ConflictDelegate. The name's lease decides which of the two goes on.
func (m *Membership) NotifyConflict(existing, other *memberlist.Node) {
	if now := time.Now().UnixNano(); now-m.warned.Load() > int64(warnEvery) {
		m.warned.Store(now)
		m.cfg.Log.Error("two nodes have the same name; give one another --node", "node", existing.Name, "at", existing.Address(), "and", other.Address())
	}
}

// NodeMeta implements memberlist.Delegate.
func (m *Membership) NodeMeta(int) []byte { return m.meta }

// NotifyMsg implements memberlist.Delegate: nodes say nothing to each other by gossip.
func (m *Membership) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (m *Membership) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (m *Membership) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (m *Membership) MergeRemoteState([]byte, bool) {}

// Stop leaves the cluster. It does nothing when it is called again, or before Start.
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
	return err
}

// Abandon ends gossip without a word to the others, as kill -9 does.
func (m *Membership) Abandon() {
	if m.list == nil || m.closed.Swap(true) {
		return
	}
	m.cancel()
	<-m.done
	_ = m.list.Shutdown()
}

// leaveTime is how long the others may take to hear that this node leaves. It is never 0, which memberlist takes for
// ever: when the others left at once, nobody hears it.
func leaveTime(ctx context.Context) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return time.Second
	}
	return min(time.Second, max(time.Until(d), time.Millisecond))
}

// gossipLog hands memberlist's lines on.
type gossipLog struct{ log *slog.Logger }

func (g gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.Contains(text, "Conflicting address"): // NotifyConflict says it
	case strings.Contains(text, "[ERR]") && strings.Contains(text, "crypt"):
		g.log.Warn(text + "; is --gossip-key the same on all nodes?")
	case strings.Contains(text, "[ERR]"):
		g.log.Warn(text)
	case strings.Contains(text, "[WARN]"):
		g.log.Debug(text)
	default:
		g.log.Debug(text)
	}
	return len(line), nil
}
