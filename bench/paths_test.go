package bench_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/valyala/fasthttp"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// pipelined runs do b.N times with at most depth under way and gives the time per operation.
func pipelined(b *testing.B, depth int, do func(i int, done func())) float64 {
	slots := make(chan struct{}, depth)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		slots <- struct{}{}
		wg.Add(1)
		do(i, func() { <-slots; wg.Done() })
	}
	wg.Wait()
	b.StopTimer()
	return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
}

const depth = 512

// Subscription refresh over NATS to its durable ack, beside the same bytes written raw to JetStream with the same
// condition and TTL.
func BenchmarkRefresh(b *testing.B) {
	n := start(b, b.TempDir())
	count := extensions()
	n.subscribe(b, count, "c")
	client, err := nats.Connect(n.url)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	edge, err := client.Subscribe("lamplight.notify.*", func(*nats.Msg) {}) // every subscription is told its state
	if err != nil {
		b.Fatal(err)
	}
	_ = edge.SetPendingLimits(-1, -1)
	var floor, ours float64
	b.Run("floor=jetstream", func(b *testing.B) { floor = raw(b, client, count) })
	b.Run("lamplight", func(b *testing.B) {
		inbox := client.NewInbox()
		var waiting sync.Map
		sub, err := client.Subscribe(inbox+".*", func(m *nats.Msg) {
			if done, ok := waiting.LoadAndDelete(m.Subject); ok {
				done.(func())()
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		docs := make([][]byte, 1000)
		for i := range docs {
			w := watcher(i, "c")
			docs[i] = fmt.Appendf(nil, `{"App-Name":"b","App-Version":"1","Event-Category":"presence","Event-Name":"subscription","Msg-ID":"m","User":"%s","From":"sip:%s","Call-ID":"%s","From-Tag":"%s","To-Tag":"%s","Contact":"%s","Server-ID":"%s","User-Agent":"%s","Expires":3600}`,
				name(i), w.From, w.CallID, w.FromTag, w.ToTag, w.Contact, w.ServerID, w.UserAgent)
		}
		ours = pipelined(b, depth, func(i int, done func()) {
			reply := inbox + "." + strconv.Itoa(i)
			waiting.Store(reply, done)
			if err := client.PublishRequest("omnipresence.subscribe.bench%2Eexample%2Ecom."+name(i%1000).User, reply, docs[i%1000]); err != nil {
				b.Error(err)
			}
		})
		b.ReportMetric(floor/ours, "of-floor")
	})
}

func raw(b *testing.B, nc *nats.Conn, count int) float64 {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(depth))
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}, MaxMsgsPerSubject: 1, AllowMsgTTL: true, Storage: jetstream.FileStorage})
	if err != nil {
		b.Fatal(err)
	}
	ack, err := js.Publish(ctx, "raw.claim", []byte("x"))
	if err != nil {
		b.Fatal(err)
	}
	fence := []string{strconv.FormatUint(ack.Sequence, 10)}
	body := make([]byte, 220)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		m := &nats.Msg{Subject: "raw.17.a.s." + strconv.Itoa(i%count), Data: body, Header: nats.Header{"Nats-TTL": []string{"3680"},
			"Nats-Expected-Last-Subject-Sequence": fence, "Nats-Expected-Last-Subject-Sequence-Subject": []string{"raw.claim"}}}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.StopTimer()
	return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
}

// A change of one extension to its watchers on four edges, beside a raw NATS publish of as many bytes to the same subscriber.
func BenchmarkChange(b *testing.B) {
	for _, watchers := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			n := start(b, b.TempDir())
			to := actors.Address{Realm: realm, User: "watched"}
			for i := range watchers {
				if a := n.router.Request(context.Background(), actors.Request{To: to, Message: watcher(i, "w")}); a.Err != nil {
					b.Fatal(a.Err)
				}
			}
			client, err := nats.Connect(n.url)
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			var bytes, messages, arrived atomic.Int64
			sub, err := client.Subscribe("lamplight.notify.*", func(m *nats.Msg) { bytes.Add(int64(len(m.Data))); arrived.Add(1) })
			if err != nil {
				b.Fatal(err)
			}
			_ = sub.SetPendingLimits(-1, -1)
			_ = client.Flush()
			states := []presence.State{presence.Early, presence.Confirmed}
			change := func(i int, done func()) {
				n.router.Go(actors.Request{To: to, Message: presence.SetManual{State: states[i%2]}}, func(a actors.Answer) {
					if a.Err != nil {
						b.Error(a.Err)
					}
					done()
				})
			}
			var ours float64
			b.Run("lamplight", func(b *testing.B) {
				ours = pipelined(b, 16, change)
				_ = n.conn.Flush()
				messages.Store(arrived.Load())
			})
			if arrived.Load() == 0 {
				b.Fatal("no NOTIFY arrived")
			}
			perChange := min(4, watchers)
			size := int(bytes.Load() / arrived.Load())
			b.Run("floor=publish", func(b *testing.B) {
				data := make([]byte, size)
				raw := pipelined(b, 16, func(_ int, done func()) {
					for range perChange {
						_ = n.conn.Publish("lamplight.notify.floor", data) // to the same subscriber
					}
					done()
				})
				_ = n.conn.Flush()
				b.ReportMetric(raw/ours, "of-floor")
			})
			_ = sub.Unsubscribe()
		})
	}
}

// REST read and set over one keep-alive connection per worker, beside bare fasthttp answering the same bytes.
func BenchmarkREST(b *testing.B) {
	n := start(b, b.TempDir())
	n.subscribe(b, extensions(), "c")
	read := func(path, method string, body string) (*fasthttp.Request, func()) {
		q := fasthttp.AcquireRequest()
		q.SetRequestURI("http://" + n.rest.Addr() + "/v2/accounts/" + n.account + path)
		q.Header.SetMethod(method)
		q.Header.Set("X-Auth-Token", n.token)
		q.SetBodyString(body)
		return q, func() { fasthttp.ReleaseRequest(q) }
	}
	client := &fasthttp.Client{MaxConnsPerHost: 64}
	one := func(b *testing.B, q *fasthttp.Request, url func(i int) string) float64 {
		var i atomic.Int64
		b.ReportAllocs()
		b.SetParallelism(8)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			mine, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			q.CopyTo(mine)
			for pb.Next() {
				if url != nil {
					mine.SetRequestURI(url(int(i.Add(1))))
				}
				if err := client.Do(mine, a); err != nil || a.StatusCode() != 200 {
					b.Errorf("%v %d %s", err, a.StatusCode(), a.Body())
					return
				}
			}
		})
		b.StopTimer()
		return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	}
	q, release := read("/presence/"+name(1).User, "GET", "")
	defer release()
	a := fasthttp.AcquireResponse()
	if err := client.Do(q, a); err != nil {
		b.Fatal(err)
	}
	same := append([]byte(nil), a.Body()...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		_ = (&fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) { c.SetContentType("application/json"); c.SetBody(same) }}).Serve(ln)
	}()
	var bare float64
	b.Run("floor=fasthttp", func(b *testing.B) {
		f := fasthttp.AcquireRequest()
		q.CopyTo(f)
		f.SetRequestURI("http://" + ln.Addr().String() + "/")
		bare = one(b, f, nil)
	})
	base := "http://" + n.rest.Addr() + "/v2/accounts/" + n.account + "/presence/"
	b.Run("read", func(b *testing.B) {
		ours := one(b, q, func(i int) string { return base + name(i%extensions()).User })
		b.ReportMetric(bare/ours, "of-floor")
	})
	b.Run("set", func(b *testing.B) {
		s, release := read("/presence/x", "POST", `{"data":{"action":"set","state":"confirmed"}}`)
		defer release()
		run := time.Now().UnixNano() // each run sets extensions that no run before set
		ours := one(b, s, func(i int) string { return base + "s" + strconv.FormatInt(run, 36) + strconv.Itoa(i) })
		b.ReportMetric(bare/ours, "of-fasthttp")
	})
}

// Listing an account of 100 extensions among all others, beside a plain map and mutex.
func BenchmarkList(b *testing.B) {
	n := start(b, b.TempDir())
	n.subscribe(b, extensions(), "c")
	small := "small." + realm
	plain := map[string]map[string]presence.Subscribe{small: {}}
	var mu sync.Mutex
	for i := range 100 {
		w := watcher(i, "l")
		plain[small][w.CallID] = w
		if a := n.router.Request(context.Background(), actors.Request{To: actors.Address{Realm: small, User: strconv.Itoa(i)}, Message: w}); a.Err != nil {
			b.Fatal(a.Err)
		}
	}
	var floor float64
	b.Run("floor=map", func(b *testing.B) {
		for range b.N {
			mu.Lock()
			rows := make([]presence.Subscribe, 0, 100)
			for _, w := range plain[small] {
				rows = append(rows, w)
			}
			mu.Unlock()
			_ = rows
		}
		floor = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	})
	b.Run("lamplight", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			rows := 0
			if _, err := n.router.List(context.Background(), actors.Query{Realm: small}, func(actors.SubscriptionView) error { rows++; return nil }); err != nil || rows != 100 {
				b.Fatalf("%d rows, %v", rows, err)
			}
		}
		b.ReportMetric(floor*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "of-floor")
	})
}
