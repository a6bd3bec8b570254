package httpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"lamplight/cluster/trace"
)

// The bounds of bodies.
const (
	MaxBody    = 8 << 20  // bytes of a body
	SmallBody  = 64 << 10 // bytes of a body that fasthttp reads before it calls a handler
	MaxLarge   = 64       // bodies over SmallBody that are read at a time
	LargeOfOne = 8        // of these, of one account
	dropTime   = 3 * time.Second
)

// The bounds of HoldBack.
const (
	holdTime = 50 * time.Millisecond
	maxHeld  = 1024 // requests that are held back at a time
)

// Request is one request. It is a context that ends at the request's deadline. Only the goroutine of its handler may use it, but
// as a context it may be passed to others until the handler returns.
type Request struct {
	*fasthttp.RequestCtx
	Within
	ID    string
	Path  []string // the segments of the path, decoded
	Token []byte   // as the client sent it; nobody has checked it
	// Route is the pattern of the path, for metrics: one of a fixed set; "": other. It is the segment at which the handler is mounted,
	// unless the handler sets it.
	Route string
	Span  trace.Span // of the request, if it is traced
	// Next, Page, Stale and Subject are set by the handler.
	Next    string // next_start_key of the answer; "": none
	Report  string // report_id of the answer; "": none
	Page    *Page  // of an answer that is a list of entries; nil for others
	Stale   bool   // the answer came from memory while NATS is out of reach
	Subject string // the id that an answer 404 names when the error names none

	server    *Server
	beginning []byte              // of a large body that came in chunks
	room      [maxSegments]string // the memory of Path
	begun     int                 // where data begins in the answer
	pretty    bool                // the answer is to be indented
	held      time.Duration       // how long HoldBack waited
}

// Page says in the envelope which part of a list an answer is.
type Page struct {
	Size  int    // the number of rows
	Start string // the key that the page begins with; "": none
}

// Version returns the release of the node.
func (q *Request) Version() string { return q.server.cfg.Version }

// usualBody is how many bytes nearly all bodies have at most.
const usualBody = 4 << 10

// readSmall reads the first SmallBody bytes of the body, and returns the body if it has no more. Of a large one it returns nil.
func (q *Request) readSmall() ([]byte, error) {
	r := &q.Request
	if !r.IsBodyStream() {
		return r.Body(), nil
	}
	var body []byte
	var err error
	switch size := r.Header.ContentLength(); {
	case size > SmallBody:
		return nil, nil
	case size >= 0 && size <= usualBody:
		body = make([]byte, size)
		_, err = io.ReadFull(q.RequestBodyStream(), body)
	default: // it is read as it comes: a stranger must send what takes memory
		body, err = io.ReadAll(io.LimitReader(q.RequestBodyStream(), SmallBody+1))
	}
	if err != nil {
		return nil, unread(err, "the body can't be read: "+err.Error())
	}
	if len(body) > SmallBody {
		q.beginning = body
		return nil, nil
	}
	r.SetBodyRaw(body)
	return body, nil
}

// LoadBody reads a large body, so that PostBody returns it; a small one has been read already. The handler calls it when it knows
// who asks: strangers may not make the server keep large bodies. who is an account, or "" for a stranger. The server reads at
// most MaxLarge large bodies at a time, LargeOfOne of them of one account. One more takes the place of a slow one, or else is
// refused.
func (q *Request) LoadBody(who string) error {
	if !q.Request.IsBodyStream() {
		return nil
	}
	if who == "" {
		return tooLarge(SmallBody)
	}
	from := &body{from: io.MultiReader(bytes.NewReader(q.beginning), q.RequestBodyStream()), conn: q.Conn(), who: who}
	if !q.server.large.take(from, time.Now()) {
		return ErrTooMany
	}
	defer q.server.large.done(from)
	body, err := io.ReadAll(io.LimitReader(from, MaxBody+1))
	if from.dropped.Load() && err != nil {
		return ErrTooMany
	}
	if err != nil {
		return unread(err, "the body can't be read: "+err.Error())
	}
	if len(body) > MaxBody {
		return tooLarge(MaxBody)
	}
	q.Request.SetBodyRaw(body)
	return nil
}

// dropBody reads and forgets a body that nobody read, up to eight times MaxBody and for dropTime: otherwise the client would find
// its connection reset, and never see the answer.
func (q *Request) dropBody() {
	if q.Request.IsBodyStream() {
		_ = q.Conn().SetReadDeadline(time.Now().Add(dropTime))
		_, _ = io.CopyN(io.Discard, q.RequestBodyStream(), 8*MaxBody)
		q.SetConnectionClose()
	}
}

// tooLarge is the Failure of a body over so many bytes.
func tooLarge(most int) error {
	return Failure{413, "request_too_large", `{"message":"the body is too large","max_bytes":` + strconv.Itoa(most) + `}`}
}

// unread returns the Failure for a request that could not be read. When it came too slowly, or this process stood still meanwhile, the
// request may be right, and the client may send it again.
func unread(err error, message string) error {
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return Failure{408, "request_timeout", `{"message":"the request did not arrive in time; send it again"}`}
	}
	return NotJSON(message)
}

// Within is a context that ends at a deadline. It makes its timer when someone waits for it for the first time, because most
// requests are answered without.
type Within struct {
	Until  time.Time // the deadline
	once   sync.Once // makes timed and cancel
	timed  context.Context
	cancel context.CancelFunc
}

// timer returns the context with the timer.
func (w *Within) timer() context.Context {
	w.once.Do(func() { w.timed, w.cancel = context.WithDeadline(context.Background(), w.Until) })
	return w.timed
}

// Deadline implements context.Context.
func (w *Within) Deadline() (time.Time, bool) { return w.Until, true }

// Done implements context.Context.
func (w *Within) Done() <-chan struct{} { return w.timer().Done() }

// Err implements context.Context.
func (w *Within) Err() error { return w.timer().Err() }

// Value implements context.Context. There are no values.
func (w *Within) Value(any) any { return nil }

// release ends the context. A timer that has not been made is not made any more.
func (w *Within) release() {
	w.once.Do(func() { w.timed, w.cancel = ended, func() {} })
	w.cancel()
}

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// maxSegments is the number of segments that a path may have. No path that a node serves has as many.
const maxSegments = 8

// segments splits the path of a request, which is still percent-encoded and may have a query, and appends its decoded segments.
func segments(parts []string, raw []byte) ([]string, error) {
	p := string(raw)
	if !strings.HasPrefix(p, "/") { // the absolute form (RFC 9112 §3.2.2), which proxies send
		if _, rest, ok := strings.Cut(p, "://"); ok {
			_, p, _ = strings.Cut(rest, "/")
		}
	}
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		p = p[:i]
	}
	for part := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		if len(parts) == maxSegments {
			return nil, Unknown("")
		}
		d, err := url.PathUnescape(part)
		if err != nil {
			return nil, Invalid("path", "the path is not percent-encoded correctly: "+err.Error())
		}
		parts = append(parts, d)
	}
	return parts, nil
}

// Reads says whether the verb is GET or HEAD. A handler answers both alike: fasthttp leaves out the body of an answer to HEAD.
func (q *Request) Reads() bool { return q.IsGet() || q.IsHead() }

// HoldBack waits for a moment before a request past its account's limits is refused, so that a client that asks again at once on each of its
// connections asks less often. It waits for holdTime at most, and for no client while the server holds maxHeld others back. The time does not count
// in the metrics.
func (q *Request) HoldBack() {
	defer q.server.held.Add(-1)
	if q.server.held.Add(1) > maxHeld {
		return
	}
	begun := time.Now()
	select {
	case <-time.After(holdTime):
	case <-q.server.stopping:
	}
	q.held = time.Since(begun)
}

// Methods returns an error if the verb is none of those that are allowed, and sets the header Allow. With GET it allows HEAD.
func (q *Request) Methods(allowed ...string) error {
	method := string(q.Method())
	if slices.Contains(allowed, method) || method == "HEAD" && slices.Contains(allowed, "GET") {
		return nil
	}
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	q.Response.Header.Set("Allow", strings.Join(append(allowed, "OPTIONS"), ", "))
	return errMethod
}

// findToken returns the token of a request, or an empty slice: docs/contract/http.md, "Tokens" says where it looks, and in which
// order. body is nil for a large body, in which it does not look. The slice may be memory of the request.
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

// bodyToken returns the token in a body; "" when there is none.
func bodyToken(body []byte) string {
	var d struct {
		AuthToken string `json:"auth_token"`
	}
	_ = json.Unmarshal(body, &d)
	return d.AuthToken
}

// requestID returns the id that the client gave the request, if it is a good one, else a new one.
func requestID(ctx *fasthttp.RequestCtx) string {
	id := ctx.Request.Header.Peek("X-Request-ID")
	if len(id) == 0 || len(id) > 128 {
		return newID()
	}
	for _, c := range id {
		if c < 0x21 || c > 0x7e {
			return newID()
		}
	}
	return string(id)
}

// newID returns a random id. It only serves to find the request again, so nothing depends on its being hard to guess.
func newID() string {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}
