package natsd

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// routePort is the port on which the servers of the other nodes reach this one. It gives the server the connections of those who
// prove that they are servers of the cluster: a server begins with a CONNECT line that holds the password of the routes. NATS checks
// the line again.
type routePort struct {
	port
	password string                // of the routes; "": any CONNECT line proves enough
	nats     func() *server.Server // the server that runs now; nil: none yet
}

const (
	longestLine = 4096 // bytes of a CONNECT line; one of NATS 2.15 has about 300

	maxStrangers = 256 // unless Routes.MaxStrangers says less
)

// Errors of a connection that the server does not get.
var (
	errNoServer = errors.New("it does not begin as the NATS server of a node does")
	errPassword = errors.New("it has another password than --gossip-key gives: a node of another cluster, or an attack")
)

// openRoutePort opens the port and accepts connections until close is called. bound is how many may be open that have proved
// nothing, and the server may have half as many.
func openRoutePort(address, password string, bound int, nats func() *server.Server, log *slog.Logger) (*routePort, error) {
	p := &routePort{port: port{flag: "--nats-cluster", strangers: bound, most: bound / 2, mostOf: bound / 2, log: log}, password: password, nats: nats}
	if err := p.listen(address); err != nil {
		return nil, err
	}
	p.accept(p.serve)
	return p, nil
}

// serve waits for a connection's proof, and gives the connection to the server.
func (p *routePort) serve(c *net.TCPConn) {
	err := p.prove(c)
	taken := &routeConn{c, p}
	running := p.nats()
	if err = errors.Join(err, p.promote(c, err == nil)); err != nil {
		if errors.Is(err, errNoServer) || errors.Is(err, errPassword) || errors.Is(err, errTooFew) {
			p.log.Warn("a connection to the port of --nats-cluster was closed", "from", c.RemoteAddr(), "err", err)
		}
		_ = c.Close()
		return
	}
	if running == nil || running.ClusterAddr() == nil { // it is being started; the other server tries again
		_ = taken.Close()
		return
	}
	takeRoute(running, taken)
}

// routeConn is a connection that the server has. It embeds the type that NATS itself would have, so that NATS still writes several
// buffers with one call.
type routeConn struct {
	*net.TCPConn
	port *routePort
}

// Close implements net.Conn.
func (c *routeConn) Close() error {
	c.port.forget(c.TCPConn)
	return c.TCPConn.Close()
}

// prove returns nil if the connection begins as a server of the cluster does. It leaves all bytes to be read.
func (p *routePort) prove(c *net.TCPConn) error {
	_ = c.SetReadDeadline(time.Now().Add(proofTime))
	line, err := peekLine(c)
	if err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Time{})
	said, ok := bytes.CutPrefix(line, []byte("CONNECT "))
	var connect struct {
		User string `json:"user"`
		Pass string `json:"pass"`
	}
	if !ok || json.Unmarshal(said, &connect) != nil {
		return errNoServer
	}
	if p.password != "" && !(connect.User == routesUser && hmac.Equal([]byte(connect.Pass), []byte(p.password))) {
		return errPassword
	}
	return nil
}

// peekLine waits for the first line that comes on a connection, and returns it without reading it.
func peekLine(c *net.TCPConn) (line []byte, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	room := make([]byte, longestLine)
	var failed error
	err = raw.Read(func(fd uintptr) bool { // called again whenever more has come
		n, _, err := unix.Recvfrom(int(fd), room, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		for errors.Is(err, unix.EINTR) {
			n, _, err = unix.Recvfrom(int(fd), room, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		}
		switch end := bytes.IndexByte(room[:max(n, 0)], '\n'); {
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			failed = err
		case n == 0:
			failed = io.EOF
		case end >= 0:
			line = room[:end]
		case n == len(room):
			failed = errNoServer
		default:
			return false
		}
		return true
	})
	return line, errors.Join(err, failed)
}
