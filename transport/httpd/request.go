package httpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"
)

// Bounds of bodies.
const (
	MaxBody   = 8 << 20  // bytes
	SmallBody = 64 << 10 // bytes that are read before the request is looked at
	MaxLarge  = 64       // bodies over SmallBody that are read at a time
)

// Request is one request on its way through its handler.
type Request struct {
	*fasthttp.RequestCtx
	Within
	ID    string
	Path  []string // the decoded segments
	Token []byte   // as it came: nothing has checked it
	Next  string   // next_start_key of the answer; "": none
	Stale bool     // the answer says that it may be behind
	// Subject is the id that a 404 names when its error does not.
	Subject string

	server *Server
	room   [maxSegments]string // of Path
	begun  int                 // where data begins in the answer
	pretty bool
}

// readBody reads the body, of the large ones a bounded number at a time. One that is too large is read on for a while, so that its sender gets to see the answer
// instead of a reset connection.
func (q *Request) readBody() ([]byte, error) {
	r := &q.Request
	if !r.IsBodyStream() {
		return r.Body(), nil
	}
	in := q.RequestBodyStream()
	var body []byte
	var err error
	length := r.Header.ContentLength()
	if length < 0 || length > SmallBody {
		select {
		case q.server.large <- struct{}{}:
			defer func() { <-q.server.large }()
		default:
			q.SetConnectionClose()
			return nil, ErrTooMany
		}
	}
	large := length > MaxBody
	if !large {
		body, err = io.ReadAll(io.LimitReader(in, MaxBody+1))
	}
	if err != nil {
		return nil, NotJSON("the body can't be read: " + err.Error())
	}
	if large || len(body) > MaxBody {
		_, _ = io.CopyN(io.Discard, in, 8*MaxBody)
		q.SetConnectionClose()
		return nil, tooLarge
	}
	r.SetBodyRaw(body)
	return body, nil
}

var tooLarge = Failure{413, "request_too_large", `{"message":"the body is too large","max_bytes":` + strconv.Itoa(MaxBody) + `}`}

// Within is a context that ends at a deadline. Its timer is made for the first who waits for it: most requests' have none.
type Within struct {
	Until  time.Time
	once   sync.Once
	timed  context.Context
	cancel context.CancelFunc
}

func (w *Within) timer() context.Context {
	w.once.Do(func() { w.timed, w.cancel = context.WithDeadline(context.Background(), w.Until) })
	return w.timed
}

func (w *Within) Deadline() (time.Time, bool) { return w.Until, true }
func (w *Within) Done() <-chan struct{}       { return w.timer().Done() }
func (w *Within) Err() error                  { return w.timer().Err() }
func (w *Within) Value(any) any               { return nil }

// release ends the context.
func (w *Within) release() {
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

// segments appends the decoded segments of a path.
func segments(parts []string, raw []byte) ([]string, error) {
	p := string(raw)
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

// Reads says whether the request only reads; fasthttp leaves the body of an answer to HEAD out.
func (q *Request) Reads() bool { return q.IsGet() || q.IsHead() }

// Methods checks the verb; Allow names those that would do. What may be got also answers HEAD.
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

func bodyToken(body []byte) string {
	var d struct {
		AuthToken string `json:"auth_token"`
	}
	_ = json.Unmarshal(body, &d)
	return d.AuthToken
}

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

// newID makes an id that is only for finding a request again.
func newID() string {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}
