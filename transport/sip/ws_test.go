package sip

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// frame writes a frame as a client does, with a mask.
func frame(t *testing.T, conn io.Writer, op ws.OpCode, fin bool, text string) {
	t.Helper()
	if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewFrame(op, fin, []byte(text)))); err != nil {
		t.Fatal(err)
	}
}

// startWebSocket starts an edge and makes a WebSocket connection to it.
func startWebSocket(t *testing.T) net.Conn {
	t.Helper()
	s, conn := startEdge(t, WS, nil)
	early, _, err := ws.Dialer{Protocols: []string{"sip"}}.Upgrade(conn, &url.URL{Scheme: "ws", Host: s.Addr(WS), Path: "/"})
	if err != nil || early != nil {
		t.Fatal(early, err)
	}
	return conn
}

// RFC 7118 §5: a frame or several are one message; control frames may stand between them.
func TestWebSocketFrames(t *testing.T) {
	conn := startWebSocket(t)
	next := func(op ws.OpCode) string {
		t.Helper()
		h, err := ws.ReadHeader(conn)
		if err != nil || h.OpCode != op || h.Masked || !h.Fin || h.Length > 64<<10 {
			t.Fatalf("%+v, %v", h, err)
		}
		text := make([]byte, h.Length)
		if _, err := io.ReadFull(conn, text); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	frame(t, conn, ws.OpText, true, options("a", "", ""))
	frame(t, conn, ws.OpBinary, true, options("b", "", "body"))
	for _, callID := range []string{"a", "b"} {
		if got := next(ws.OpText); !answers(got, 200, callID) {
			t.Errorf("the answer is %q", got)
		}
	}
	text := options("c", "", "body")
	frame(t, conn, ws.OpText, false, text[:10])
	frame(t, conn, ws.OpPing, true, "are you there")
	frame(t, conn, ws.OpContinuation, false, text[10:50])
	frame(t, conn, ws.OpContinuation, false, "")
	frame(t, conn, ws.OpPong, true, "")
	frame(t, conn, ws.OpContinuation, true, text[50:])
	if got := next(ws.OpPong); got != "are you there" {
		t.Errorf("the pong is %q", got)
	}
	if got := next(ws.OpText); !answers(got, 200, "c") {
		t.Errorf("the answer is %q", got)
	}
	frame(t, conn, ws.OpText, true, ping) // RFC 5626 §4.4.1
	if got := next(ws.OpText); got != pong {
		t.Errorf("the answer to line breaks is %q", got)
	}
	frame(t, conn, ws.OpPing, true, "")
	if got := next(ws.OpPong); got != "" {
		t.Errorf("the pong is %q", got)
	}
	frame(t, conn, ws.OpText, true, strings.Replace(options("d", "", ""), "CSeq: 1", "CSeq: x", 1))
	if got := next(ws.OpText); !answers(got, 400, "d") {
		t.Errorf("the answer is %q", got)
	}
	frame(t, conn, ws.OpText, true, options("e", "", strings.Repeat("x", 60000)))
	if got := next(ws.OpText); !answers(got, 200, "e") {
		t.Errorf("the answer is %q", got)
	}
	closing := ws.NewCloseFrameBody(ws.StatusNormalClosure, "")
	frame(t, conn, ws.OpClose, true, string(closing))
	if got := next(ws.OpClose); got != string(closing) {
		t.Errorf("the close is %q", got)
	}
	closed(t, conn)
}

// A frame that breaks the rules of RFC 6455 §5 ends the connection, before its content is read.
func TestWebSocketFaults(t *testing.T) {
	header := func(h ws.Header, text string) string {
		var b bytes.Buffer
		if err := ws.WriteHeader(&b, h); err != nil {
			t.Fatal(err)
		}
		return b.String() + text
	}
	for name, text := range map[string]string{
		"without a mask":                    header(ws.Header{Fin: true, OpCode: ws.OpText, Length: 4}, ping),
		"with a reserved bit":               header(ws.Header{Fin: true, Rsv: 4, OpCode: ws.OpText, Masked: true, Length: 4}, ping),
		"of an unknown kind":                header(ws.Header{Fin: true, OpCode: 3, Masked: true, Length: 4}, ping),
		"too large":                         header(ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 100_000}, ""),
		"of a length that no memory has":    header(ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 1 << 62}, ""),
		"parts that are too large together": header(ws.Header{OpCode: ws.OpText, Masked: true, Length: 50_000}, strings.Repeat("x", 50_000)) + header(ws.Header{Fin: true, OpCode: ws.OpContinuation, Masked: true, Length: 50_000}, ""),
		"a large control frame":             header(ws.Header{Fin: true, OpCode: ws.OpPing, Masked: true, Length: 126}, strings.Repeat("x", 126)),
		"a control frame in parts":          header(ws.Header{OpCode: ws.OpPing, Masked: true, Length: 1}, "x"),
		"a continuation of nothing":         header(ws.Header{Fin: true, OpCode: ws.OpContinuation, Masked: true, Length: 4}, ping),
		"a message within another":          header(ws.Header{OpCode: ws.OpText, Masked: true, Length: 4}, ping) + header(ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 4}, ping),
	} {
		t.Run(name, func(t *testing.T) {
			conn := startWebSocket(t)
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			closed(t, conn)
		})
	}
}

// RFC 7118 §4: the subprotocol must be sip.
func TestWebSocketHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		protocols, lines string
		code             int
	}{
		"sip":                     {"sip", "", 101},
		"sip among others":        {"msrp, sip", "", 101},
		"another protocol":        {"msrp", "", 400},
		"no protocol":             {"", "", 400},
		"no upgrade":              {"sip", "-", 400},
		"an old version":          {"sip", "Sec-WebSocket-Version: 8\r\n", 426},
		"a head that is too long": {"sip", "X: " + strings.Repeat("x", 9000) + "\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := startEdge(t, WS, nil)
			text := "GET / HTTP/1.1\r\nHost: " + s.Addr(WS) + "\r\n"
			if c.lines != "-" {
				text += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + c.lines
				if !strings.Contains(c.lines, "Version") {
					text += "Sec-WebSocket-Version: 13\r\n"
				}
			}
			if c.protocols != "" {
				text += "Sec-WebSocket-Protocol: " + c.protocols + "\r\n"
			}
			if _, err := io.WriteString(conn, text+"\r\n"); err != nil {
				t.Fatal(err)
			}
			if c.code == 0 {
				closed(t, conn)
				return
			}
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			if answer.StatusCode != c.code || c.code == 101 && answer.Header.Get("Sec-WebSocket-Protocol") != "sip" {
				t.Errorf("the answer is %s, %v", answer.Status, answer.Header)
			}
			if c.code != 101 {
				closed(t, conn)
			}
		})
	}
}

// quiet is a connection that takes what is written.
type quiet struct{ net.Conn }

func (quiet) Write(data []byte) (int, error) { return len(data), nil }

// FuzzFrames reads any bytes as the frames of a message.
func FuzzFrames(f *testing.F) {
	add := func(frames ...ws.Frame) {
		var b bytes.Buffer
		for _, one := range frames {
			_ = ws.WriteFrame(&b, ws.MaskFrame(one))
		}
		f.Add(b.Bytes())
	}
	add(ws.NewTextFrame([]byte(options("a", "", ""))))
	add(ws.NewFrame(ws.OpText, false, []byte("x")), ws.NewPingFrame([]byte("y")), ws.NewFrame(ws.OpContinuation, true, []byte("z")))
	add(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	s := newTestServer(nil)
	c := &connection{listener: &listener{transport: WS, advertise: "192.0.2.1:80"}, remote: netip.MustParseAddrPort("192.0.2.9:1024"), write: func([]byte) error { return nil }}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = s.readMessage(flow{listener: c.listener, remote: c.remote, connection: c}, bytes.NewReader(data), quiet{}, make([]byte, 1024))
	})
}
