package rest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/transport/document"
)

// failure is an answer other than success. data is JSON.
type failure struct {
	code    int
	message string
	data    string
}

func (f failure) Error() string { return f.message }

func text(s string) string { return string(document.String(nil, s)) }

func invalid(field, message string) error {
	return failure{400, "validation error", `{` + text(field) + `:{"invalid":{"message":` + text(message) + `,"target":"invalid"}}}`}
}

func notJSON(message string) error {
	return failure{400, "validation error", `{"json":{"invalid":{"message":` + text(message) + `,"target":"body"}}}`}
}

func unknown(id string) error {
	return failure{404, "bad_identifier", `{"cause":` + text(id) + `,"message":"bad identifier"}`}
}

var (
	errCredentials = failure{401, "invalid_credentials", `{"message":"invalid credentials"}`}
	errForbidden   = failure{403, "forbidden", `{"message":"forbidden"}`}
	errMethod      = failure{405, "invalid_method", `{"message":"method not allowed"}`}
	errTooMany     = failure{429, "too_many_requests", `{"message":"too many requests"}`}
	errAction      = invalid("action", "Field must be set to a valid action")
	errState       = invalid("state", "Field must be set to a valid state")
)

// explain is the one table from errors to answers.
func explain(err error) failure {
	var f failure
	var wrong *directory.Invalid
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, directory.ErrUnknown):
		return unknown("").(failure)
	case errors.Is(err, directory.ErrForbidden):
		return errForbidden
	case errors.As(err, &wrong):
		return invalid(wrong.Field, "Field "+wrong.Reason).(failure)
	case errors.Is(err, presence.ErrInvalid):
		return invalid("data", err.Error()).(failure)
	case errors.Is(err, directory.ErrConflict):
		return failure{409, "datastore_conflict", `{"message":` + text(err.Error()) + `}`}
	case errors.Is(err, actors.ErrBusy), errors.Is(err, directory.ErrBusy), errors.Is(err, presence.ErrTooManyWatchers), errors.Is(err, presence.ErrTooManyCalls), errors.Is(err, presence.ErrTooManyTombstones):
		return errTooMany
	}
	return failure{503, "datastore_unreachable", `{"message":` + text(err.Error()) + `}`}
}

// begin starts the envelope.
func (q *request) begin(dst []byte) []byte {
	dst = document.Key(append(dst, '{'), "auth_token")
	if len(q.token) == 0 {
		return append(dst, `"undefined"`...)
	}
	return append(document.Escape(append(dst, '"'), q.token), '"')
}

// finish writes what stands behind data.
func (q *request) finish(dst []byte, status, revision string) []byte {
	dst = document.Field(dst, "node", q.server.cfg.Node)
	dst = document.Field(dst, "request_id", q.id)
	if revision != "" {
		dst = document.Field(dst, "revision", revision)
	}
	dst = document.Field(dst, "status", status)
	dst = append(document.Key(dst, "timestamp"), '"')
	dst = time.Now().UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, '"')
	dst = document.Field(dst, "version", q.server.cfg.Version)
	if q.stale {
		dst = append(document.Key(dst, "stale"), "true"...)
	}
	if q.next != "" {
		dst = document.Field(dst, "next_start_key", q.next)
	}
	return append(dst, '}')
}

// ok answers with data, which is JSON.
func (q *request) ok(code int, data []byte) { q.end(code, append(q.start(), data...)) }

// start begins an answer, in memory that fasthttp uses again. The caller appends data, which is JSON, and calls end.
func (q *request) start() []byte {
	body := document.Key(q.begin(q.ctx.Response.SwapBody(nil)[:0]), "data")
	q.begun = len(body)
	return body
}

// end completes and sends an answer that start began.
func (q *request) end(code int, body []byte) {
	var sum [8]byte
	binary.LittleEndian.PutUint64(sum[:], xxhash.Sum64(body[q.begun:]))
	revision := hex.EncodeToString(sum[:])
	q.ctx.Response.Header.Set("ETag", `"`+revision+`"`)
	if q.reads() && matches(string(q.ctx.Request.Header.Peek("If-None-Match")), revision) {
		q.ctx.SetStatusCode(304)
		q.ctx.Response.SwapBody(body[:0])
		return
	}
	q.ctx.SetStatusCode(code)
	q.write(q.finish(body, "success", revision))
}

// matches reads If-None-Match: a list of entity tags, weak ones too (RFC 9110 §13.1.2), or *.
func matches(header, revision string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || strings.Trim(tag, `"`) == revision {
			return true
		}
	}
	return false
}

func (q *request) fail(err error) {
	f := explain(err)
	if f.code == 404 && f.data == unknown("").(failure).data {
		f = unknown(q.subject).(failure)
	}
	q.server.refused.WithLabelValues(strconv.Itoa(f.code)).Inc()
	q.ctx.Response.ResetBody()
	q.ctx.SetStatusCode(f.code)
	if f.code == 429 || f.code == 503 {
		q.ctx.Response.Header.Set("Retry-After", "1")
	}
	body := q.begin(nil)
	body = append(document.Key(body, "data"), f.data...)
	body = document.Field(body, "error", strconv.Itoa(f.code))
	body = document.Field(body, "message", f.message)
	q.write(q.finish(body, "error", ""))
}

func (q *request) write(body []byte) {
	q.ctx.SetContentType("application/json")
	if q.pretty {
		v := jsontext.Value(body)
		if v.Indent() == nil {
			v = append(v, '\n')
			body = v
		}
	}
	q.ctx.Response.SwapBody(body)
}

// data reads the body's data object.
func (q *request) data() (map[string]any, error) {
	raw := q.ctx.PostBody()
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	if kind := jsontext.Value(raw).Kind(); kind != '{' && jsontext.Value(raw).IsValid() {
		return nil, notJSON("a JSON object was expected, at byte 0 there is a " + kind.String())
	}
	var body map[string]jsontext.Value
	if err := json.Unmarshal(raw, &body); err != nil {
		message := err.Error()
		var s *jsontext.SyntacticError
		if errors.As(err, &s) {
			message += ", at byte " + strconv.FormatInt(s.ByteOffset, 10)
			if open := openBraces(raw); open > 0 {
				message += "; a closing } is missing at the end: the documented reset body is {\"data\": {\"action\": \"reset\"}}"
			}
		}
		return nil, notJSON(message)
	}
	data, wrapped := body["data"]
	for name := range body {
		if !wrapped && name != "auth_token" { // not read as a body without data: that would be a reset
			return nil, notJSON("the body has no data, but " + name + " at byte 0; it must be wrapped: {\"data\":{…}}")
		}
	}
	m := map[string]any{}
	if len(data) > 0 && data.Kind() != 'n' {
		if data.Kind() != '{' {
			return nil, notJSON("data must be an object")
		}
		if err := json.Unmarshal(data, &m, directory.KeepNumbers); err != nil {
			return nil, notJSON(err.Error())
		}
	}
	return m, nil
}

// openBraces counts objects that a body leaves open, strings apart.
func openBraces(b []byte) (open int) {
	inside := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{':
			open++
		case c == '}':
			open--
		}
	}
	return open
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
