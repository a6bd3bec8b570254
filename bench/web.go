package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"lamplight/transport/client"
)

// web sends REST requests over keep-alive connections, one request at a time on each. What has to wait for a free
// connection waits in a queue, and its latency counts from before.
type web struct {
	urls  []string
	token string
	queue chan *visit
	done  sync.WaitGroup
	out   atomic.Int64
	why   reasons
}

// visit is one request.
type visit struct {
	method, path, body string
	at                 time.Time
	rec                *recorder
	then               func(answer []byte, err error) // the answer's bytes are gone when it returns
}

// maxQueue is how many requests may wait for a connection: beyond it, the generator itself waits.
const maxQueue = 100_000

func newWeb(urls []string, token string, connections int) *web {
	w := &web{urls: urls, token: token, queue: make(chan *visit, maxQueue)}
	for i := range connections {
		w.done.Go(func() { w.work(i) })
	}
	return w
}

// close waits for what is queued.
func (w *web) close() {
	close(w.queue)
	w.done.Wait()
}

func (w *web) send(v *visit) {
	w.out.Add(1)
	w.queue <- v
}

func (w *web) work(n int) {
	clients := make([]*fasthttp.HostClient, len(w.urls))
	for i, u := range w.urls {
		uri := fasthttp.AcquireURI()
		_ = uri.Parse(nil, []byte(u))
		clients[i] = &fasthttp.HostClient{Addr: string(uri.Host()), IsTLS: string(uri.Scheme()) == "https", MaxConns: 1, MaxIdemponentCallAttempts: 1}
		fasthttp.ReleaseURI(uri)
	}
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	for v := range w.queue {
		err := w.visit(v, q, a, clients, &n)
		now := time.Now()
		w.out.Add(-1)
		if err == nil {
			v.rec.took(v.at, now)
		} else {
			v.rec.fail()
			w.why.add(err)
		}
		if v.then != nil {
			v.then(a.Body(), err)
		}
	}
}

// visit asks one node, and the next one if that does not answer or has no room.
func (w *web) visit(v *visit, q *fasthttp.Request, a *fasthttp.Response, clients []*fasthttp.HostClient, n *int) error {
	for {
		at := *n % len(clients)
		q.Reset()
		q.SetRequestURI(w.urls[at] + v.path)
		q.Header.SetMethod(v.method)
		q.Header.Set("X-Auth-Token", w.token)
		q.SetBodyString(v.body)
		err := clients[at].DoTimeout(q, a, patience)
		switch {
		case err == nil && a.StatusCode() < 300:
			return nil
		case err == nil && a.StatusCode() != fasthttp.StatusServiceUnavailable && a.StatusCode() != fasthttp.StatusTooManyRequests:
			return fmt.Errorf("%s %s: %d %.200s", v.method, v.path, a.StatusCode(), a.Body())
		case time.Since(v.at) > patience:
			return fmt.Errorf("%s: %w", v.method, client.ErrGivenUp)
		}
		*n++
		v.rec.repeat()
		time.Sleep(pause)
	}
}
