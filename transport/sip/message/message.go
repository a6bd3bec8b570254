package message

import (
	"bytes"
	"math"
	"strings"
)

// Message is one message that Read has taken apart.
type Message struct {
	Method Method // of a request, and of a response by its CSeq
	Status int    // of a response; 0: it is a request
	CSeq   uint32
	Body   []byte

	uri        []byte // the Request-URI as it came
	methodName []byte
	target     URI
	from, to   Address
	via        ViaHop
	callID     []byte

	lines [MaxLines]line
	count int
	first [names]uint8 // the first line of each field, plus 1; 0: there is none
}

// line is one header line.
type line struct {
	name        Name
	field, text []byte // the name as it came, and the value
}

// Read reads a message from a datagram or a WebSocket frame, or from what Frame has cut from a stream. It changes data where a header
// field goes over several lines. After an error, Answerable says whether enough could be read to answer.
func (m *Message) Read(data []byte) error {
	*m = Message{lines: m.lines}
	for len(data) > 0 && (data[0] == '\r' || data[0] == '\n') { // RFC 3261 §7.5
		data = data[1:]
	}
	start, rest, ok := cutLine(data)
	if !ok {
		return ErrNoMessage
	}
	wrong := m.readStart(start)
	if wrong == ErrNoMessage {
		return wrong
	}
	head := len(data) - len(rest)
	for {
		text, next, ok := cutLine(rest)
		if !ok {
			return ErrIncomplete
		}
		for len(text) > 0 && len(next) > 0 && (next[0] == ' ' || next[0] == '\t') { // RFC 3261 §7.3.1
			at := len(rest) - len(next)
			rest[at-2], rest[at-1] = ' ', ' '
			if text, next, ok = cutLine(rest); !ok {
				return ErrIncomplete
			}
		}
		head += len(rest) - len(next)
		if head > MaxHead {
			_ = m.interpret() // so that it can be answered
			return first(wrong, ErrTooLarge)
		}
		rest = next
		if len(text) == 0 {
			break
		}
		wrong = first(wrong, m.readLine(text))
	}
	wrong = first(wrong, m.readBody(rest))
	if wrong = first(wrong, m.interpret()); wrong != nil {
		return wrong
	}
	return nil
}

// first returns the first of two errors that is one. Read can't return a nil *Error as an error.
func first(a, b *Error) *Error {
	if a != nil {
		return a
	}
	return b
}

// cutLine cuts a line that ends with CRLF. A CR or LF alone ends nothing and is part of no line: there ok is false.
func cutLine(data []byte) (text, rest []byte, ok bool) {
	i := bytes.IndexByte(data, '\n')
	if i < 1 || data[i-1] != '\r' || bytes.IndexByte(data[:i-1], '\r') >= 0 {
		return nil, nil, false
	}
	return data[:i-1], data[i+1:], true
}

// readStart reads the start line (RFC 3261 §7.1, §7.2).
func (m *Message) readStart(text []byte) *Error {
	if bytes.HasPrefix(text, []byte("SIP/2.0 ")) {
		text = text[len("SIP/2.0 "):]
		if len(text) < 3 || len(text) > 3 && text[3] != ' ' {
			return ErrNoMessage
		}
		code, ok := number(text[:3], 699)
		if !ok || code < 100 {
			return ErrNoMessage
		}
		m.Status = int(code)
		return nil
	}
	line := bytes.TrimRight(text, " ")
	name, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || !token(name) {
		return ErrNoMessage
	}
	m.methodName, m.Method = name, method(name)
	at := bytes.LastIndexByte(rest, ' ')
	if at < 0 {
		return ErrNoMessage
	}
	version := rest[at+1:]
	m.uri = rest[:at]
	switch {
	case !hasPrefixFold(version, "SIP/"):
		return ErrNoMessage
	case !equalFold(version, "SIP/2.0"):
		return errVersion
	case len(m.uri) == 0 || bytes.IndexByte(m.uri, ' ') >= 0 || len(line) < len(text):
		return errStart
	}
	return nil
}

// readLine reads one header line, whose parts have been joined.
func (m *Message) readLine(text []byte) *Error {
	name, value, ok := bytes.Cut(text, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || !token(name) {
		return errLine
	}
	if m.count == MaxLines {
		return ErrTooLarge
	}
	n := lookup(name)
	value = trim(value)
	if m.first[n] == 0 {
		m.first[n] = uint8(m.count + 1)
	} else if single[n] {
		return errTwice
	}
	m.lines[m.count] = line{n, name, value}
	m.count++
	return nil
}

// readBody takes the body (RFC 3261 §18.3).
func (m *Message) readBody(rest []byte) *Error {
	m.Body = rest
	if value := m.Header(ContentLength); value != nil {
		n, ok := number(value, math.MaxInt32)
		if !ok || int(n) > len(rest) {
			return errLength
		}
		m.Body = rest[:n]
	}
	if len(m.Body) > MaxBody {
		return ErrTooLarge
	}
	return nil
}

// interpret reads the header fields that every message has.
func (m *Message) interpret() (wrong *Error) {
	var ok bool
	for _, n := range [...]Name{Via, From, To, CallID, CSeq} {
		if m.first[n] == 0 {
			wrong = errMissing
		}
	}
	if m.via, ok = ParseVia(m.Header(Via)); !ok && m.first[Via] != 0 {
		wrong = first(wrong, errVia)
	}
	if m.from, ok = parseParty(m.Header(From)); !ok && m.first[From] != 0 {
		wrong = first(wrong, errFrom)
	}
	if m.to, ok = parseParty(m.Header(To)); !ok && m.first[To] != 0 {
		wrong = first(wrong, errTo)
	}
	if m.callID = m.Header(CallID); m.callID != nil && !printable(m.callID) {
		wrong = first(wrong, errCallID)
	}
	if m.first[CSeq] != 0 && !m.readCSeq(m.Header(CSeq)) {
		wrong = first(wrong, errCSeq)
	}
	if m.Status == 0 && m.uri != nil {
		if m.target, ok = ParseURI(m.uri); !ok {
			wrong = first(wrong, errURI)
			if scheme, _, found := bytes.Cut(m.uri, []byte{':'}); found && token(scheme) && m.target.Scheme == "" && printable(m.uri) {
				wrong = first(nil, errScheme)
			}
		}
	}
	return wrong
}

// readCSeq reads the value of CSeq (RFC 3261 §20.16). The method must be that of the request.
func (m *Message) readCSeq(value []byte) bool {
	i := bytes.IndexAny(value, " \t")
	if i < 0 {
		return false
	}
	n, ok := number(value[:i], math.MaxInt32)
	name := trim(value[i:])
	m.CSeq = n
	if m.Status != 0 {
		m.Method = method(name)
		return ok && token(name)
	}
	return ok && (m.methodName == nil || bytes.Equal(name, m.methodName))
}

// Answerable says whether a request with a fault can be answered: it has a Via by which its sender knows the response. No response and no
// ACK is answered.
func (m *Message) Answerable() bool {
	return m.Status == 0 && m.Method != Ack && m.via.Host != nil
}

// Header returns the value of the first line of a field; nil: there is none.
func (m *Message) Header(n Name) []byte {
	if m.first[n] == 0 {
		return nil
	}
	return m.lines[m.first[n]-1].text
}

// Headers calls yield with the value of each line of a field, in their order, until yield returns false.
func (m *Message) Headers(n Name) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		if m.first[n] == 0 {
			return
		}
		for i := int(m.first[n]) - 1; i < m.count; i++ {
			if m.lines[i].name == n && !yield(m.lines[i].text) {
				return
			}
		}
	}
}

// Field returns the value of the first line of a field by its name in any case; nil: there is none. It is for fields that have no
// Name.
func (m *Message) Field(name string) []byte {
	for i := range m.count {
		if l := &m.lines[i]; equalFold(l.field, name) {
			return l.text
		}
	}
	return nil
}

// Target is the Request-URI.
func (m *Message) Target() *URI { return &m.target }

// MethodName is the method of a request as it came.
func (m *Message) MethodName() []byte { return m.methodName }

// RequestURI is the Request-URI as it came.
func (m *Message) RequestURI() []byte { return m.uri }

// From is the header field From.
func (m *Message) From() *Address { return &m.from }

// To is the header field To.
func (m *Message) To() *Address { return &m.to }

// Via is the topmost Via.
func (m *Message) Via() *ViaHop { return &m.via }

// CallID is the Call-ID.
func (m *Message) CallID() []byte { return m.callID }

// Lists says whether a field whose value is a list of tokens names this one, in any case. Parameters of the tokens do not count.
func (m *Message) Lists(n Name, name string) bool {
	for value := range m.Headers(n) {
		for len(value) > 0 {
			var item []byte
			item, value, _ = bytes.Cut(value, []byte{','})
			item, _, _ = bytes.Cut(item, []byte{';'})
			if equalFold(trim(item), name) {
				return true
			}
		}
	}
	return false
}

// Seconds returns the value of a field that is a number of seconds. found says whether the field is there, ok whether it is a
// number. A number that is too large is the largest one (RFC 3261 §20.19).
func (m *Message) Seconds(n Name) (seconds uint32, found, ok bool) {
	value := m.Header(n)
	if value == nil {
		return 0, false, true
	}
	value, _, _ = bytes.Cut(value, []byte{';'})
	value = trim(value)
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, true, false
		}
	}
	if seconds, ok = number(value, math.MaxUint32); !ok {
		seconds = math.MaxUint32
	}
	return seconds, true, len(value) > 0
}

// Frame finds the end of the first message in what has come on a stream (RFC 3261 §18.3). size is how many bytes the message has, with
// the line breaks before it; 0: it is not complete. A head of more than MaxHead bytes, or a body of more than MaxBody, is an error,
// and so is a head that can't be read so far that its body's end is known: nothing behind it can be read.
func Frame(data []byte) (size int, err error) {
	begin := 0
	for begin < len(data) && (data[begin] == '\r' || data[begin] == '\n') {
		begin++
	}
	end := bytes.Index(data[begin:], []byte("\r\n\r\n"))
	if end < 0 {
		if len(data)-begin > MaxHead {
			return 0, ErrTooLarge
		}
		return 0, nil
	}
	if end > MaxHead {
		return 0, ErrTooLarge
	}
	body, seen := 0, false
	for rest := data[begin : begin+end+2]; len(rest) > 0; {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(text, []byte{':'})
		if name = bytes.TrimRight(name, " \t"); !ok || lookup(name) != ContentLength {
			continue
		}
		n, numeric := number(trim(value), MaxBody)
		if !numeric || seen {
			return 0, errLength
		}
		body, seen = int(n), true
	}
	if size = begin + end + 4 + body; size > len(data) {
		return 0, nil
	}
	return size, nil
}

// number reads a number of decimal digits only, up to most.
func number(text []byte, most uint64) (n uint32, ok bool) {
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	var sum uint64
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		if sum = sum*10 + uint64(c-'0'); sum > most {
			return 0, false
		}
	}
	return uint32(sum), true
}

// trim removes spaces and tabs at both ends.
func trim(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
		text = text[1:]
	}
	for len(text) > 0 && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t') {
		text = text[:len(text)-1]
	}
	return text
}

// token says whether a text is a token (RFC 3261 §25.1).
func token(text []byte) bool {
	for _, c := range text {
		if !tokenChars[c] {
			return false
		}
	}
	return len(text) > 0
}

// tokenChars are the characters of a token.
var tokenChars = func() (set [256]bool) {
	for c := range 256 {
		set[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c < 128 && strings.IndexByte("-.!%*_+`'~", byte(c)) >= 0
	}
	return set
}()

// printable says whether a text has only printable ASCII characters, without spaces.
func printable(text []byte) bool {
	for _, c := range text {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(text) > 0
}

// equalFold says whether text is lower-or-upper-case equal to an ASCII name.
func equalFold(text []byte, name string) bool {
	if len(text) != len(name) {
		return false
	}
	for i := range text {
		if lowerByte(text[i]) != lowerByte(name[i]) {
			return false
		}
	}
	return true
}

func hasPrefixFold(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && equalFold(text[:len(prefix)], prefix)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
