// Package message reads and writes SIP messages (RFC 3261): as much of them as a notifier needs. It is pure: it opens no socket,
// keeps nothing, and knows neither phones nor subscriptions.
//
// Read takes a message apart in place, without an allocation. A Message holds positions in the caller's buffer, and what its
// methods return are parts of that buffer. They are valid until the buffer is used again; whoever keeps something copies it. One
// goroutine at a time uses a Message. The functions that append may be called from any goroutine.
//
// Every byte that is read is hostile. Read refuses what is past the bounds below. It goes on reading behind a faulty line, so that
// whoever has sent a faulty request can be told so.
package message

// The bounds of a message that is read.
const (
	MaxHead  = 8 << 10  // bytes of the start line and of all header lines together
	MaxLines = 96       // header lines
	MaxBody  = 64 << 10 // bytes of the body
	MaxSize  = MaxHead + MaxBody
)

// Error says what is wrong with a message, and with which status code a request is refused for it.
type Error struct {
	Code int    // the SIP status code (RFC 3261 §21)
	Text string // what is wrong; it is sent as the reason phrase
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// The errors of Read. They are values that exist once, so that a flood of faulty messages costs no memory.
var (
	ErrNoMessage  = &Error{0, "no SIP message"} // it can't be answered
	ErrIncomplete = &Error{0, "the message ends within its head"}
	ErrTooLarge   = &Error{513, "Message Too Large"}
	errStart      = &Error{400, "Malformed Start Line"}
	errVersion    = &Error{505, "Version Not Supported"}
	errLine       = &Error{400, "Malformed Header Line"}
	errTwice      = &Error{400, "Header Field Twice"}
	errMissing    = &Error{400, "Via, From, To, Call-ID Or CSeq Missing"}
	errLength     = &Error{400, "Wrong Content-Length"}
	errVia        = &Error{400, "Malformed Via"}
	errFrom       = &Error{400, "Malformed From"}
	errTo         = &Error{400, "Malformed To"}
	errCallID     = &Error{400, "Malformed Call-ID"}
	errCSeq       = &Error{400, "Malformed CSeq"}
	errURI        = &Error{400, "Malformed Request-URI"}
	errScheme     = &Error{416, "Unsupported URI Scheme"}
)
