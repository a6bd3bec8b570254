package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"lamplight/transport/client"
)

// restSender sends HTTP requests over keep-alive connections, one request at a time on each. A request that finds no free
// connection waits in a queue; its latency includes that time. send may be called from any goroutine.
type restSender struct {
	urls       []string
	token      string
	queue      chan *restRequest
	workers    sync.WaitGroup
	unanswered atomic.Int64 // requests, with those in the queue
	failures   errorSamples
}

// restRequest is one HTTP request of the load.
type restRequest struct {
	method, path, body string
	at                 time.Time
	recorder           *recorder
	done               func(answer []byte, err error) // the answer's bytes are valid until it returns; may be nil
}

// maxQueue is how many requests may wait for a connection. When the queue is full, send waits, and the generator with it.
const maxQueue = 100_000

func newRESTSender(urls []string, token string, connections int) *restSender {
	w := &restSender{urls: urls, token: token, queue: make(chan *restRequest, maxQueue)}
	for i := range connections {
		w.workers.Go(func() { w.work(i) })
	}
	return w
}

// close waits until every request is answered.
func (w *restSender) close() {
	close(w.queue)
	w.workers.Wait()
}

// send puts a request into the queue.
func (w *restSender) send(v *restRequest) {
	w.unanswered.Add(1)
	w.queue <- v
}

// work sends requests over one connection to each node, beginning with node n.
func (w *restSender) work(n int) {
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
		err := w.do(v, q, a, clients, &n)
		now := time.Now()
		w.unanswered.Add(-1)
		if err == nil {
			v.recorder.record(v.at, now)
		} else {
			v.recorder.fail()
			w.failures.add(err)
		}
		if v.done != nil {
			v.done(a.Body(), err)
		}
	}
}

// do sends a request to node n. If a node does not answer, or answers 503 or 429, it tries the next one, until giveUpAfter.
func (w *restSender) do(v *restRequest, q *fasthttp.Request, a *fasthttp.Response, clients []*fasthttp.HostClient, n *int) error {
	for {
		at := *n % len(clients)
		q.Reset()
		q.SetRequestURI(w.urls[at] + v.path)
		q.Header.SetMethod(v.method)
		q.Header.Set("X-Auth-Token", w.token)
		q.SetBodyString(v.body)
		err := clients[at].DoTimeout(q, a, giveUpAfter)
		switch {
		case err == nil && a.StatusCode() < 300:
			return nil
		case err == nil && a.StatusCode() != fasthttp.StatusServiceUnavailable && a.StatusCode() != fasthttp.StatusTooManyRequests:
			return fmt.Errorf("%s %s: %d %.200s", v.method, v.path, a.StatusCode(), a.Body())
		case time.Since(v.at) > giveUpAfter:
			return fmt.Errorf("%s: %w", v.method, client.ErrGivenUp)
		}
		*n++
		v.recorder.repeat()
		time.Sleep(retryPause)
	}
}
