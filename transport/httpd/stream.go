package httpd

import (
	"bufio"
	"time"
)

// Tail is what ends a streamed answer.
type Tail struct {
	Data     []byte // the last of data
	Revision string
	Next     string
	Stale    bool
}

// Stream answers with data that is too large to be held: head first, which Begin began, then what run gives to put, then
// the Tail that run returns. It is never indented and has no ETag. run is called on another goroutine, after the handler
// has returned, so it must not use the Request. When the client reads nothing for writeTime, broken is called once and
// what run gives to put after that goes nowhere.
func (q *Request) Stream(head []byte, run func(put func([]byte)) Tail, broken func()) {
	own := Request{server: q.server, ID: q.ID} // the memory of q is fasthttp's again before the stream ends
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
		own.Stale, own.Next = t.Stale, t.Next
		put(own.finish(t.Data, "success", t.Revision))
	})
}
