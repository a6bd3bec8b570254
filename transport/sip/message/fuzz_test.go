package message

import (
	"bytes"
	"net/netip"
	"testing"

	"lamplight/transport/sip/message/rfc4475"
)

func seeds(f *testing.F) {
	f.Helper()
	f.Add([]byte(subscribe))
	for _, c := range rfc4475.Messages {
		f.Add([]byte(c.Text))
	}
}

// FuzzRead reads any bytes: Read ends, keeps its bounds, and reads the same again; what it can answer, it can also read when answered.
func FuzzRead(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(Message)
		err := m.Read(data)
		again := new(Message)
		if err2 := again.Read(data); err != err2 || !bytes.Equal(m.Body, again.Body) || m.count != again.count || !bytes.Equal(m.CallID(), again.CallID()) {
			t.Fatalf("read %v, then %v", err, err2)
		}
		if wrong, ok := err.(*Error); err != nil && (!ok || wrong == nil) {
			t.Fatalf("an error without a code: %#v", err)
		}
		if len(m.Body) > len(data) || err == nil && len(m.Body) > MaxBody || m.count > MaxLines {
			t.Fatalf("%d bytes of body, %d lines", len(m.Body), m.count)
		}
		look(t, m)
		if !m.Answerable() {
			if err == nil && m.Status == 0 && m.Method != Ack {
				t.Fatal("a request that was read can't be answered")
			}
			return
		}
		answer := AppendEnd(m.AppendEcho(AppendStatus(nil, 400, "Bad Request"), netip.MustParseAddrPort("192.0.2.1:5060"), "tag"), 0)
		if err != nil {
			return
		}
		back := new(Message)
		if err := back.Read(answer); err == ErrTooLarge && len(data) > MaxHead-256 {
			return
		} else if err != nil {
			t.Fatalf("the answer can't be read: %v\n%q", err, answer)
		}
		if back.Status != 400 || !bytes.Equal(back.Via().Branch, m.Via().Branch) || !bytes.Equal(back.CallID(), m.CallID()) || back.CSeq != m.CSeq ||
			!bytes.Equal(back.From().Tag(), m.From().Tag()) || len(back.To().Tag()) == 0 && len(m.To().Tag()) != 0 {
			t.Fatalf("the answer is of another transaction\n%q", answer)
		}
	})
}

// look uses what a reader offers.
func look(t *testing.T, m *Message) {
	for n := range names {
		lines := 0
		for value := range m.Headers(n) {
			lines++
			addresses(t, value)
			ParseVia(value)
			params(t, value)
		}
		if (lines > 0) != (m.Header(n) != nil) {
			t.Fatalf("%d lines of %s", lines, n)
		}
		m.Seconds(n)
		m.Lists(n, "path")
	}
	m.Field("x-lamplight-user")
}

// addresses reads a list of addresses to its end.
func addresses(t *testing.T, list []byte) {
	for len(list) > 0 {
		a, rest, ok := ParseAddress(list)
		if !ok {
			return
		}
		if len(rest) >= len(list) || len(a.URI.Text) == 0 {
			t.Fatalf("%q is followed by %q", list, rest)
		}
		a.Tag()
		params(t, a.Params)
		list = rest
	}
}

// params reads a list of parameters to its end.
func params(t *testing.T, list []byte) {
	for len(list) > 0 {
		name, _, rest := NextParam(list)
		if len(rest) >= len(list) {
			t.Fatalf("%q is followed by %q", list, rest)
		}
		if name == nil {
			return
		}
		list = rest
	}
}

// FuzzFrame cuts a stream: whatever the pieces are that it comes in, the same messages are found.
func FuzzFrame(f *testing.F) {
	seeds(f)
	f.Add([]byte(subscribe + "\r\n\r\n" + subscribe))
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := Frame(data)
		if size < 0 || size > len(data) || size > MaxHead+4+MaxBody+len(data)-len(bytes.TrimLeft(data, "\r\n")) || err != nil && size != 0 {
			t.Fatalf("%d of %d bytes, %v", size, len(data), err)
		}
		if size == 0 {
			return
		}
		if again, err := Frame(data[:size]); again != size || err != nil {
			t.Fatalf("the message alone is %d of %d bytes, %v", again, size, err)
		}
		for _, part := range []int{0, 1, size / 2, size - 1} {
			if n, err := Frame(data[:part]); n != 0 || err != nil {
				t.Fatalf("%d of %d bytes make a message of %d, %v", part, size, n, err)
			}
		}
		m := new(Message)
		if err := m.Read(bytes.Clone(data[:size])); err == nil && m.Header(ContentLength) == nil && len(m.Body) > 0 {
			t.Fatalf("a body of %d bytes that the stream does not know of", len(m.Body))
		}
	})
}

// FuzzURI reads any text as a URI, and its parts stand in it.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:1001@acme.example.com:5060;lr?a=b", "sips:a:b@[::1]", "tel:+1;x=y", "sip:a?b@c", "pres:a@b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		u, ok := ParseURI(text)
		if !ok {
			return
		}
		if !bytes.Equal(u.Text, text) || !printable(text) || len(u.User)+len(u.Host)+len(u.Params)+len(u.Headers) > len(text) ||
			len(u.Host) == 0 && u.Scheme != "tel" || u.Port < 0 || u.Port > 65535 || bytes.ContainsAny(u.Host, "@;?") {
			t.Fatalf("%q became %+v", text, u)
		}
	})
}
