// Package httpd is the HTTP listener of a node. It does what every request needs: it sets the deadline and the request id,
// answers CORS requests, reads the body within its bounds, finds the token, writes the envelope of answers and errors, and
// catches panics. It also serves the paths about the node itself (/healthz, /readyz, /metrics). Other packages mount their
// paths on it, as transport/rest does.
//
// fasthttp runs a handler on the goroutine of the request's connection, so a handler may wait. A Request, and all slices that
// its methods return, belong to fasthttp again when the handler has returned: nobody may use them after that.
package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"lamplight/cluster/loglimit"
	"lamplight/cluster/trace"
)

// The bounds of a connection.
const (
	MaxHead   = 16 << 10         // bytes of the request line and the headers; enough for a name of 1,400 percent-encoded bytes
	writeTime = 10 * time.Second // how long a client may read nothing before its connection is closed
)

// Config is what a Server needs. All fields must be set.
type Config struct {
	Listen        string        // HOST:PORT
	Node, Version string        // as envelopes show them
	Timeout       time.Duration // of a request, from its arrival
	Ready         func() error  // says why the node does not serve; nil when it does. It must not wait.
	Log           *slog.Logger
	Registry      *prometheus.Registry // what /metrics serves

	TLS *tls.Config // nil: the listener speaks plain HTTP

	Tracer *trace.Tracer // nil: no request is traced

	MaxConnections int // at the same time
	MaxPerAddress  int // of one client address
}

// Handler answers a request: it calls OK, End or Stream of the Request once, or returns an error. An error that is or wraps a
// Failure is answered as the Failure says, any other one with 503. A Handler may be called from several goroutines at the same
// time, and it may wait, but should answer by the deadline of the Request, which is a context.
type Handler func(q *Request) error

// Server is the HTTP listener of a node. Mount its paths, then call Start.
type Server struct {
	cfg     Config
	http    *fasthttp.Server
	mounted map[string]mount        // by the first segment of the path
	scraped fasthttp.RequestHandler // answers /metrics
	metrics *metrics
	large   *bodies
	ln      *listener
	held    atomic.Int64 // requests that wait in HoldBack
	stop    sync.Once    // closes stopping
	// stopping is closed when the server is to end.
	stopping chan struct{}
	done     chan struct{} // closed when fasthttp's server has ended
}

// New makes a Server and registers its metrics. It does not listen.
func New(c Config) *Server {
	c.Log = loglimit.Limit(c.Log).With("part", "http")
	s := &Server{cfg: c, mounted: map[string]mount{}, stopping: make(chan struct{}), done: make(chan struct{}), large: newBodies()}
	s.metrics = newMetrics(c.Registry, c.Version, func() float64 { return float64(s.ln.open()) })
	s.scraped = fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{}))
	s.http = &fasthttp.Server{Handler: s.handle, Name: "lamplight", MaxRequestBodySize: SmallBody, ReadTimeout: c.Timeout,
		WriteTimeout: writeTime, ReadBufferSize: MaxHead, IdleTimeout: 2 * time.Minute, Concurrency: 64 << 10, StreamRequestBody: true, DisablePreParseMultipartForm: true, NoDefaultContentType: true, Logger: debugLog{c.Log},
		ErrorHandler: s.malformed, ConnState: noteState}
	s.Mount("healthz", s.healthz)
	s.Mount("readyz", s.readyz)
	s.Mount("metrics", s.serveMetrics)
	return s
}

// Mount makes h answer all requests whose path begins with a segment. Call it before Start.
func (s *Server) Mount(segment string, h Handler) { s.mounted[segment] = mount{"/" + segment, h} }

// mount is a handler and its Request.Route.
type mount struct {
	route   string
	handler Handler
}

// debugLog writes fasthttp's log lines at the level debug: they are about clients that close their connections early.
type debugLog struct{ log *slog.Logger }

func (d debugLog) Printf(format string, a ...any) { d.log.Debug(fmt.Sprintf(format, a...)) }

// Start listens, and serves on a goroutine of its own.
func (s *Server) Start(context.Context) error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("the HTTP API cannot listen: %w; give another address with --http", err)
	}
	s.ln = &listener{Listener: ln, most: s.cfg.MaxConnections, mostOf: s.cfg.MaxPerAddress, refused: s.metrics.refused, log: s.cfg.Log, by: map[netip.Addr]map[*conn]struct{}{}}
	serving := net.Listener(s.ln)
	if s.cfg.TLS != nil {
		serving = tls.NewListener(s.ln, s.cfg.TLS)
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(serving); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("the HTTP server ended, and the node serves no HTTP requests any more; restart the node", "err", err)
		}
	}()
	return nil
}

// Addr returns the address that the server listens on, as HOST:PORT. Call it after Start.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Stop closes the listener and waits until the requests under way are answered, at the longest until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { close(s.stopping) })
	if s.ln == nil {
		return nil
	}
	err := s.http.ShutdownWithContext(ctx)
	_ = s.ln.Close() // fasthttp closes it only if its goroutine has got as far as Serve
	<-s.done
	return err
}

// handle serves one request, whatever its path.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	begun := time.Now()
	q := &Request{RequestCtx: ctx, ID: requestID(ctx), Within: Within{Until: begun.Add(s.cfg.Timeout)}, server: s}
	q.Span = s.cfg.Tracer.Begin(trace.Server, "HTTP", string(ctx.Request.Header.Peek("traceparent")))
	defer func() {
		q.release()
		if r := recover(); r != nil {
			s.cfg.Log.Error("an HTTP request failed because of a bug, and was answered 503; please report this line", "request_id", q.ID, "reason", r, "stack", string(debug.Stack()))
			q.fail(Failure{503, "datastore_unreachable", `{"message":"an internal error; the node's log has its cause under the request_id"}`})
		}
		s.metrics.answered(q, time.Since(begun)-q.held)
		q.endSpan()
	}()
	h := &ctx.Response.Header
	h.Set("X-Request-ID", q.ID)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "X-Request-ID, ETag, Retry-After")
	if ctx.IsOptions() {
		h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-Auth-Token, Authorization, X-Request-ID, X-Pretty-Print, If-None-Match, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "86400")
		ctx.SetStatusCode(204)
		return
	}
	q.pretty = string(ctx.QueryArgs().Peek("pretty_print")) == "true" || string(ctx.Request.Header.Peek("X-Pretty-Print")) == "true"
	body, err := q.readSmall()
	noteWhole(ctx.Conn())
	q.Token = findToken(ctx, body)
	switch {
	case err != nil:
	case ctx.Request.Header.ContentLength() > MaxBody:
		err = tooLarge(MaxBody)
	default:
		err = s.route(q)
	}
	q.dropBody()
	if err != nil {
		q.fail(err)
	}
}

// route calls the handler that is mounted at the first segment of the path.
func (s *Server) route(q *Request) (err error) {
	if q.Path, err = segments(q.room[:0], q.Request.Header.RequestURI()); err != nil {
		return err
	}
	m := s.mounted[q.Path[0]]
	if m.handler == nil {
		return Unknown(strings.Join(q.Path, "/"))
	}
	q.Route = m.route
	return m.handler(q)
}

// malformed answers a request that fasthttp could not read.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	q := &Request{RequestCtx: ctx, ID: requestID(ctx), server: s}
	defer func() { s.metrics.answered(q, 0) }()
	if strings.Contains(err.Error(), "body size exceeds") || err == fasthttp.ErrBodyTooLarge {
		q.fail(tooLarge(MaxBody))
		return
	}
	var small *fasthttp.ErrSmallBuffer
	if errors.As(err, &small) {
		q.fail(NotJSON("the request line and the headers have more than " + strconv.Itoa(MaxHead) + " bytes together"))
		return
	}
	reason, _, _ := strings.Cut(err.Error(), ": buffer size=") // fasthttp repeats the bytes of the request behind this
	q.fail(unread(err, "the request can't be read: "+reason))
}

// checkGet refuses a path of more than one segment, and verbs other than GET and HEAD.
func checkGet(q *Request) error {
	if len(q.Path) > 1 {
		return Unknown(strings.Join(q.Path, "/"))
	}
	return q.Methods("GET")
}

func (s *Server) healthz(q *Request) error {
	if err := checkGet(q); err != nil {
		return err
	}
	q.OK(200, []byte(`"ok"`))
	return nil
}

func (s *Server) readyz(q *Request) error {
	if err := checkGet(q); err != nil {
		return err
	}
	if err := s.cfg.Ready(); err != nil {
		return Failure{503, "datastore_unreachable", `{"message":` + quoted("not ready: "+err.Error()) + `}`}
	}
	q.OK(200, []byte(`"ready"`))
	return nil
}

func (s *Server) serveMetrics(q *Request) error {
	if err := checkGet(q); err != nil {
		return err
	}
	s.scraped(q.RequestCtx)
	return nil
}
