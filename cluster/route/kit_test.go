package route

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/route/wire"
	"lamplight/cluster/subject"
)

// table is which node holds each shard, as the test decides, and all records that the nodes wrote.
type table struct {
	mu         sync.Mutex
	holder     [actors.Shards]string
	generation [actors.Shards]uint64
	records    [actors.Shards]map[string]actors.Stored
	written    map[presence.Kind]int
	commands   map[actors.Address]int // the number of manual states that were written
}

func (tb *table) Holder(shard int) string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.holder[shard]
}

func (tb *table) set(shard int, node string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.holder[shard] = node
}

func (tb *table) count(to actors.Address) int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.commands[to]
}

// kept is the number of records that are kept.
func (tb *table) kept() (n int) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, of := range tb.records {
		n += len(of)
	}
	return n
}

// wrote notes what a node wrote.
func (tb *table) wrote(w actorstest.Write) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.records[w.Shard] == nil {
		tb.records[w.Shard] = map[string]actors.Stored{}
	}
	for _, r := range w.Records {
		tb.records[w.Shard][string(r.Kind)+w.To.String()+r.Key] = actors.Stored{Kind: r.Kind, Data: r.Data, At: time.Now()}
		tb.written[r.Kind]++
		if r.Kind == presence.KindManual {
			tb.commands[w.To]++
		}
	}
}

// member is one node, with a NATS connection, shards and a router, but with a journal in memory.
type member struct {
	name    string
	conn    *nats.Conn
	journal *actorstest.Journal
	system  *actors.System
	router  *Router
}

// nodes is several members in the process of the test, on one NATS server.
type nodes struct {
	t      testing.TB
	server *server.Server
	table  *table
	named  []string
	of     map[string]*member
}

// startNodes starts members and gives them the shards by turns. adjust may change each router's Config; nil: nothing.
func startNodes(t testing.TB, adjust func(*Config), names ...string) *nodes {
	t.Helper()
	s := natstest.Start(t, "")
	n := &nodes{t: t, server: s, named: names, of: map[string]*member{},
		table: &table{written: map[presence.Kind]int{}, commands: map[actors.Address]int{}}}
	for _, name := range names {
		n.join(name, adjust)
	}
	for shard := range actors.Shards {
		n.give(shard, names[shard%len(names)])
	}
	for shard := range actors.Shards {
		n.opened(shard)
	}
	return n
}

func (n *nodes) connect() *nats.Conn {
	n.t.Helper()
	return natstest.Connect(n.t, n.server, nats.ReconnectBufSize(-1))
}

func (n *nodes) join(name string, adjust func(*Config)) *member {
	n.t.Helper()
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	m := &member{name: name, conn: n.connect(), journal: &actorstest.Journal{}}
	m.journal.Set(func(j *actorstest.Settings) {
		j.OnWrite, j.Mine = n.table.wrote, func(shard int) bool { return n.table.Holder(shard) == name }
	})
	c := Config{Owners: n.table, Nodes: func() []string { return n.named }, Conn: m.conn, Prefix: "test.", Node: name,
		Timeout: 10 * time.Second, Log: log, Registerer: reg}
	if adjust != nil {
		adjust(&c)
	}
	keep := rules()
	keep.Writes = c.Writes
	m.system = actors.NewSystem(actors.Config{Node: name, Rules: keep, Mailbox: 4096, Journal: m.journal, Notifier: deaf{}, Log: log, Registerer: reg})
	m.journal.System, c.System = m.system, m.system
	_ = m.system.Start(context.Background())
	m.router = New(c)
	if err := m.router.Start(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	n.of[name] = m
	n.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.router.Stop(ctx); err != nil {
			n.t.Error(err)
		}
		_ = m.system.Stop(ctx)
	})
	return m
}

// take opens a shard on a node with the records that were written, and waits until it is open.
func (n *nodes) take(shard int, node string) {
	n.t.Helper()
	n.give(shard, node)
	n.opened(shard)
}

func (n *nodes) opened(shard int) {
	n.t.Helper()
	m := n.of[n.table.Holder(shard)]
	until(n.t, "the shard is open", func() bool { return m.system.Generation(shard) == n.table.generation[shard] })
}

func (n *nodes) give(shard int, node string) {
	tb := n.table
	tb.mu.Lock()
	tb.holder[shard] = node
	tb.generation[shard]++
	claim := actors.Claim{Generation: tb.generation[shard], Epoch: time.Unix(1, 0)}
	var records []actors.Stored
	for _, r := range tb.records[shard] {
		records = append(records, r)
	}
	for _, r := range tb.records[0] { // the first shard of the stream keeps which switches are gone
		if r.Kind == presence.KindGone {
			records = append(records, r)
		}
	}
	tb.mu.Unlock()
	n.of[node].system.Open(shard, actors.Opening{Claim: claim, Records: records, Since: time.Now().Add(time.Hour)})
}

// allInDoubt is a ticket above all others: of no write of the shard is it known whether it was kept.
const allInDoubt = 1 << 60

// drop takes a shard from a node. No node holds it then.
func (n *nodes) drop(shard int, node string) {
	n.table.set(shard, "")
	m := n.of[node]
	m.system.Drop(shard, allInDoubt)
	until(n.t, "the shard is closed", func() bool { return m.system.Generation(shard) == 0 })
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// at returns the nth extension whose shard a node holds, from 0.
func (n *nodes) at(node string, nth int) actors.Address {
	for i := 0; ; i++ {
		a := actors.Address{Realm: "acme.test", User: fmt.Sprintf("%d", 1000+i)}
		if n.table.Holder(actors.ShardOf(a)) == node {
			if nth == 0 {
				return a
			}
			nth--
		}
	}
}

func (m *member) ask(to actors.Address, message actors.Message, within time.Duration) actors.Answer {
	return m.router.Request(context.Background(), actors.Request{To: to, Message: message, Deadline: time.Now().Add(within)})
}

// must asks through a node and fails the test if the answer is an error.
func (n *nodes) must(from string, to actors.Address, message actors.Message) actors.Answer {
	n.t.Helper()
	a := n.of[from].ask(to, message, 20*time.Second)
	if a.Err != nil {
		n.t.Fatalf("%T to %v: %v", message, to, a.Err)
	}
	return a
}

// mute is a node that receives every call and answers none.
type mute struct {
	mu    sync.Mutex
	calls []wire.Call
	reply *nats.Conn
}

func (n *nodes) mute(name string) *mute {
	n.t.Helper()
	m := &mute{reply: n.connect()}
	_, err := m.reply.Subscribe("test."+subject.Node(name), func(msg *nats.Msg) {
		b, err := wire.ReadBatch(msg.Data)
		if err != nil {
			n.t.Error(err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls = append(m.calls, b.Calls...)
	})
	if err == nil {
		err = m.reply.Flush()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return m
}

func (m *mute) heard() []wire.Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]wire.Call(nil), m.calls...)
}

// waits returns how many requests wait for another try.
func (r *Router) waits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.parked)
}

func counted(c prometheus.Counter) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// deaf is a Notifier that drops what the shards tell.
type deaf struct{}

func (deaf) Notify(actors.Notification)               {}
func (deaf) Lamp(actors.LampNews)                     {}
func (deaf) Watched(actors.Address, presence.Package) {}

// rules are the rules of presence for these tests.
func rules() presence.Rules {
	return presence.Rules{NotifyInterval: 200 * time.Millisecond, CallLease: time.Hour,
		TombstoneLife: time.Minute, MaxWatchers: 10000, MaxCalls: 100, MaxTombstones: 8192, Transitions: 8}
}
