// Package rest is the fasthttp edge: Kazoo 4.3's Presence API, its provisioning, health and metrics (API.md).
// It checks what comes in, makes one message of it for the router and renders what comes back. Handlers run on
// fasthttp's goroutines, one per connection, and keep nothing of a request past its answer.
package rest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"lamplight/actors"
	"lamplight/cluster/directory"
)

//go:embed openapi.yaml
var openapi []byte

const (
	maxBody     = 8 << 20
	smallBody   = 64 << 10 // read before a request is looked at; larger ones are read maxLarge at a time
	maxLarge    = 64
	maxListings = 64               // at a time: each holds a window of subscriptions per node
	maxHead     = 16 << 10         // request line and headers; a name of 1,400 %-encoded bytes gets its own answer
	writeTime   = 30 * time.Second // a client that reads nothing for so long is cut off
)

// Presence is the router. Request answers by the request's deadline, and for a change only when it is durable.
type Presence interface {
	Request(ctx context.Context, r actors.Request) actors.Answer
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)
	ResetRealm(ctx context.Context, realm string) (actors.Coverage, error)
}

// Config is what a Server needs.
type Config struct {
	Node, Version string // Node as envelopes show it
	Timeout       time.Duration
	RateLimit     int // requests a second per account and client address; 0: off
	Presence      Presence
	Directory     *directory.Directory
	Verifier      *Verifier
	Sign          func(account string) (string, error)
	Ready         func() error
	Log           *slog.Logger
	Registry      *prometheus.Registry
}

// Server is the HTTP edge of a node.
type Server struct {
	cfg      Config
	http     *fasthttp.Server
	metrics  fasthttp.RequestHandler
	limits   *limits
	refused  *prometheus.CounterVec
	large    chan struct{} // bounds the memory of large bodies
	listings chan struct{} // bounds those of listings
	ln       net.Listener
	done     chan struct{} // closed when fasthttp has returned
}

// New makes a Server that does not listen yet.
func New(c Config) *Server {
	s := &Server{cfg: c, limits: newLimits(c.RateLimit), done: make(chan struct{}), large: make(chan struct{}, maxLarge), listings: make(chan struct{}, maxListings)}
	s.refused = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_http_errors_total", Help: "HTTP answers other than success, by code."}, []string{"code"})
	c.Registry.MustRegister(s.refused)
	s.metrics = fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{}))
	s.http = &fasthttp.Server{Handler: s.Handle, Name: "lamplight", MaxRequestBodySize: smallBody, ReadTimeout: 30 * time.Second,
		WriteTimeout: writeTime, ReadBufferSize: maxHead, IdleTimeout: 2 * time.Minute, Concurrency: 64 << 10, StreamRequestBody: true, NoDefaultContentType: true, Logger: quiet{c.Log},
		ErrorHandler: s.malformed}
	return s
}

type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, a ...any) { q.log.Debug(fmt.Sprintf(format, a...)) }

// Start listens and serves.
func (s *Server) Start(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("http: %w; give another address with --http", err)
	}
	s.ln = ln
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("the HTTP server ended", "err", err)
		}
	}()
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Close lets requests end and stops.
func (s *Server) Close(ctx context.Context) error {
	if s.ln == nil {
		return nil
	}
	err := s.http.ShutdownWithContext(ctx)
	_ = s.ln.Close() // fasthttp knows no listener yet if it was started a moment ago
	<-s.done
	return err
}

// request is one request on its way through the table.
type request struct {
	within
	server  *Server
	ctx     *fasthttp.RequestCtx
	id      string
	token   []byte
	account string // of the token
	subject string // the id that a 404 names
	next    string
	begun   int // where data begins in the answer
	pretty  bool
	stale   bool
}

// malformed answers what fasthttp could not read as a request.
func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	q := &request{server: s, ctx: ctx, id: requestID(ctx)}
	if strings.Contains(err.Error(), "body size exceeds") || err == fasthttp.ErrBodyTooLarge {
		q.fail(tooLarge)
		return
	}
	var small *fasthttp.ErrSmallBuffer
	if errors.As(err, &small) {
		q.fail(notJSON("the request line and the headers have more than " + strconv.Itoa(maxHead) + " bytes together"))
		return
	}
	reason, _, _ := strings.Cut(err.Error(), ": buffer size=") // behind it fasthttp shows what it read
	q.fail(notJSON("the request can't be read: " + reason))
}

// Handle serves one request.
func (s *Server) Handle(ctx *fasthttp.RequestCtx) {
	q := &request{server: s, ctx: ctx, id: requestID(ctx), within: within{deadline: time.Now().Add(s.cfg.Timeout)}}
	defer func() {
		q.release()
		if r := recover(); r != nil {
			s.cfg.Log.Error("panic in a handler", "request_id", q.id, "reason", r, "stack", string(debug.Stack()))
			q.fail(failure{503, "datastore_unreachable", `{"message":"an internal error; its cause is in the log under the request_id"}`})
		}
	}()
	h := &ctx.Response.Header
	h.Set("X-Request-ID", q.id)
	h.Set("Access-Control-Allow-Origin", "*")
	if ctx.IsOptions() {
		h.Set("Access-Control-Allow-Methods", "GET, PUT, POST, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-Auth-Token, Authorization, X-Request-ID, X-Pretty-Print, If-None-Match")
		h.Set("Access-Control-Expose-Headers", "X-Request-ID, ETag, Retry-After")
		h.Set("Access-Control-Max-Age", "86400")
		ctx.SetStatusCode(204)
		return
	}
	h.Set("Access-Control-Expose-Headers", "X-Request-ID, ETag, Retry-After")
	q.pretty = string(ctx.QueryArgs().Peek("pretty_print")) == "true" || string(ctx.Request.Header.Peek("X-Pretty-Print")) == "true"
	body, err := q.readBody()
	q.token = findToken(ctx, body)
	if err == nil {
		err = q.route()
	}
	if err != nil {
		q.fail(err)
	}
}

// readBody reads the body, of the large ones a bounded number at a time. One that is too large is read on for a while, so that its sender gets to see the answer
// instead of a reset connection.
func (q *request) readBody() ([]byte, error) {
	r := &q.ctx.Request
	if !r.IsBodyStream() {
		return r.Body(), nil
	}
	in := q.ctx.RequestBodyStream()
	var body []byte
	var err error
	length := r.Header.ContentLength()
	if length < 0 || length > smallBody {
		select {
		case q.server.large <- struct{}{}:
			defer func() { <-q.server.large }()
		default:
			q.ctx.SetConnectionClose()
			return nil, errTooMany
		}
	}
	large := length > maxBody
	if !large {
		body, err = io.ReadAll(io.LimitReader(in, maxBody+1))
	}
	if err != nil {
		return nil, notJSON("the body can't be read: " + err.Error())
	}
	if large || len(body) > maxBody {
		_, _ = io.CopyN(io.Discard, in, 8*maxBody)
		q.ctx.SetConnectionClose()
		return nil, tooLarge
	}
	r.SetBodyRaw(body)
	return body, nil
}

var tooLarge = failure{413, "request_too_large", `{"message":"the body is too large","max_bytes":` + strconv.Itoa(maxBody) + `}`}

// within is a context that ends at a deadline. Its timer is made for the first who waits for it: most requests' have none.
type within struct {
	deadline time.Time
	once     sync.Once
	timed    context.Context
	cancel   context.CancelFunc
}

func (w *within) timer() context.Context {
	w.once.Do(func() { w.timed, w.cancel = context.WithDeadline(context.Background(), w.deadline) })
	return w.timed
}

func (w *within) Deadline() (time.Time, bool) { return w.deadline, true }
func (w *within) Done() <-chan struct{}       { return w.timer().Done() }
func (w *within) Err() error                  { return w.timer().Err() }
func (w *within) Value(any) any               { return nil }

// release ends the context.
func (w *within) release() {
	w.once.Do(func() { w.timed, w.cancel = ended, func() {} })
	w.cancel()
}

var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// maxSegments are more than any path in the table has.
const maxSegments = 8

// path appends the decoded segments of the request's path.
func path(parts []string, raw []byte) ([]string, error) {
	p := string(raw)
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		p = p[:i]
	}
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if len(parts) == maxSegments {
			return nil, unknown("")
		}
		d, err := url.PathUnescape(part)
		if err != nil {
			return nil, invalid("path", "the path is not percent-encoded correctly: "+err.Error())
		}
		parts = append(parts, d)
	}
	return parts, nil
}

// reads says whether the request only reads; fasthttp leaves the body of an answer to HEAD out.
func (q *request) reads() bool { return q.ctx.IsGet() || q.ctx.IsHead() }

// methods checks the verb; Allow names those that would do. What may be got also answers HEAD.
func (q *request) methods(allowed ...string) error {
	method := string(q.ctx.Method())
	if slices.Contains(allowed, method) || method == "HEAD" && slices.Contains(allowed, "GET") {
		return nil
	}
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	q.ctx.Response.Header.Set("Allow", strings.Join(append(allowed, "OPTIONS"), ", "))
	return errMethod
}

// route is the table of paths.
func (q *request) route() error {
	var segments [maxSegments]string
	p, err := path(segments[:0], q.ctx.Request.Header.RequestURI())
	if err != nil {
		return err
	}
	if len(p) == 1 {
		return q.plain(p[0])
	}
	if p[0] != "v2" && p[0] != "v1" {
		return unknown(strings.Join(p, "/"))
	}
	p = p[1:]
	if p[0] == "api_auth" && len(p) == 1 {
		if err := q.methods("PUT"); err != nil {
			return err
		}
		return q.authenticate()
	}
	if p[0] != "accounts" {
		return unknown(p[0])
	}
	if err := q.authorise(); err != nil {
		return err
	}
	if len(p) == 1 {
		return q.accounts()
	}
	e, err := q.target(p[1])
	if err != nil {
		return err
	}
	if len(p) == 2 {
		return q.entry(directory.Accounts, e.ID, e.ID)
	}
	q.subject = p[len(p)-1]
	switch p[2] {
	case "presence":
		switch len(p) {
		case 3:
			return q.account3(e)
		case 4:
			return q.extension(e, p[3])
		}
	case "devices", "users":
		kind := strings.TrimSuffix(p[2], "s")
		switch {
		case len(p) == 3:
			return q.collection(kind, e.ID)
		case len(p) == 4:
			return q.entry(kind, e.ID, p[3])
		case len(p) == 5 && p[4] == "presence":
			q.subject = p[3]
			return q.owned(e, kind, p[3])
		}
	}
	return unknown(p[len(p)-1])
}

func (q *request) plain(name string) error {
	if name != "healthz" && name != "readyz" && name != "metrics" && name != "openapi.yaml" {
		return unknown(name)
	}
	if err := q.methods("GET"); err != nil {
		return err
	}
	switch name {
	case "healthz":
		q.ok(200, []byte(`"ok"`))
	case "readyz":
		if err := q.server.cfg.Ready(); err != nil {
			return failure{503, "datastore_unreachable", `{"message":` + text("not ready: "+err.Error()) + `}`}
		}
		q.ok(200, []byte(`"ready"`))
	case "metrics":
		q.server.metrics(q.ctx)
	case "openapi.yaml":
		q.ctx.SetContentType("application/yaml")
		q.ctx.SetBody(openapi)
	}
	return nil
}

// findToken looks into the header, then the query, then the body, then for a bearer. What it finds is the request's memory.
func findToken(ctx *fasthttp.RequestCtx, body []byte) []byte {
	h := &ctx.Request.Header
	token := h.Peek("X-Auth-Token")
	if len(token) == 0 {
		token = ctx.QueryArgs().Peek("auth_token")
	}
	if len(token) == 0 && bytes.Contains(body, []byte(`"auth_token"`)) {
		token = []byte(bodyToken(body))
	}
	if scheme, bearer, ok := bytes.Cut(h.Peek("Authorization"), []byte(" ")); len(token) == 0 && ok && bytes.EqualFold(scheme, []byte("Bearer")) {
		token = bytes.TrimSpace(bearer)
	}
	return token
}

// authorise checks the token.
func (q *request) authorise() error {
	account, err := q.server.cfg.Verifier.Account(&q.within, q.token)
	if err != nil {
		return errCredentials
	}
	q.account = account
	if !q.server.limits.allow(account, q.ctx.RemoteIP(), time.Now()) {
		return errTooMany
	}
	return nil
}

// target is the account in the path, if the token may act on it.
func (q *request) target(id string) (*directory.Entry, error) {
	q.subject = id
	e, err := q.server.cfg.Directory.Get(&q.within, directory.Accounts, id, id)
	if err != nil {
		return nil, err
	}
	if !q.server.cfg.Directory.InTree(q.account, id) {
		return nil, errForbidden
	}
	return e, nil
}
