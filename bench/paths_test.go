package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
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

// cost is what one operation takes, in ns.
type cost struct{ time, cpu float64 }

// costOf reads the benchmark's clock, and the process's, which was at used when it began.
func costOf(b *testing.B, used time.Duration) cost {
	return cost{float64(b.Elapsed().Nanoseconds()) / float64(b.N), float64((cpu() - used).Nanoseconds()) / float64(b.N)}
}

// beside reports how a cost compares with its floor. Of the time a busy machine takes its share, of the CPU it does not.
func (c cost) beside(b *testing.B, floor cost) {
	b.ReportMetric(c.cpu, "cpu-ns/op")
	b.ReportMetric(floor.time/c.time, "of-floor")
	b.ReportMetric(floor.cpu/c.cpu, "cpu-of-floor")
}

// pipelined runs do b.N times with at most depth under way and gives the cost of one.
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

const depth = 512

// A change of one extension to its watchers on four edges, beside a raw NATS publish of as many bytes to the same subscriber.
func BenchmarkChange(b *testing.B) {
	for _, watchers := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			n := start(b, b.TempDir())
			to := actors.Address{Realm: realm, User: "watched"}
			for i := range watchers {
				if a := n.Router().Request(context.Background(), actors.Request{To: to, Message: watcher(i, "w")}); a.Err != nil {
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
			b.Run("floor=publish", func(b *testing.B) {
				data := make([]byte, size)
				raw := pipelined(b, 16, func(_ int, done func()) {
					for range perChange {
						_ = n.Conn().Publish("lamplight.notify.floor", data) // to the same subscriber
					}
					done()
				})
				_ = n.Conn().Flush()
				ours.beside(b, raw)
			})
			_ = sub.Unsubscribe()
		})
	}
}

// browser asks over one keep-alive connection per worker.
type browser struct {
	client fasthttp.Client
	q      *fasthttp.Request // what every request has
}

func newBrowser(b *testing.B, n *node, method, body string) *browser {
	w := &browser{client: fasthttp.Client{MaxConnsPerHost: 64, ReadBufferSize: 16 << 10, Dial: func(to string) (net.Conn, error) { return net.Dial("tcp", to) }}, q: fasthttp.AcquireRequest()}
	w.q.Header.SetMethod(method)
	w.q.Header.Set("X-Auth-Token", n.token)
	w.q.SetBodyString(body)
	b.Cleanup(w.client.CloseIdleConnections)
	return w
}

// browsers is how many ask at a time.
const browsers = 16

// load asks b.N times and gives the cost of a request, the asking included.
func (w *browser) load(b *testing.B, url func(i int) string) cost {
	var i atomic.Int64
	b.ReportAllocs()
	used := cpu()
	b.SetParallelism((browsers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
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

// bare is a fasthttp server that answers all the same bytes, headers too, as are answered at url. It says where it is.
func (w *browser) bare(b *testing.B, url string) string {
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

func (n *node) presence() string {
	return "http://" + n.Addr(lamplight.HTTP) + "/v2/accounts/" + n.account + "/presence"
}

// REST read of one extension, its owner on the node that is asked or on another, beside bare fasthttp answering the
// same bytes.
func BenchmarkRESTRead(b *testing.B) {
	owner := start(b, b.TempDir())
	owner.subscribe(b, extensions(), "c")
	for _, asked := range []*node{owner, startBeside(b, owner)} {
		b.Run(map[bool]string{true: "owner=near", false: "owner=far"}[asked == owner], func(b *testing.B) {
			w := newBrowser(b, asked, "GET", "")
			url := make([]string, extensions())
			for i := range url {
				url[i] = asked.presence() + "/" + name(i).User
			}
			bare := w.bare(b, url[0])
			var floor cost
			b.Run("floor=fasthttp", func(b *testing.B) {
				floor = w.load(b, func(int) string { return bare })
				b.ReportMetric(floor.cpu, "cpu-ns/op")
			})
			b.Run("lamplight", func(b *testing.B) {
				ours := w.load(b, func(i int) string { return url[i%len(url)] })
				ours.beside(b, floor)
			})
		})
	}
}

// A manual state set by REST, kept when it is answered, beside the same record written to JetStream on the same
// condition, with as many under way.
func BenchmarkRESTSet(b *testing.B) {
	n := start(b, b.TempDir())
	client, err := nats.Connect(n.url)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var floor cost
	b.Run("floor=jetstream", func(b *testing.B) { floor = raw(b, client, b.N, browsers) })
	b.Run("lamplight", func(b *testing.B) {
		run := n.presence() + "/s" + strconv.FormatInt(time.Now().UnixNano(), 36) // each run sets extensions that no run before set
		w := newBrowser(b, n, "POST", `{"data":{"action":"set","state":"confirmed"}}`)
		ours := w.load(b, func(i int) string { return run + strconv.Itoa(i) })
		ours.beside(b, floor)
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

// Listing an account of all extensions through HTTP, beside the same rows, in memory, encoded by the same encoder and
// sent by bare fasthttp. held is what a listing whose client reads no more holds.
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
	w := newBrowser(b, n, "GET", "")
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
	b.Run("lamplight", func(b *testing.B) { measure(b, n.presence()).beside(b, floor) })
}
