package httpd

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/transport/appendjson"
)

// Failure is an answer other than success.
type Failure struct {
	Code    int    // the HTTP status
	Message string // the word that clients compare: docs/contract/http.md, "Errors"
	Data    string // JSON: what was wrong
}

func (f Failure) Error() string { return f.Message }

// quoted is a JSON string.
func quoted(s string) string { return string(appendjson.String(nil, s)) }

// Invalid is the answer to a field with a wrong value.
func Invalid(field, message string) error {
	return Failure{400, "validation error", `{` + quoted(field) + `:{"invalid":{"message":` + quoted(message) + `,"target":"invalid"}}}`}
}

// NotJSON is the answer to a body, or a request, that cannot be read.
func NotJSON(message string) error {
	return Failure{400, "validation error", `{"json":{"invalid":{"message":` + quoted(message) + `,"target":"body"}}}`}
}

// Unknown is the answer about an id, or a path, that nothing has.
func Unknown(id string) error {
	return Failure{404, "bad_identifier", `{"cause":` + quoted(id) + `,"message":"bad identifier"}`}
}

// open starts the envelope.
func (q *Request) open(dst []byte) []byte {
	dst = appendjson.Key(append(dst, '{'), "auth_token")
	if len(q.Token) == 0 {
		return append(dst, `"undefined"`...)
	}
	return append(appendjson.Escape(append(dst, '"'), q.Token), '"')
}

// finish writes what stands behind data.
func (q *Request) finish(dst []byte, status, revision string) []byte {
	dst = appendjson.Field(dst, "node", q.server.cfg.Node)
	dst = appendjson.Field(dst, "request_id", q.ID)
	if revision != "" {
		dst = appendjson.Field(dst, "revision", revision)
	}
	dst = appendjson.Field(dst, "status", status)
	dst = append(appendjson.Key(dst, "timestamp"), '"')
	dst = time.Now().UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, '"')
	dst = appendjson.Field(dst, "version", q.server.cfg.Version)
	if q.Stale {
		dst = appendjson.True(dst, "stale")
	}
	if q.Next != "" {
		dst = appendjson.Field(dst, "next_start_key", q.Next)
	}
	return append(dst, '}')
}

// OK answers with data, which is JSON.
func (q *Request) OK(code int, data []byte) { q.End(code, append(q.Begin(), data...)) }

// Begin begins an answer, in memory that fasthttp uses again. The caller appends data, which is JSON, and calls End.
func (q *Request) Begin() []byte {
	body := appendjson.Key(q.open(q.Response.SwapBody(nil)[:0]), "data")
	q.begun = len(body)
	return body
}

// End completes and sends an answer that Begin began. data ends where body ends.
func (q *Request) End(code int, body []byte) {
	var sum [8]byte
	binary.LittleEndian.PutUint64(sum[:], xxhash.Sum64(body[q.begun:]))
	revision := hex.EncodeToString(sum[:])
	q.Response.Header.Set("ETag", `"`+revision+`"`)
	if q.Reads() && matches(string(q.Request.Header.Peek("If-None-Match")), revision) {
		q.SetStatusCode(304)
		q.Response.SwapBody(body[:0])
		return
	}
	q.SetStatusCode(code)
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

func (q *Request) fail(err error) {
	var f Failure
	if !errors.As(err, &f) {
		f = Failure{503, "datastore_unreachable", `{"message":` + quoted(err.Error()) + `}`}
	}
	if f.Code == 404 && f.Data == Unknown("").(Failure).Data {
		f = Unknown(q.Subject).(Failure)
	}
	q.server.errors.WithLabelValues(strconv.Itoa(f.Code)).Inc()
	q.Response.ResetBody()
	q.SetStatusCode(f.Code)
	if f.Code == 429 || f.Code == 503 {
		q.Response.Header.Set("Retry-After", "1")
	}
	body := q.open(nil)
	body = append(appendjson.Key(body, "data"), f.Data...)
	body = appendjson.Field(body, "error", strconv.Itoa(f.Code))
	body = appendjson.Field(body, "message", f.Message)
	q.write(q.finish(body, "error", ""))
}

func (q *Request) write(body []byte) {
	q.SetContentType("application/json")
	if q.pretty {
		v := jsontext.Value(body)
		if v.Indent() == nil {
			v = append(v, '\n')
			body = v
		}
	}
	q.Response.SwapBody(body)
}

// ErrTooMany is the answer when a bound is reached: the client may try again.
var ErrTooMany error = Failure{429, "too_many_requests", `{"message":"too many requests"}`}

var errMethod = Failure{405, "invalid_method", `{"message":"method not allowed"}`}
