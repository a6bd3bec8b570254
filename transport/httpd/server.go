// Package httpd is the HTTP listener of a node. It owns what every request needs, whatever it asks: the deadline, the
// request id, CORS, the body and its bounds, the token's place, the envelope of answers and errors, panics, and the paths
// about the node itself (/healthz, /readyz, /metrics). Other packages mount their paths on it, as transport/rest does.
//
// Handlers run on fasthttp's goroutines, one for each connection. A Request and all bytes of it belong to fasthttp again
// when its handler has returned.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

const (
	MaxHead   = 16 << 10         // bytes of request line and headers; a name of 1,400 %-encoded bytes gets its own answer
	writeTime = 30 * time.Second // a client that reads nothing for so long is cut off
)

// Config is what a Server needs.
type Config struct {
	Listen        string        // HOST:PORT
	Node, Version string        // as envelopes show them
	Timeout       time.Duration // of a request, from its arrival
	Ready         func() error  // why the node does not serve; nil when it does
	Log           *slog.Logger
	Registry      *prometheus.Registry
}

// Handler answers a request: it calls one of the Request's methods that answer, or returns an error. An error that wraps
// a Failure is answered as that says; any other is answered 503.
type Handler func(q *Request) error

// Server is the HTTP listener of a node.
type Server struct {
	cfg     Config
	http    *fasthttp.Server
	mounted map[string]Handler // by the first segment of the path
	metrics fasthttp.RequestHandler
	errors  *prometheus.CounterVec
	large   chan struct{} // bounds the memory of large bodies
	ln      net.Listener
	done    chan struct{} // closed when fasthttp has returned
}

// New makes a Server that does not listen yet.
func New(c Config) *Server {
	s := &Server{cfg: c, mounted: map[string]Handler{}, done: make(chan struct{}), large: make(chan struct{}, MaxLarge)}
	s.errors = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_http_errors_total", Help: "HTTP answers other than success, by code."}, []string{"code"})
	c.Registry.MustRegister(s.errors)
	s.metrics = fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{}))
	s.http = &fasthttp.Server{Handler: s.handle, Name: "lamplight", MaxRequestBodySize: SmallBody, ReadTimeout: 30 * time.Second,
		WriteTimeout: writeTime, ReadBufferSize: MaxHead, IdleTimeout: 2 * time.Minute, Concurrency: 64 << 10, StreamRequestBody: true, NoDefaultContentType: true, Logger: quiet{c.Log},
		ErrorHandler: s.malformed}
	s.Mount("healthz", s.healthz)
	s.Mount("readyz", s.readyz)
	s.Mount("metrics", s.serveMetrics)
	return s
}

// Mount has a handler answer all requests whose path begins with a segment. It is called before Start.
func (s *Server) Mount(segment string, h Handler) { s.mounted[segment] = h }

// quiet hands fasthttp's log lines on. They are about clients that break off, so they are for debugging.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, a ...any) { q.log.Debug(fmt.Sprintf(format, a...)) }

// Start listens and serves.
func (s *Server) Start(context.Context) error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("http: %w; give another address with --http", err)
	}
	s.ln = ln
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("the HTTP server ended; restart the node", "err", err)
		}
	}()
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Stop lets the requests that came end, and stops listening.
func (s *Server) Stop(ctx context.Context) error {
	if s.ln == nil {
		return nil
	}
	err := s.http.ShutdownWithContext(ctx)
	_ = s.ln.Close() // fasthttp knows no listener yet if it was started a moment ago
	<-s.done
	return err
}

// handle serves one request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	q := &Request{RequestCtx: ctx, ID: requestID(ctx), Within: Within{Until: time.Now().Add(s.cfg.Timeout)}, server: s}
	defer func() {
		q.release()
		if r := recover(); r != nil {
			s.cfg.Log.Error("a handler panicked; please report the stack", "request_id", q.ID, "reason", r, "stack", string(debug.Stack()))
			q.fail(Failure{503, "datastore_unreachable", `{"message":"an internal error; its cause is in the log under the request_id"}`})
		}
	}()
	h := &ctx.Response.Header
	h.Set("X-Request-ID", q.ID)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "X-Request-ID, ETag, Retry-After")
	if ctx.IsOptions() {
		h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-Auth-Token, Authorization, X-Request-ID, X-Pretty-Print, If-None-Match")
		h.Set("Access-Control-Max-Age", "86400")
		ctx.SetStatusCode(204)
		return
	}
	q.pretty = string(ctx.QueryArgs().Peek("pretty_print")) == "true" || string(ctx.Request.Header.Peek("X-Pretty-Print")) == "true"
	body, err := q.readBody()
	q.Token = findToken(ctx, body)
	if err == nil {
		err = s.route(q)
	}
	if err != nil {
		q.fail(err)
	}
}

// route hands a request to what is mounted at the first segment of its path.
func (s *Server) route(q *Request) (err error) {
	if q.Path, err = segments(q.room[:0], q.Request.Header.RequestURI()); err != nil {
		return err
	}
	h := s.mounted[q.Path[0]]
	if h == nil {
		return Unknown(strings.Join(q.Path, "/"))
	}
	return h(q)
}

// malformed answers what fasthttp could not read as a request.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	q := &Request{RequestCtx: ctx, ID: requestID(ctx), server: s}
	if strings.Contains(err.Error(), "body size exceeds") || err == fasthttp.ErrBodyTooLarge {
		q.fail(tooLarge)
		return
	}
	var small *fasthttp.ErrSmallBuffer
	if errors.As(err, &small) {
		q.fail(NotJSON("the request line and the headers have more than " + strconv.Itoa(MaxHead) + " bytes together"))
		return
	}
	reason, _, _ := strings.Cut(err.Error(), ": buffer size=") // fasthttp shows behind it what it read
	q.fail(NotJSON("the request can't be read: " + reason))
}

// alone refuses paths that go on behind a path of one segment, and other verbs than GET and HEAD.
func alone(q *Request) error {
	if len(q.Path) > 1 {
		return Unknown(strings.Join(q.Path, "/"))
	}
	return q.Methods("GET")
}

func (s *Server) healthz(q *Request) error {
	if err := alone(q); err != nil {
		return err
	}
	q.OK(200, []byte(`"ok"`))
	return nil
}

func (s *Server) readyz(q *Request) error {
	if err := alone(q); err != nil {
		return err
	}
	if err := s.cfg.Ready(); err != nil {
		return Failure{503, "datastore_unreachable", `{"message":` + quoted("not ready: "+err.Error()) + `}`}
	}
	q.OK(200, []byte(`"ready"`))
	return nil
}

func (s *Server) serveMetrics(q *Request) error {
	if err := alone(q); err != nil {
		return err
	}
	s.metrics(q.RequestCtx)
	return nil
}
