package httpd

import (
	"bufio"
	"time"
)

// Tail is the end of a streamed answer.
type Tail struct {
	Data     []byte // the last part of data
	Revision string
	Next     string // next_start_key; "": none
	Page     *Page  // of a list of entries; nil for others
	Stale    bool
}

// Stream answers with data that is too large to be kept in memory. It sends head, which is what Begin returned with the first
// part of data appended, then each part that run passes to put, then the Tail that run returns. The answer is not indented and
// has no ETag.
//
// run is called on another goroutine, after the handler has returned, so it must not use the Request. put waits until the client
// has read enough. When the client reads nothing for writeTime, put calls broken, once, and drops all parts from then on.
func (q *Request) Stream(head []byte, run func(put func([]byte)) Tail, broken func()) {
	own := Request{server: q.server, ID: q.ID} // because q belongs to fasthttp again before the stream ends
	conn := q.Conn()
	q.SetStatusCode(200)
	q.SetContentType("application/json")
	q.SetBodyStreamWriter(func(w *bufio.Writer) {
		alive := true
		put := func(b []byte) {
			if !alive {
				return
			}
			_ = conn.SetWriteDeadline(time.Now().Add(writeTime))
			if _, err := w.Write(b); err != nil {
				alive = false
				broken()
			}
		}
		put(head)
		t := run(put)
		own.Stale, own.Next, own.Page = t.Stale, t.Next, t.Page
		put(own.endEnvelope(t.Data, "success", t.Revision))
	})
}

// Events answers with server-sent events. run is called on another goroutine, after the handler has returned, so it must not use the
// Request; when it returns, the answer ends and the connection is closed. send passes bytes on at once, and waits until the client has read enough. When the
// client reads nothing for writeTime, or has gone, send returns an error. A HEAD gets the headers alone, and run is not called.
func (q *Request) Events(run func(send func([]byte) error), ended func()) {
	conn := q.Conn()
	h := &q.Response.Header
	q.SetStatusCode(200)
	q.SetContentType("text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx passes each event on at once
	if q.IsHead() {
		ended()
		return
	}
	q.SetConnectionClose() // a client that has read no end of the answer gets nothing else on this connection
	q.SetBodyStreamWriter(func(w *bufio.Writer) {
		defer ended()
		run(func(b []byte) error {
			_ = conn.SetWriteDeadline(time.Now().Add(writeTime))
			if _, err := w.Write(b); err != nil {
				return err
			}
			return w.Flush()
		})
	})
}
