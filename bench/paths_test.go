package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/valyala/fasthttp"

	"lamplight/actors"
	"lamplight/actors/presence"
	lamplight "lamplight/cmd/lamplight/node"
	"lamplight/transport/kazoo"
)

// cost is the wall time and the CPU time of one operation, in ns.
type cost struct{ time, cpu float64 }

// costOf gives the cost of one operation. used is the CPU time of the process when the benchmark's clock began.
func costOf(b *testing.B, used time.Duration) cost {
	return cost{float64(b.Elapsed().Nanoseconds()) / float64(b.N), float64((cpu() - used).Nanoseconds()) / float64(b.N)}
}

// reportAgainst reports how a cost compares with its floor: by wall time, which a busy machine makes longer, and by CPU time,
// which it does not.
func (c cost) reportAgainst(b *testing.B, floor cost) {
	b.ReportMetric(c.cpu, "cpu-ns/op")
	b.ReportMetric(floor.time/c.time, "of-floor")
	b.ReportMetric(floor.cpu/c.cpu, "cpu-of-floor")
}

// pipelined runs do b.N times, at most depth at a time, and gives the cost of one. do calls done when it has ended.
func pipelined(b *testing.B, depth int, do func(i int, done func())) cost {
	slots := make(chan struct{}, depth)
	var wg sync.WaitGroup
	b.ReportAllocs()
	used := cpu()
	b.ResetTimer()
	for i := range b.N {
		slots <- struct{}{}
		wg.Add(1)
		do(i, func() { <-slots; wg.Done() })
	}
	wg.Wait()
	b.StopTimer()
	return costOf(b, used)
}

// inFlight is how many operations are under way at a time, unless a benchmark says otherwise.
const inFlight = 512

// BenchmarkChange measures a change of one extension until it is acknowledged, with its NOTIFYs to watchers behind four edges.
// The floor is a plain NATS publish of as many bytes to the same subscriber; for one watcher it is a durable record in JetStream, and then that
// publish.
func BenchmarkChange(b *testing.B) {
	for _, watchers := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			n := start(b, b.TempDir())
			to := n.watched(b, watchers)
			client := connect(b, n)
			var bytes, messages, arrived atomic.Int64
			sub, err := client.Subscribe("lamplight.notify.*", func(m *nats.Msg) { bytes.Add(int64(len(m.Data))); arrived.Add(1) })
			if err != nil {
				b.Fatal(err)
			}
			_ = sub.SetPendingLimits(-1, -1)
			_ = client.Flush()
			states := []presence.State{presence.Early, presence.Confirmed}
			change := func(i int, done func()) {
				n.Router().Go(actors.Request{To: to, Message: presence.SetManual{State: states[i%2]}}, func(a actors.Answer) {
					if a.Err != nil {
						b.Error(a.Err)
					}
					done()
				})
			}
			var ours cost
			b.Run("lamplight", func(b *testing.B) {
				ours = pipelined(b, 16, change)
				_ = n.Conn().Flush()
				messages.Store(arrived.Load())
			})
			if arrived.Load() == 0 {
				b.Fatal("no NOTIFY arrived")
			}
			perChange := min(4, watchers)
			size := int(bytes.Load() / arrived.Load())
			if watchers == 1 {
				b.Run("floor=commit+publish", func(b *testing.B) { ours.reportAgainst(b, rawCommits(b, n.Conn(), make([]byte, size))) })
				_ = sub.Unsubscribe()
				return
			}
			b.Run("floor=publish", func(b *testing.B) {
				data := make([]byte, size)
				raw := pipelined(b, 16, func(_ int, done func()) {
					for range perChange {
						_ = n.Conn().Publish("lamplight.notify.floor", data) // to the same subscriber
					}
					done()
				})
				_ = n.Conn().Flush()
				ours.reportAgainst(b, raw)
			})
			_ = sub.Unsubscribe()
		})
	}
}

// rawCommits writes b.N records to JetStream on a condition, 16 at most at a time, and publishes a message when each is acknowledged.
func rawCommits(b *testing.B, nc *nats.Conn, message []byte) cost {
	fence, inbox := rawStream(b, nc), nc.NewInbox()
	under := make(chan func(), 16)
	answers, err := nc.Subscribe(inbox, func(m *nats.Msg) {
		if strings.Contains(string(m.Data), "error") {
			b.Errorf("the floor's write was refused: %s", m.Data)
		}
		_ = nc.Publish("lamplight.notify.floor", message)
		(<-under)()
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	record := make([]byte, 220)
	return pipelined(b, cap(under), func(i int, done func()) {
		under <- done
		m := rawRecord(fence, strconv.Itoa(i%2), record)
		m.Reply = inbox
		if err := nc.PublishMsg(m); err != nil {
			b.Fatal(err)
		}
	})
}

// httpClient sends the same request to many URLs, over keep-alive connections.
type httpClient struct {
	client fasthttp.Client
	q      *fasthttp.Request // the method, headers and body of every request
}

func newHTTPClient(b *testing.B, n *node, method, body string) *httpClient {
	w := &httpClient{client: fasthttp.Client{MaxConnsPerHost: 64, ReadBufferSize: 16 << 10, Dial: func(to string) (net.Conn, error) { return net.Dial("tcp", to) }}, q: fasthttp.AcquireRequest()}
	w.q.Header.SetMethod(method)
	w.q.Header.Set("X-Auth-Token", n.token)
	w.q.SetBodyString(body)
	b.Cleanup(w.client.CloseIdleConnections)
	return w
}

// httpInFlight is how many requests are under way at a time.
const httpInFlight = 16

// load sends b.N requests and gives the cost of one, with the client's part.
func (w *httpClient) load(b *testing.B, url func(i int) string) cost {
	var i atomic.Int64
	b.ReportAllocs()
	used := cpu()
	b.SetParallelism((httpInFlight + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		w.q.CopyTo(q)
		for pb.Next() {
			q.SetRequestURI(url(int(i.Add(1))))
			if err := w.client.Do(q, a); err != nil || a.StatusCode() != 200 {
				b.Errorf("%v %d %s", err, a.StatusCode(), a.Body())
				return
			}
		}
	})
	b.StopTimer()
	return costOf(b, used)
}

// bare starts a fasthttp server that answers every request with the headers and body that the node answers at url. It returns
// the server's URL.
func (w *httpClient) bare(b *testing.B, url string) string {
	q, a := fasthttp.AcquireRequest(), &fasthttp.Response{}
	w.q.CopyTo(q)
	q.SetRequestURI(url)
	if err := w.client.Do(q, a); err != nil || a.StatusCode() != 200 {
		b.Fatal(err, a.StatusCode())
	}
	headers := map[string]string{}
	for name, value := range a.Header.All() {
		if n := string(name); n != "Date" && n != "Server" && n != "Content-Length" {
			headers[n] = string(value)
		}
	}
	return serveBare(b, func(c *fasthttp.RequestCtx) {
		for name, value := range headers {
			c.Response.Header.Set(name, value)
		}
		c.SetBody(a.Body())
	})
}

// serveBare starts a fasthttp server and returns its URL.
func serveBare(b *testing.B, h fasthttp.RequestHandler) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &fasthttp.Server{Handler: h, Name: "lamplight"}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	b.Cleanup(func() { _ = s.Shutdown(); <-done })
	return "http://" + ln.Addr().String() + "/"
}

// presence is the URL of the account's presence.
func (n *node) presence() string {
	return "http://" + n.Addr(lamplight.HTTP) + "/v2/accounts/" + n.account + "/presence"
}

// BenchmarkRESTRead measures a read of one extension over HTTP. Its owner is the node that is asked (near) or another one (far).
// The floor is bare fasthttp that answers the same bytes.
func BenchmarkRESTRead(b *testing.B) {
	owner := start(b, b.TempDir())
	owner.subscribe(b, extensions(), "c")
	for _, asked := range []*node{owner, startBeside(b, owner)} {
		b.Run(map[bool]string{true: "owner=near", false: "owner=far"}[asked == owner], func(b *testing.B) {
			w := newHTTPClient(b, asked, "GET", "")
			url, bare := make([]string, extensions()), make([]string, extensions()) // the floor is asked for the same paths
			for i := range url {
				url[i] = asked.presence() + "/" + addressOf(i).User
			}
			server := w.bare(b, url[0])
			for i := range bare {
				bare[i] = server + strings.TrimPrefix(url[i], "http://"+asked.Addr(lamplight.HTTP))
			}
			var floor cost
			b.Run("floor=fasthttp", func(b *testing.B) {
				floor = w.load(b, func(i int) string { return bare[i%len(bare)] })
				b.ReportMetric(floor.cpu, "cpu-ns/op")
			})
			b.Run("lamplight", func(b *testing.B) {
				ours := w.load(b, func(i int) string { return url[i%len(url)] })
				ours.reportAgainst(b, floor)
			})
		})
	}
}

// BenchmarkRESTSet measures a set of a manual state over HTTP, which is answered once it is durable. The floor is the same record
// written straight to JetStream, on the same condition and with as many under way.
func BenchmarkRESTSet(b *testing.B) {
	n := start(b, b.TempDir())
	client := connect(b, n)
	var floor cost
	b.Run("floor=jetstream", func(b *testing.B) { floor = rawWrites(b, client, b.N, httpInFlight) })
	b.Run("lamplight", func(b *testing.B) {
		run := n.presence() + "/s" + strconv.FormatInt(time.Now().UnixNano(), 36) // each try sets extensions that no earlier try has set
		w := newHTTPClient(b, n, "POST", `{"data":{"action":"set","state":"confirmed"}}`)
		ours := w.load(b, func(i int) string { return run + strconv.Itoa(i) })
		ours.reportAgainst(b, floor)
	})
}

// BenchmarkList measures the listing of an account with 100 extensions, on a node that holds many more. The floor is a map under
// a mutex.
func BenchmarkList(b *testing.B) {
	n := start(b, b.TempDir())
	n.subscribe(b, extensions(), "c")
	small := "small." + realm
	plain := map[string]map[string]presence.Subscribe{small: {}}
	var mu sync.Mutex
	for i := range 100 {
		w := subscribeEvent(i, "l")
		plain[small][w.CallID] = w
		if a := n.Router().Request(context.Background(), actors.Request{To: actors.Address{Realm: small, User: strconv.Itoa(i)}, Message: w}); a.Err != nil {
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
			if _, err := n.Router().List(context.Background(), actors.Query{Realm: small}, func(actors.SubscriptionView) error { rows++; return nil }); err != nil || rows != 100 {
				b.Fatalf("%d rows, %v", rows, err)
			}
		}
		b.ReportMetric(floor*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "of-floor")
	})
}

// BenchmarkListAll measures the listing of an account with all extensions over HTTP. The floor is the same rows, ready in memory,
// encoded by the same encoder and sent by bare fasthttp. held-MiB is the heap that a listing takes while its client has
// stopped reading halfway.
func BenchmarkListAll(b *testing.B) {
	n := start(b, b.TempDir())
	n.subscribe(b, extensions(), "c")
	rows := make([]actors.SubscriptionView, 0, extensions())
	if _, err := n.Router().List(context.Background(), actors.Query{Realm: realm, Bodies: true}, func(s actors.SubscriptionView) error { rows = append(rows, s); return nil }); err != nil {
		b.Fatal(err)
	}
	bare := serveBare(b, func(c *fasthttp.RequestCtx) {
		c.SetContentType("application/json")
		c.SetBodyStreamWriter(func(w *bufio.Writer) {
			var l kazoo.Listing
			var out []byte
			for i := range rows {
				if out = l.Row(out, &rows[i]); len(out) > 64<<10 {
					_, _ = w.Write(out[:len(out)-1])
					out = append(out[:0], out[len(out)-1])
				}
			}
			_, _ = w.Write(l.End(out))
		})
	})
	w := newHTTPClient(b, n, "GET", "")
	w.client.StreamResponseBody = true
	list := func(url string, halfway func()) (size int64) {
		q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		w.q.CopyTo(q)
		q.SetRequestURI(url)
		if err := w.client.Do(q, a); err != nil || a.StatusCode() != 200 {
			b.Fatal(err, a.StatusCode())
		}
		half, err := io.CopyN(io.Discard, a.BodyStream(), 20<<20)
		if halfway(); err == nil {
			var rest int64
			rest, err = io.Copy(io.Discard, a.BodyStream())
			half += rest
		}
		if err != nil && err != io.EOF {
			b.Fatal(err)
		}
		if err := a.CloseBodyStream(); err != nil {
			b.Fatal(err)
		}
		return half
	}
	measure := func(b *testing.B, url string) cost {
		before, held := heap(), int64(0)
		list(url, func() { held = heap() - before })
		used := cpu()
		b.ResetTimer()
		for range b.N {
			b.SetBytes(list(url, func() {}))
		}
		b.StopTimer()
		b.ReportMetric(float64(held)/(1<<20), "held-MiB")
		return costOf(b, used)
	}
	var floor cost
	b.Run("floor=fasthttp", func(b *testing.B) { floor = measure(b, bare) })
	b.Run("lamplight", func(b *testing.B) { measure(b, n.presence()).reportAgainst(b, floor) })
}
