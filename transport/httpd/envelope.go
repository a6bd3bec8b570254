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
	Message string // one of the words of docs/contract/http.md, "Errors", which clients compare
	Data    string // the envelope's data: JSON that says what was wrong
}

// Error implements error.
func (f Failure) Error() string { return f.Message }

// quoted returns s as a JSON string.
func quoted(s string) string { return string(appendjson.String(nil, s)) }

// Invalid returns the Failure for a field with a wrong value. message says what would be right.
func Invalid(field, message string) error {
	return Failure{400, "validation error", `{` + quoted(field) + `:{"invalid":{"message":` + quoted(message) + `,"target":"invalid"}}}`}
}

// NotJSON returns the Failure for a body that is not what it must be, and for a request that cannot be read.
func NotJSON(message string) error {
	return Failure{400, "validation error", `{"json":{"invalid":{"message":` + quoted(message) + `,"target":"body"}}}`}
}

// Unknown returns the Failure for an id, or the last segment of a path, that does not exist.
func Unknown(id string) error {
	return Failure{404, "bad_identifier", `{"cause":` + quoted(id) + `,"message":"bad identifier"}`}
}

// beginEnvelope appends the beginning of an envelope, up to data.
func (q *Request) beginEnvelope(dst []byte) []byte {
	dst = appendjson.Key(append(dst, '{'), "auth_token")
	if len(q.Token) == 0 {
		return append(dst, `"undefined"`...)
	}
	return append(appendjson.Escape(append(dst, '"'), q.Token), '"')
}

// endEnvelope appends the fields behind data and the closing brace. An error has no revision.
func (q *Request) endEnvelope(dst []byte, status, revision string) []byte {
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
	if q.Page != nil {
		dst = appendjson.Number(dst, "page_size", int64(q.Page.Size))
		if q.Page.Start != "" {
			dst = appendjson.Field(dst, "start_key", q.Page.Start)
		}
	}
	if q.Next != "" {
		dst = appendjson.Field(dst, "next_start_key", q.Next)
	}
	if q.Report != "" {
		dst = appendjson.Field(dst, "report_id", q.Report)
	}
	return append(dst, '}')
}

// OK answers with a success. data is the envelope's data, encoded as JSON. A GET whose If-None-Match has the revision of data is
// answered 304.
func (q *Request) OK(code int, data []byte) { q.End(code, append(q.Begin(), data...)) }

// Begin begins an answer with a success and returns its first bytes. The caller appends data, encoded as JSON, and passes all of
// it to End. The memory is that of an earlier answer on the connection, which saves an allocation.
func (q *Request) Begin() []byte {
	body := appendjson.Key(q.beginEnvelope(q.Response.SwapBody(nil)[:0]), "data")
	q.begun = len(body)
	return body
}

// End completes the answer that Begin began. body is what Begin returned, with data appended.
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
	q.write(q.endEnvelope(body, "success", revision))
}

// File answers with a file, without an envelope. tag is its entity tag, with the quotes. A request whose If-None-Match has it is
// answered 304. Nobody may change body.
func (q *Request) File(body []byte, contentType, tag string) {
	q.Response.Header.Set("ETag", tag)
	if matches(string(q.Request.Header.Peek("If-None-Match")), strings.Trim(tag, `"`)) {
		q.SetStatusCode(304)
		return
	}
	q.SetContentType(contentType)
	q.Response.SetBodyRaw(body)
}

// matches says whether the value of If-None-Match names the revision. The value is a list of entity tags, which may be weak
// (RFC 9110 §13.1.2), or *.
func matches(header, revision string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || strings.Trim(tag, `"`) == revision {
			return true
		}
	}
	return false
}

// fail answers with an error.
func (q *Request) fail(err error) {
	var f Failure
	if !errors.As(err, &f) {
		f = Failure{503, "datastore_unreachable", `{"message":` + quoted(err.Error()) + `}`}
	}
	if f.Code == 404 && f.Data == Unknown("").(Failure).Data {
		f = Unknown(q.Subject).(Failure)
	}
	code := strconv.Itoa(f.Code)
	q.server.metrics.errors.WithLabelValues(code).Inc()
	q.Response.ResetBody()
	q.SetStatusCode(f.Code)
	if f.Code == 429 || f.Code == 503 {
		q.Response.Header.Set("Retry-After", "1")
	}
	body := q.beginEnvelope(q.Response.SwapBody(nil)[:0]) // the memory of an earlier answer, as in Begin
	body = append(appendjson.Key(body, "data"), f.Data...)
	body = appendjson.Field(body, "error", code)
	body = appendjson.Field(body, "message", f.Message)
	q.write(q.endEnvelope(body, "error", ""))
}

// write makes body the body of the answer, indented if the client asked for that.
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

// ErrTooMany is the Failure of a request past a bound. Nothing was changed; the client may try again.
var ErrTooMany error = Failure{429, "too_many_requests", `{"message":"too many requests"}`}

// errMethod is the Failure of a verb that the path does not have.
var errMethod = Failure{405, "invalid_method", `{"message":"method not allowed"}`}
