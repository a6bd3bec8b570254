package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/journal"
)

// peerNode is one node of several in the test's process: a NATS server for all, and of each its own gossip, journal,
// shards and router.
type peerNode struct {
	name    string
	conn    *nats.Conn
	members *Membership
	journal *journal.Journal
	system  *actors.System
	router  *Router
	told    *told
	stop    context.CancelFunc
	done    sync.WaitGroup
	dead    bool
}

// peers is a cluster in the test's process.
type peers struct {
	testing.TB
	server *Server
	nodes  []*peerNode
}

func newPeers(t testing.TB, names ...string) *peers {
	t.Helper()
	server, err := StartServer(ServerConfig{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: "nats", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	p := &peers{TB: t, server: server}
	t.Cleanup(func() {
		for _, n := range p.nodes {
			p.stop(n)
		}
		server.Close()
	})
	for _, name := range names {
		p.join(name)
	}
	p.settled()
	return p
}

func (p *peers) join(name string) *peerNode {
	p.Helper()
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	n := &peerNode{name: name, told: &told{}}
	var err error
	if n.conn, err = nats.Connect(p.server.URL(), nats.ReconnectBufSize(-1)); err != nil {
		p.Fatal(err)
	}
	var join []string
	if len(p.nodes) > 0 {
		join = []string{p.nodes[0].members.Addr()}
	}
	if n.members, err = StartMembership(MembershipConfig{Node: name, Listen: "127.0.0.1:0", Join: join, Log: log}); err != nil {
		p.Fatal(err)
	}
	n.journal = journal.New(journal.Config{Conn: n.conn, Node: name, Streams: 2, Quiet: 100 * time.Millisecond, Owner: Owner, Log: log, Registerer: reg,
		Gone: func(other string) { n.router.Gone(other) }, Fatal: func(err error) { p.Error(err) }})
	n.system = actors.NewSystem(actors.Config{Node: name, Rules: rules(), Mailbox: 4096, Journal: n.journal, Notifier: n.told, Log: log, Registerer: reg})
	n.router = NewRouter(RouterConfig{System: n.system, Owners: n.journal, Nodes: n.journal.Owners, Conn: n.conn, Node: name, Timeout: 10 * time.Second, Log: log, Registerer: reg})
	n.system.Start()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.journal.Start(ctx, n.system); err != nil {
		p.Fatal(err)
	}
	if err := n.router.Start(); err != nil {
		p.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.done.Go(func() {
		for {
			n.journal.Members(n.members.Nodes())
			select {
			case <-n.members.Changed():
			case <-run.Done():
				return
			}
		}
	})
	p.nodes = append(p.nodes, n)
	return n
}

// stop drains a node and ends it.
func (p *peers) stop(n *peerNode) {
	p.Helper()
	if n.dead {
		return
	}
	n.dead = true
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.journal.Close(ctx); err != nil {
		p.Error(err)
	}
	p.end(ctx, n)
	if err := n.members.Close(ctx); err != nil {
		p.Error(err)
	}
}

// kill cuts a node off as kill -9 does.
func (p *peers) kill(n *peerNode) {
	n.dead = true
	n.conn.Close()
	n.members.stop()
	<-n.members.done
	_ = n.members.list.Shutdown()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.journal.Close(ctx)
	p.end(ctx, n)
}

func (p *peers) end(ctx context.Context, n *peerNode) {
	_ = n.router.Close(ctx)
	n.system.Close()
	n.stop()
	n.done.Wait()
	n.conn.Close()
}

// live are the nodes that were not stopped.
func (p *peers) live() (live []*peerNode) {
	for _, n := range p.nodes {
		if !n.dead {
			live = append(live, n)
		}
	}
	return live
}

// settled waits until every shard is open where placement wants it, and all nodes know.
func (p *peers) settled() {
	p.Helper()
	var names []string
	for _, n := range p.live() {
		names = append(names, n.name)
	}
	until(p, fmt.Sprintf("the shards are where they should be among %v", names), func() bool {
		for shard := range actors.Shards {
			owner := Owner(shard, names)
			for _, n := range p.live() {
				if n.journal.Holder(shard) != owner || n.name == owner && n.system.Generation(shard) == 0 {
					return false
				}
			}
		}
		return true
	})
}

func (p *peers) holders() (of [actors.Shards]string) {
	for shard := range of {
		of[shard] = p.live()[0].journal.Holder(shard)
	}
	return of
}

// load sets manual states through all live nodes in turn until it is told to stop; it gives what was acknowledged last
// of each extension, and the errors.
func (p *peers) load(through ...*peerNode) (stop func() (last map[actors.Address]presence.State, errs []error)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var ending atomic.Bool
	last, errs := map[actors.Address]presence.State{}, []error(nil)
	for i := range 24 {
		to := actors.Address{Realm: "acme.test", User: fmt.Sprint(3000 + i)}
		wg.Go(func() {
			for k := 0; !ending.Load(); k++ {
				state := []presence.State{presence.Early, presence.Confirmed}[k%2]
				a := through[k%len(through)].router.Request(context.Background(), actors.Request{To: to, Message: presence.SetManual{State: state}})
				mu.Lock()
				if a.Err != nil {
					errs = append(errs, fmt.Errorf("%v through %s: %w", to, through[k%len(through)].name, a.Err))
				} else {
					last[to] = state
				}
				mu.Unlock()
			}
		})
	}
	return func() (map[actors.Address]presence.State, []error) {
		ending.Store(true)
		wg.Wait()
		return last, errs
	}
}

func (p *peers) check(last map[actors.Address]presence.State) {
	p.Helper()
	for to, want := range last {
		for _, n := range p.live() {
			a := n.router.Request(context.Background(), actors.Request{To: to, Message: actors.Show{}})
			if a.Err != nil || a.View.State != want {
				p.Errorf("%v through %s: %v, acknowledged was %v (%v)", to, n.name, a.View, want, a.Err)
			}
		}
	}
}

// On join only the newcomer's share moves, and nobody's request fails; the same when a node drains (JOURNAL.md rule 11).
func TestJoinAndDrainMoveOnlyWhatTheyMust(t *testing.T) {
	p := newPeers(t, "a", "b")
	stop := p.load(p.nodes...)
	before := p.holders()
	c := p.join("c")
	p.settled()
	moved := 0
	after := p.holders()
	for shard := range after {
		if after[shard] != before[shard] {
			moved++
			if after[shard] != "c" {
				t.Errorf("shard %d went from %s to %s", shard, before[shard], after[shard])
			}
		}
	}
	if moved < actors.Shards/5 || moved > actors.Shards/2 {
		t.Errorf("%d of %d shards moved; a third was to be expected", moved, actors.Shards)
	}
	p.stop(c)
	p.settled()
	last, errs := stop()
	if len(errs) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(errs), errs[0])
	}
	if p.holders() != before {
		t.Error("after the drain the shards are not where they were")
	}
	p.check(last)
}

// A node dies under load: the others serve its shards with all that was acknowledged, Sequences go on above, and who
// was not told is told.
func TestCrashLosesNothing(t *testing.T) {
	p := newPeers(t, "a", "b", "c")
	b := p.nodes[1]
	var watched []actors.Address
	for i := 0; len(watched) < 20; i++ {
		to := actors.Address{Realm: "acme.test", User: fmt.Sprint(5000 + i)}
		if Owner(actors.ShardOf(to), []string{"a", "b", "c"}) != "b" {
			continue
		}
		watched = append(watched, to)
		if a := p.nodes[0].router.Request(context.Background(), actors.Request{To: to, Message: presence.Subscribe{CallID: "w", From: "1@acme.test", ServerID: "edge", Expires: 1800}}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	before := map[actors.Address]uint32{}
	for _, to := range watched {
		before[to] = p.sequence(to)
	}
	stop := p.load(p.nodes[0], p.nodes[2])
	p.kill(b)
	p.settled()
	last, _ := stop() // what was on its way to b has an unknown fate: that is an error, and no loss
	p.check(last)
	for _, to := range watched {
		until(t, "the watcher is told by its new owner", func() bool { return p.sequence(to) > before[to] })
	}
}

// sequence is of the last NOTIFY to the extension's one watcher.
func (p *peers) sequence(to actors.Address) uint32 {
	p.Helper()
	a := p.nodes[2].router.Request(context.Background(), actors.Request{To: to, Message: actors.Show{}})
	if a.Err != nil || len(a.Subscriptions) != 1 {
		p.Fatalf("%v: %d subscriptions (%v)", to, len(a.Subscriptions), a.Err)
	}
	return a.Subscriptions[0].Sequence
}

// Rendezvous spreads the shards evenly, and finding a shard's place costs little.
func TestPlacementBalance(t *testing.T) {
	for _, n := range []int{3, 5, 16} {
		names := make([]string, n)
		held := map[string]int{}
		for i := range names {
			names[i] = fmt.Sprintf("node-%d", i)
		}
		for shard := range actors.Shards {
			held[Owner(shard, names)]++
		}
		most := 0
		for _, h := range held {
			most = max(most, h)
		}
		ratio := float64(most) * float64(n) / actors.Shards
		t.Logf("%d nodes: max/mean %.2f", n, ratio)
		if ratio > 1.5 {
			t.Errorf("%d nodes: one holds %.2f times the mean", n, ratio)
		}
	}
}

func BenchmarkHolder(b *testing.B) {
	j := journal.New(journal.Config{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	to := actors.Address{Realm: "acme.test", User: "1001"}
	b.ReportAllocs()
	for b.Loop() {
		_ = j.Holder(actors.ShardOf(to))
	}
}

func BenchmarkOwnerOf16(b *testing.B) {
	names := make([]string, 16)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = Owner(i%actors.Shards, names)
	}
}

// BenchmarkSet is the same work on one node and on three in the same process: manual states set through all nodes in
// turn, each durable, 64 at a time. With three, two of three sets hop to another node.
func BenchmarkSet(b *testing.B) {
	for _, names := range [][]string{{"a"}, {"a", "b", "c"}} {
		b.Run(fmt.Sprintf("nodes=%d", len(names)), func(b *testing.B) {
			p := newPeers(b, names...)
			var count atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(count.Add(1))
					to := actors.Address{Realm: "acme.test", User: fmt.Sprint(i % 10000)}
					a := p.nodes[i%len(p.nodes)].router.Request(context.Background(),
						actors.Request{To: to, Message: presence.SetManual{State: []presence.State{presence.Early, presence.Confirmed}[i/10000%2]}})
					if a.Err != nil {
						b.Error(a.Err)
					}
				}
			})
		})
	}
}
