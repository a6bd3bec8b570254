package bench_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// asker sends NATS requests and does not wait for an answer before it sends the next one.
type asker struct {
	nc      *nats.Conn
	inbox   string
	count   uint64
	waiting sync.Map
}

// newAsker makes an asker with a connection of its own, which also receives the NOTIFY messages of all edges.
func newAsker(b *testing.B, n *node) *asker {
	nc := connect(b, n)
	a := &asker{nc: nc, inbox: nc.NewInbox()}
	for subject, hear := range map[string]nats.MsgHandler{"lamplight.notify.*": func(*nats.Msg) {}, a.inbox + ".*": func(m *nats.Msg) {
		if done, ok := a.waiting.LoadAndDelete(m.Subject); ok {
			done.(func())()
		}
	}} {
		sub, err := nc.Subscribe(subject, hear)
		if err != nil {
			b.Fatal(err)
		}
		_ = sub.SetPendingLimits(-1, -1)
	}
	_ = nc.Flush()
	return a
}

// ask sends a request; done is called when its answer comes.
func (a *asker) ask(b *testing.B, subject string, data []byte, done func()) {
	a.count++
	reply := a.inbox + "." + strconv.FormatUint(a.count, 10)
	a.waiting.Store(reply, done)
	if err := a.nc.PublishRequest(subject, reply, data); err != nil {
		b.Error(err)
	}
}

// subscription is the document of a SUBSCRIBE for extension i, and its subject.
func subscription(i int) (subject string, data []byte) {
	w, to := subscribeEvent(i, "c"), addressOf(i)
	return "omnipresence.subscribe.bench%2Eexample%2Ecom." + to.User,
		fmt.Appendf(nil, `{"App-Name":"b","App-Version":"1","Event-Category":"presence","Event-Name":"subscription","Msg-ID":"m","User":"%s","From":"sip:%s","Call-ID":"%s","From-Tag":"%s","To-Tag":"%s","Contact":"%s","Server-ID":"%s","User-Agent":"%s","Expires":3600}`,
			to, w.From, w.CallID, w.FromTag, w.ToTag, w.Contact, w.ServerID, w.UserAgent)
}

// spread picks one of count extensions, so that those of neighbouring i are far apart.
func spread(i, count int) int { return i * 7919 % count }

// refreshes are documents that are made before the clock starts, so that making them is not measured.
type refreshes []struct {
	subject string
	data    []byte
}

func newRefreshes(count int) refreshes {
	r := make(refreshes, min(count, 10_000))
	for i := range r {
		r[i].subject, r[i].data = subscription(spread(i, count))
	}
	return r
}

// BenchmarkRefresh measures the refresh of a subscription over NATS, from the document to its acknowledgement, which comes once
// the record is durable. There are two floors. One is as many bytes written straight to JetStream on the same condition.
// The other is the five messages of a refresh and nothing else: document in, record out, its acknowledgement back, reply
// and NOTIFY out.
func BenchmarkRefresh(b *testing.B) {
	n, count := start(b, b.TempDir()), extensions()
	n.subscribe(b, count, "c")
	a, docs := newAsker(b, n), newRefreshes(count)
	refresh := func(i int, done func()) { d := &docs[i%len(docs)]; a.ask(b, d.subject, d.data, done) }
	var floor, ours cost
	b.Run("floor=jetstream", func(b *testing.B) { floor = rawWrites(b, a.nc, count, inFlight) })
	b.Run("lamplight", func(b *testing.B) {
		ours = pipelined(b, inFlight, refresh)
		ours.reportAgainst(b, floor)
	})
	b.Run("floor=messages", func(b *testing.B) {
		server := messages(b, n.Conn())
		defer server()
		ours.reportAgainst(b, pipelined(b, inFlight, func(i int, done func()) {
			a.ask(b, "floor.subscribe."+strconv.Itoa(spread(i, count)), docs[i%len(docs)].data, done)
		}))
	})
}

// messages answers documents on floor.subscribe with the same messages as Lamplight, but does not read them.
func messages(b *testing.B, nc *nats.Conn) (stop func()) {
	fence := rawStream(b, nc)
	inbox := nc.NewInbox()
	record, told := make([]byte, 220), make([]byte, 1100)
	waiting := make(map[string]string, inFlight)
	var mu sync.Mutex
	in, err := nc.Subscribe("floor.subscribe.*", func(m *nats.Msg) {
		which := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		r := rawRecord(fence, which, record)
		r.Reply = inbox + m.Reply[strings.LastIndexByte(m.Reply, '.'):]
		mu.Lock()
		waiting[r.Reply] = m.Reply
		mu.Unlock()
		_ = nc.PublishMsg(r)
	})
	if err != nil {
		b.Fatal(err)
	}
	acks, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		mu.Lock()
		reply := waiting[m.Subject]
		delete(waiting, m.Subject)
		mu.Unlock()
		_ = nc.Publish("lamplight.notify.floor", told)
		_ = nc.Publish(reply, record[:180])
	})
	if err != nil {
		b.Fatal(err)
	}
	return func() { _, _ = in.Unsubscribe(), acks.Unsubscribe() }
}

// BenchmarkRefreshMemory measures the refresh of a subscription where the journal is in memory. The floor is a NATS request whose
// handler only decodes the document and replies.
func BenchmarkRefreshMemory(b *testing.B) {
	n, count := startMemory(b), extensions()
	n.subscribe(b, count, "c")
	a, docs := newAsker(b, n), newRefreshes(count)
	var floor cost
	b.Run("floor=decode", func(b *testing.B) {
		sub, err := n.Conn().Subscribe("floor.subscribe.*", func(m *nats.Msg) {
			var d struct {
				EventName string `json:"Event-Name"`
				MsgID     string `json:"Msg-ID"`
				User      string
				From      string
				CallID    string `json:"Call-ID"`
				FromTag   string `json:"From-Tag"`
				ToTag     string `json:"To-Tag"`
				Contact   string
				ServerID  string `json:"Server-ID"`
				UserAgent string `json:"User-Agent"`
				Expires   int64
			}
			if err := json.Unmarshal(m.Data, &d); err != nil || d.Expires != 3600 {
				b.Error(err, d)
			}
			_ = m.Respond([]byte(`{"Status":"ok"}`))
		})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		floor = pipelined(b, inFlight, func(i int, done func()) {
			a.ask(b, "floor.subscribe.1", docs[i%len(docs)].data, done)
		})
	})
	b.Run("lamplight", func(b *testing.B) {
		pipelined(b, inFlight, func(i int, done func()) { d := &docs[i%len(docs)]; a.ask(b, d.subject, d.data, done) }).reportAgainst(b, floor)
	})
}

// rawStream makes a stream like one of the journal's, and gives the sequence on which its writes are conditional.
func rawStream(b *testing.B, nc *nats.Conn) (fence []string) {
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}, MaxMsgsPerSubject: 1, Storage: jetstream.FileStorage})
	if err != nil {
		b.Fatal(err)
	}
	ack, err := js.Publish(ctx, "raw.claim", []byte("x"))
	if err != nil {
		b.Fatal(err)
	}
	return []string{strconv.FormatUint(ack.Sequence, 10)}
}

// rawRecord is a write of a record on a condition, as the journal's are.
func rawRecord(fence []string, name string, body []byte) *nats.Msg {
	return &nats.Msg{Subject: "raw.17.a.s." + name, Data: body, Header: nats.Header{
		"Nats-Expected-Last-Subject-Sequence": fence, "Nats-Expected-Last-Subject-Sequence-Subject": []string{"raw.claim"}}}
}

// rawWrites writes b.N records to JetStream by the client's fastest call, at most depth at a time, and gives the cost of one.
func rawWrites(b *testing.B, nc *nats.Conn, count, depth int) cost {
	fence := rawStream(b, nc)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(depth))
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 220)
	b.ReportAllocs()
	used := cpu()
	b.ResetTimer()
	for i := range b.N {
		if _, err := js.PublishMsgAsync(rawRecord(fence, strconv.Itoa(spread(i, count)), body), jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.StopTimer()
	return costOf(b, used)
}

// BenchmarkGrowth measures how the cost of a refresh, a change and a read grows with what the node holds: 10,000, 100,000 and
// 1,000,000 extensions with one subscription each.
func BenchmarkGrowth(b *testing.B) {
	if os.Getenv("LAMPLIGHT_MEASURE") == "" {
		b.Skip("it takes a million extensions: `make bench-growth` runs it") //nolint:forbidigo // it is not skipped because the machine lacks something
	}
	for _, count := range []int{10_000, 100_000, 1_000_000} {
		b.Run("extensions="+strconv.Itoa(count), func(b *testing.B) {
			n := start(b, b.TempDir())
			n.subscribe(b, count, "c")
			a := newAsker(b, n)
			cpuOf := func(b *testing.B, c cost) { b.ReportMetric(c.cpu, "cpu-ns/op") }
			b.Run("refresh", func(b *testing.B) {
				cpuOf(b, pipelined(b, inFlight, func(i int, done func()) {
					subject, data := subscription(spread(i, count))
					a.ask(b, subject, data, done)
				}))
			})
			through := func(b *testing.B, message func(i int) (int, actors.Message)) {
				cpuOf(b, pipelined(b, inFlight, func(i int, done func()) {
					i, m := message(i)
					n.Router().Go(actors.Request{To: addressOf(spread(i, count)), Message: m}, func(a actors.Answer) {
						if a.Err != nil {
							b.Error(a.Err)
						}
						done()
					})
				}))
			}
			states, changes := []presence.State{presence.Early, presence.Confirmed}, 0 // changes counts over all tries of the benchmark
			b.Run("change", func(b *testing.B) {
				through(b, func(int) (int, actors.Message) {
					changes++
					return changes, presence.SetManual{State: states[changes/count%2]}
				})
			})
			b.Run("read", func(b *testing.B) { through(b, func(i int) (int, actors.Message) { return i, actors.Show{} }) })
		})
	}
}
