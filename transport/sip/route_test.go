package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lamplight/transport/sip/message"
	"lamplight/transport/sip/message/rfc4475"
)

// What a Proxy-Route was made of, it says again.
func TestRouteSaysWhatItWasMadeOf(t *testing.T) {
	udp := flow{listener: &listener{transport: UDP, index: 2}, remote: netip.MustParseAddrPort("[2001:db8::1]:5062")}
	tcp := flow{listener: &listener{transport: TCP}, connection: &connection{number: 17}}
	for _, c := range []struct {
		f           flow
		event       string
		recordRoute []string
		want        way
	}{
		{udp, "dialog", nil, way{flow: "udp.2.[2001:db8::1]:5062", profile: "yealink"}},
		{tcp, "dialog;id=7", []string{"<sip:10.0.0.1;lr>"}, way{"tcp.abc.17", "yealink", "7", "<sip:10.0.0.1;lr>"}},
		{tcp, "dialog", []string{"<sip:10.0.0.1;lr>, <sip:10.0.0.2;lr>", "<sip:10.0.0.3;lr>"}, way{"tcp.abc.17", "yealink", "", "<sip:10.0.0.1;lr>, <sip:10.0.0.2;lr>,<sip:10.0.0.3;lr>"}},
		{tcp, `dialog;id="a;b"`, nil, way{flow: "tcp.abc.17", profile: "yealink"}},
		{tcp, "dialog;id=" + strings.Repeat("x", maxEventID+1), nil, way{flow: "tcp.abc.17", profile: "yealink"}},
	} {
		lines := "Event: " + c.event + "\r\n"
		for _, r := range c.recordRoute {
			lines += "Record-Route: " + r + "\r\n"
		}
		var m message.Message
		if err := m.Read([]byte(options("a", lines, ""))); err != nil {
			t.Fatal(err)
		}
		text := string(appendRoute(nil, c.f, "abc", "yealink", &m))
		if got := readRoute(text); got != c.want {
			t.Errorf("%s says %+v, want %+v", text, got, c.want)
		}
	}
	for _, text := range []string{"", "<sip:10.0.0.1;lr>", "<sip:x@lamplight", "x", "<sip:x;lr>@lamplight"} {
		if got := readRoute(text); got != (way{routes: text}) {
			t.Errorf("%s, which is no edge's, says %+v", text, got)
		}
	}
}

// FuzzRoute reads any text as a Proxy-Route, and finds a way by it or none.
func FuzzRoute(f *testing.F) {
	f.Add("<sip:udp.0.192.0.2.9:5062@lamplight;profile=default;id=7;lr>,<sip:10.0.0.1;lr>", "<sip:1002@192.0.2.9>")
	f.Add("<sip:tcp.abc.17@lamplight;profile=default;lr>", "<sip:1002@[::1]:5060;transport=tcp>;+sip.instance=\"<urn:uuid:1>\"")
	f.Add("<sip:@lamplight;lr>", "sip:x")
	s := newTestServer(nil)
	s.sockets = []*listener{{transport: UDP}}
	f.Fuzz(func(t *testing.T, route, contact string) {
		w := readRoute(route)
		if len(w.flow)+len(w.profile)+len(w.id)+len(w.routes) > len(route) {
			t.Fatalf("%q says %+v", route, w)
		}
		if s.cfg.Profiles.Named(w.profile) == nil {
			t.Fatalf("%q has no profile", route)
		}
		hop, err := s.find(route, contact)
		if err == nil && hop.flow.listener == nil && !hop.dial.IsValid() {
			t.Fatalf("%q and %q lead nowhere", route, contact)
		}
		if len(bare(contact)) > len(contact) {
			t.Fatalf("the URI of %q is %q", contact, bare(contact))
		}
	})
}

// FuzzReceive hands any bytes to an edge, as a datagram's and as a message of a stream's. It answers with messages that can be read, or not
// at all, and holds no request that it has answered.
func FuzzReceive(f *testing.F) {
	for _, c := range rfc4475.Messages {
		f.Add([]byte(c.Text))
	}
	f.Add([]byte(options("a", "", "")))
	f.Add([]byte(ping))
	s := newTestServer(func(c *Config) { c.NoAuth = true })
	var out []byte
	c := &connection{listener: &listener{transport: TCP, advertise: "192.0.2.1:5060"}, remote: netip.MustParseAddrPort("192.0.2.9:1024"), write: func(data []byte) error {
		out = append(out[:0], data...)
		return nil
	}}
	r := s.newReader()
	f.Fuzz(func(t *testing.T, data []byte) {
		s.strangers = newLimiter(500, 2000, 16<<10) // the next request is another stranger's
		out = out[:0]
		size := len(data)
		r.receive(flow{listener: c.listener, remote: c.remote, connection: c}, data)
		if n := s.waiting.Load(); n != 0 {
			t.Fatalf("%d requests wait", n)
		}
		if len(out) == 0 {
			return
		}
		var m message.Message
		if err := m.Read(append([]byte(nil), out...)); m.Status == 0 || err == message.ErrNoMessage || err == message.ErrIncomplete || len(out) > size+1024 {
			t.Fatalf("%q is answered with %q, which can't be read: %v", data, out, err)
		}
	})
}

// A stranger's requests are answered only so often, whatever they are.
func TestStrangersAreLimited(t *testing.T) {
	s := newTestServer(nil)
	now, answered := time.Now(), 0
	c := &connection{listener: &listener{transport: TCP}, remote: netip.MustParseAddrPort("192.0.2.9:1024"), write: func([]byte) error { answered++; return nil }}
	r := s.newReader()
	for i := range 2 * s.strangers.burst {
		r.receive(flow{listener: c.listener, remote: c.remote, connection: c}, fmt.Appendf(nil, "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: %[1]d\r\nCSeq: 1 INVITE\r\n\r\n", i))
	}
	most := s.strangers.burst + int(time.Since(now)/s.strangers.every) + 1
	if answered < s.strangers.burst || answered > most {
		t.Errorf("%d requests were answered, want %d to %d", answered, s.strangers.burst, most)
	}
}
