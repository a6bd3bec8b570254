package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"lamplight/transport/sip/message"
)

// upgrade makes a WebSocket connection of an HTTP connection (RFC 7118 §4).
func upgrade(conn net.Conn) error {
	agreed := false
	u := ws.Upgrader{
		ReadBufferSize: 4 << 10, // a line of the request's head may have so many bytes
		Protocol:       func(name []byte) bool { agreed = agreed || string(name) == "sip"; return string(name) == "sip" },
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !agreed {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(400), ws.RejectionReason("the WebSocket subprotocol must be sip (RFC 7118)"))
			}
			return nil, nil
		},
	}
	_, err := u.Upgrade(struct {
		io.Reader
		io.Writer
	}{io.LimitReader(conn, message.MaxHead), conn})
	return err
}

var frames = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// writeFrame sends a message as one frame (RFC 7118 §5).
func writeFrame(conn net.Conn, data []byte) error { return writeOp(conn, ws.OpText, data) }

func writeOp(conn net.Conn, op ws.OpCode, data []byte) error {
	b := frames.Get().(*bytes.Buffer)
	defer frames.Put(b)
	b.Reset()
	_ = ws.WriteHeader(b, ws.Header{Fin: true, OpCode: op, Length: int64(len(data))})
	b.Write(data)
	_, err := conn.Write(b.Bytes())
	return err
}

var errFrame = errors.New("a frame breaks the rules of RFC 6455 or RFC 7118")

// readFrames reads the messages of a WebSocket connection until it ends.
func (s *Server) readFrames(c *connection, conn net.Conn) {
	f := flow{listener: c.listener, remote: c.remote, connection: c}
	var one [1]byte
	for {
		if n, err := conn.Read(one[:]); n == 0 || err != nil {
			return
		}
		c.heard.Set(time.Now())
		_ = conn.SetReadDeadline(time.Now().Add(partTime))
		b := largeBuffers.Get().(*[]byte)
		err := s.readMessage(f, io.MultiReader(bytes.NewReader(one[:]), conn), conn, *b)
		largeBuffers.Put(b)
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
	}
}

// readMessage reads the frames of one message, and the control frames between them, and has the message handled.
func (s *Server) readMessage(f flow, in io.Reader, conn net.Conn, buffer []byte) error {
	have, begun := 0, false
	for {
		h, err := ws.ReadHeader(in)
		if err != nil {
			return err
		}
		if !h.Masked || h.Rsv != 0 || h.Length > int64(len(buffer)-have) || h.OpCode.IsControl() && (h.Length > 125 || !h.Fin) {
			return errFrame
		}
		part := buffer[have : have+int(h.Length)]
		if _, err := io.ReadFull(in, part); err != nil {
			return err
		}
		ws.Cipher(part, h.Mask, 0)
		switch h.OpCode {
		case ws.OpPing:
			if err := writeOp(conn, ws.OpPong, part); err != nil {
				return err
			}
		case ws.OpPong:
		case ws.OpClose:
			_ = writeOp(conn, ws.OpClose, part)
			return io.EOF
		case ws.OpText, ws.OpBinary, ws.OpContinuation:
			if begun != (h.OpCode == ws.OpContinuation) {
				return errFrame
			}
			begun = true
			if have += len(part); h.Fin {
				s.receiveFrame(f, buffer[:have])
				return nil
			}
			continue
		default:
			return errFrame
		}
		if !begun {
			return nil
		}
	}
}

// receiveFrame handles one message.
func (s *Server) receiveFrame(f flow, data []byte) {
	if string(data) == ping {
		_ = f.send([]byte(pong))
		return
	}
	r := readers.Get().(*reader)
	defer readers.Put(r)
	r.server = s
	r.receive(f, data)
}
