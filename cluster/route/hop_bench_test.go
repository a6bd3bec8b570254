package route

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// BenchmarkHop reads one extension with one watcher, on this node and on another one, beside a bare NATS request of about
// the same size over the same two connections. The ratio is the time of the bare request divided by ours.
func BenchmarkHop(b *testing.B) {
	n := startNodes(b, nil, "a", "b")
	near, far := n.at("a", 0), n.at("b", 0)
	for _, to := range []actors.Address{near, far} {
		n.must("a", to, presence.Subscribe{CallID: "call-1@10.0.0.9", From: "1002@acme.test", ServerID: "edge", UserAgent: "Yealink SIP-T46S 66.86", Expires: 600})
	}
	r := n.of["a"].router
	read := func(to actors.Address) func(done func()) {
		return func(done func()) {
			r.Go(actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(time.Minute)}, func(a actors.Answer) {
				if a.Err != nil || len(a.Subscriptions) != 1 {
					b.Error(a.Err)
				}
				done()
			})
		}
	}
	for _, parallel := range []int{1, 64} {
		name := map[int]string{1: "one by one", 64: "64 at a time"}[parallel]
		var floor float64
		b.Run("bare NATS/"+name, func(b *testing.B) { floor = perOp(b, parallel, bare(b, n)) })
		b.Run("other node/"+name, func(b *testing.B) {
			before := r.batches.Load()
			b.ReportMetric(floor/perOp(b, parallel, read(far)), "ratio")
			b.ReportMetric(float64(b.N)/float64(r.batches.Load()-before), "calls/message")
		})
		b.Run("own node/"+name, func(b *testing.B) { b.ReportMetric(floor/perOp(b, parallel, read(near)), "ratio") })
	}
}

// BenchmarkCallers reads an extension of another node from 64 goroutines, each of which waits for its answer, as the requests of HTTP do. How many calls
// go in one message says whether they are gathered.
func BenchmarkCallers(b *testing.B) {
	n := startNodes(b, nil, "a", "b")
	far, r := n.at("b", 0), n.of["a"].router
	b.SetParallelism(32)
	b.ReportAllocs()
	before := r.batches.Load()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := r.Request(b.Context(), actors.Request{To: far, Message: actors.Show{}, Deadline: time.Now().Add(time.Minute)}); a.Err != nil {
				b.Error(a.Err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/float64(r.batches.Load()-before), "calls/message")
}

// perOp keeps a number of requests under way at a time, and returns the time for one in ns.
func perOp(b *testing.B, parallel int, ask func(done func())) float64 {
	b.ReportAllocs()
	free := make(chan struct{}, parallel)
	for range parallel {
		free <- struct{}{}
	}
	done := func() { free <- struct{}{} }
	begun := time.Now()
	for b.Loop() {
		<-free
		ask(done)
	}
	for range parallel {
		<-free
	}
	return float64(time.Since(begun).Nanoseconds()) / float64(b.N)
}

// bare returns a function that makes a NATS request of 100 bytes with an answer of 1000 bytes. Many may be under way at a
// time, over one inbox.
func bare(b *testing.B, n *nodes) func(done func()) {
	a, o := n.of["a"].conn, n.of["b"].conn
	answer := make([]byte, 1000)
	echo, err := o.Subscribe("bare", func(m *nats.Msg) { _ = m.Respond(answer) })
	if err != nil {
		b.Fatal(err)
	}
	waiting := make(chan func(), 64)
	inbox := nats.NewInbox()
	answers, err := a.Subscribe(inbox, func(*nats.Msg) { (<-waiting)() })
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range []*nats.Conn{a, o} {
		if err := c.FlushWithContext(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.Cleanup(func() { _, _ = echo.Unsubscribe(), answers.Unsubscribe() })
	question := make([]byte, 100)
	return func(done func()) {
		waiting <- done
		if err := a.PublishRequest("bare", inbox, question); err != nil {
			b.Fatal(err)
		}
	}
}
