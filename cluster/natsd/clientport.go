package natsd

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clientPort is the port on which clients reach the server. A NATS server speaks first, so the server gets each connection at once.
// A connection has proved nothing until a byte has come on it, and is closed when none comes within proofTime. What a client must
// prove afterwards is the server's affair: where it demands passwords, it closes a connection that brings none within 2 s.
//
// The node itself connects to the port of the loopback address on which the server listens, so that no stranger can take its place.
type clientPort struct {
	port
	nats func() *server.Server // the server that runs now; nil: none yet
	tls  bool                  // clients speak TLS
}

// ownClients is how many connections the server takes beyond those of the clientPort: the node's own.
const ownClients = 64

// openClientPort opens the port. most is how many clients may be connected, and an address may have half of them.
func openClientPort(address string, most int, nats func() *server.Server, log *slog.Logger) (*clientPort, error) {
	p := &clientPort{port: port{flag: "--nats-listen", strangers: max(16, most/4), most: most, mostOf: max(1, most/2), log: log}, nats: nats}
	return p, p.listen(address)
}

// serve gives a connection to the server.
func (p *clientPort) serve(c *net.TCPConn) {
	taken := &clientConn{TCPConn: c, port: p}
	running := p.nats()
	if running == nil || !running.Running() { // it is being started; the client tries again
		_ = taken.Close()
		return
	}
	time.AfterFunc(proofTime, func() {
		if !taken.spoke.Load() {
			_ = taken.Close()
		}
	})
	takeClient(running, taken)
}

// clientConn is a connection that the server has. It embeds the type that NATS itself would have, so that NATS still writes several
// buffers with one call.
type clientConn struct {
	*net.TCPConn
	port  *clientPort
	spoke atomic.Bool
}

// Read implements net.Conn. The first bytes prove that a client is there.
func (c *clientConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if n > 0 && !c.spoke.Swap(true) {
		if err := c.port.promote(c.TCPConn, true); err != nil {
			c.refuse(err)
			return 0, err
		}
	}
	return n, err
}

// refuse closes a connection beyond the bounds, and tells the client as NATS itself does.
func (c *clientConn) refuse(err error) {
	c.port.log.Warn("a client's connection to the port of --nats-listen was closed", "from", c.RemoteAddr(), "err", err)
	if !c.port.tls {
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = c.Write([]byte("-ERR 'maximum connections exceeded'\r\n"))
	}
	_ = c.Close()
}

// Close implements net.Conn.
func (c *clientConn) Close() error {
	c.port.forget(c.TCPConn)
	return c.TCPConn.Close()
}
