package sip

import (
	"bytes"
	"net"
	"sync"
	"time"

	"lamplight/transport/sip/message"
)

// partTime is how long the rest of a message may take once its first byte has come.
const partTime = 10 * time.Second

// buffers are what messages of connections are read into. A connection on which nothing comes has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

// largeBuffers are for messages that do not fit into buffers.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, message.MaxSize+1024); return &b }}

// ping is what a phone sends to keep its connection, and pong is the answer (RFC 5626 §4.4.1).
const (
	ping = "\r\n\r\n"
	pong = "\r\n"
)

// readStream reads the messages of a TCP or TLS connection until it ends.
func (s *Server) readStream(c *connection, conn net.Conn) {
	f := flow{listener: c.listener, remote: c.remote, connection: c}
	var one [1]byte
	breaks := 0 // bytes of a ping that have come
	for {
		// One byte is read first: while nothing comes, a connection needs no buffer. Waiting for the socket to be readable would not do,
		// because TLS may hold bytes that have come already.
		if n, err := conn.Read(one[:]); n == 0 || err != nil {
			return
		}
		c.heard.Set(time.Now())
		b := buffers.Get().(*[]byte)
		have := copy(*b, ping[:breaks])
		(*b)[have] = one[0]
		var ok bool
		breaks, ok = s.readBurst(f, conn, &b, have+1)
		if len(*b) > 4<<10 {
			largeBuffers.Put(b)
		} else {
			buffers.Put(b)
		}
		if !ok {
			return
		}
	}
}

// readBurst reads until every message that has begun has ended. *b holds have bytes. It returns how many bytes of a ping remain, and false
// when the connection must be closed.
func (s *Server) readBurst(f flow, conn net.Conn, b **[]byte, have int) (breaks int, ok bool) {
	r := readers.Get().(*reader)
	defer readers.Put(r)
	r.server = s
	_ = conn.SetReadDeadline(time.Now().Add(partTime))
	for {
		data := (**b)[:have]
		for bytes.HasPrefix(data, []byte(ping)) {
			if f.send([]byte(pong)) != nil {
				return 0, false
			}
			data = data[len(ping):]
		}
		if len(data) < len(ping) && bytes.HasPrefix([]byte(ping), data) {
			_ = conn.SetReadDeadline(time.Time{})
			return len(data), true
		}
		size, err := message.Frame(data)
		if err != nil {
			r.data, r.tag = data, nil
			_ = r.m.Read(data) // what can be read of it may say who is to be told
			r.unreadable(f, err)
			return 0, false
		}
		if size > 0 {
			r.receive(f, data[:size])
			have = copy(**b, data[size:])
			continue
		}
		if have = copy(**b, data); have == len(**b) {
			if have > 4<<10 {
				return 0, false
			}
			large := largeBuffers.Get().(*[]byte)
			copy(*large, data)
			buffers.Put(*b)
			*b = large
		}
		n, err := conn.Read((**b)[have:])
		if n == 0 && err != nil {
			return 0, false
		}
		have += n
	}
}
