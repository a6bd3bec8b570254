package node_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/gossip"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
)

// member is one of several whole nodes in the test's process, which use one NATS server.
type member struct {
	*node.Node
	name string
	dead bool // the test has stopped it
}

// cluster is several nodes, and the test that uses them.
type cluster struct {
	testing.TB
	url   string
	nodes []*member
}

// newCluster starts nodes and waits until each has the shards that it should have.
func newCluster(t testing.TB, names ...string) *cluster {
	t.Helper()
	p := &cluster{TB: t, url: nodetest.NATS(t)}
	for _, name := range names {
		p.join(name)
	}
	p.settled()
	return p
}

// join starts one more node.
func (p *cluster) join(name string) *member {
	p.Helper()
	config := nodetest.On(p.url, name, p.TempDir())
	config.Streams, config.Quiet = 2, 100*time.Millisecond
	if len(p.nodes) > 0 {
		config.Join = []string{p.nodes[0].Addr(node.Gossip)}
	}
	m := &member{Node: nodetest.Start(p, config), name: name}
	p.nodes = append(p.nodes, m)
	return m
}

// drain stops a node, which hands its shards over first.
func (p *cluster) drain(m *member) {
	p.Helper()
	m.dead = true
	if err := m.Stop(context.Background()); err != nil {
		p.Error(err)
	}
}

// kill stops a node as kill -9 does.
func (p *cluster) kill(m *member) {
	m.dead = true
	m.Kill()
}

// ask makes a request through one node.
func (m *member) ask(to actors.Address, message actors.Message) actors.Answer {
	return m.Router().Request(context.Background(), actors.Request{To: to, Message: message})
}

// until waits until done returns true, for at most 20 s.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// live returns the nodes that the test has not stopped.
func (p *cluster) live() (live []*member) {
	for _, n := range p.nodes {
		if !n.dead {
			live = append(live, n)
		}
	}
	return live
}

// settled waits until the node that should own a shard has opened it, and all nodes know that, for all shards.
func (p *cluster) settled() {
	p.Helper()
	var names []string
	for _, n := range p.live() {
		names = append(names, n.name)
	}
	until(p, fmt.Sprintf("the shards are where they should be among %v", names), func() bool {
		for shard := range actors.Shards {
			owner := gossip.Owner(p.live()[0].Journal().Range(shard), names)
			for _, n := range p.live() {
				if n.Journal().Holder(shard) != owner || n.name == owner && n.System().Generation(shard) == 0 {
					return false
				}
			}
		}
		return true
	})
}

// holders returns the owner of each shard.
func (p *cluster) holders() (of [actors.Shards]string) {
	for shard := range of {
		of[shard] = p.live()[0].Journal().Holder(shard)
	}
	return of
}

// load sets manual states through the given nodes in turn until stop is called. stop returns the last state of each extension
// that was acknowledged, and the errors.
func (p *cluster) load(through ...*member) (stop func() (last map[actors.Address]presence.State, errs []error)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var ending atomic.Bool
	last, errs := map[actors.Address]presence.State{}, []error(nil)
	for i := range 24 {
		to := actors.Address{Realm: "acme.test", User: fmt.Sprint(3000 + i)}
		wg.Go(func() {
			for k := 0; !ending.Load(); k++ {
				state := []presence.State{presence.Early, presence.Confirmed}[k%2]
				a := through[k%len(through)].ask(to, presence.SetManual{State: state})
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

// check wants every live node to show the state of each extension that was acknowledged last.
func (p *cluster) check(last map[actors.Address]presence.State) {
	p.Helper()
	for to, want := range last {
		for _, n := range p.live() {
			a := n.ask(to, actors.Show{})
			if a.Err != nil || a.View.State != want {
				p.Errorf("%v through %s: %v, acknowledged was %v (%v)", to, n.name, a.View, want, a.Err)
			}
		}
	}
}

// When a node joins, only the shards that it should own move, and no request fails. The same holds when it drains
// (docs/contract/journal.md, rule 11).
func TestJoinAndDrainMoveOnlyWhatTheyMust(t *testing.T) {
	p := newCluster(t, "a", "b")
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
	p.drain(c)
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

// When a node is killed under load, the others serve its shards and have all changes that were acknowledged. The new owners tell
// the watchers, with Sequences above the earlier ones.
func TestCrashLosesNothing(t *testing.T) {
	p := newCluster(t, "a", "b", "c")
	b := p.nodes[1]
	var watched []actors.Address
	for i := 0; len(watched) < 20; i++ {
		to := actors.Address{Realm: "acme.test", User: fmt.Sprint(5000 + i)}
		if gossip.Owner(p.live()[0].Journal().Range(actors.ShardOf(to)), []string{"a", "b", "c"}) != "b" {
			continue
		}
		watched = append(watched, to)
		if a := p.nodes[0].ask(to, presence.Subscribe{CallID: "w", From: "1@acme.test", ServerID: "edge", Expires: 1800}); a.Err != nil {
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
	last, _ := stop() // requests that were on their way to b ended with an error; they were not acknowledged
	p.check(last)
	for _, to := range watched {
		until(t, "the watcher is told by its new owner", func() bool { return p.sequence(to) > before[to] })
	}
}

// sequence returns the Sequence of the last NOTIFY to the extension's one watcher.
func (p *cluster) sequence(to actors.Address) uint32 {
	p.Helper()
	a := p.nodes[2].ask(to, actors.Show{})
	if a.Err != nil || len(a.Subscriptions) != 1 {
		p.Fatalf("%v: %d subscriptions (%v)", to, len(a.Subscriptions), a.Err)
	}
	return a.Subscriptions[0].Sequence
}

// BenchmarkSet sets manual states through all nodes in turn, 32 at a time for each CPU, each durable: on one node, and on three in
// the same process. With three nodes, two of three sets go on to another node.
func BenchmarkSet(b *testing.B) {
	for _, names := range [][]string{{"a"}, {"a", "b", "c"}} {
		b.Run(fmt.Sprintf("nodes=%d", len(names)), func(b *testing.B) {
			p := newCluster(b, names...)
			var count atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := int(count.Add(1))
					to := actors.Address{Realm: "acme.test", User: fmt.Sprint(i % 10000)}
					a := p.nodes[i%len(p.nodes)].ask(to, presence.SetManual{State: []presence.State{presence.Early, presence.Confirmed}[i/10000%2]})
					if a.Err != nil {
						b.Error(a.Err)
					}
				}
			})
		})
	}
}
