package natsd

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// routePort is the port on which the servers of the other nodes reach this one. NATS itself accepts any number of connections
// there, and each is a file descriptor, which the journal needs too. NATS therefore listens on a port of the loopback address that
// the system chooses, and routePort gives the server the connections of those who prove that they are servers of the cluster: a
// server begins with a CONNECT line that holds the password of the routes. NATS checks the line again. Shorter deadlines in NATS
// would not do instead: a stranger who connects often enough has as many connections open as he wants.
//
// Of the connections that have proved nothing yet, routePort keeps a bounded number. A new one takes the place of the oldest one
// of the address that has the most, so that strangers cannot keep out a server that has an address of its own.
//
// routePort does not copy bytes between two connections (only takeRoute of a build without links does): three nodes on a machine
// whose cores were busy took 1 ms longer for a write then, of 4 to 5 ms.
type routePort struct {
	listener  *net.TCPListener
	password  string                // of the routes; "": any CONNECT line proves enough
	strangers int                   // connections that have proved nothing yet; at most
	servers   int                   // connections that the server has; at most
	nats      func() *server.Server // the server that runs now; nil: none yet
	log       *slog.Logger
	running   sync.WaitGroup // the goroutines of run and serve

	mu       sync.Mutex
	unproven []*net.TCPConn // the oldest first
	taken    map[*net.TCPConn]struct{}
	closed   bool
}

const (
	proofTime   = 2 * time.Second // how long a connection may take to prove that a server made it
	longestLine = 4096            // bytes of a CONNECT line; one of NATS 2.15 has about 300
	acceptRetry = 50 * time.Millisecond

	maxStrangers = 256 // unless Routes.MaxStrangers says less
)

// Errors of a connection that the server does not get.
var (
	errNoServer = errors.New("it does not begin as the NATS server of a node does")
	errPassword = errors.New("it has another password than --gossip-key gives: a node of another cluster, or an attack")
	errTooFew   = errors.New("the process has too few file descriptors for more routes: raise its limit (ulimit -n, LimitNOFILE)")
)

// openRoutePort opens the port and accepts connections until close is called. bound is how many may be open that have proved
// nothing, and the server may have half as many.
func openRoutePort(address, password string, bound int, nats func() *server.Server, log *slog.Logger) (*routePort, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--nats-cluster: %w", err)
	}
	p := &routePort{listener: l.(*net.TCPListener), password: password, strangers: bound, servers: bound / 2, nats: nats, log: log,
		taken: map[*net.TCPConn]struct{}{}}
	p.running.Go(p.run)
	return p, nil
}

// close closes the port and all connections, and waits for the goroutines.
func (p *routePort) close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	for _, c := range p.unproven {
		_ = c.Close()
	}
	for c := range p.taken {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// run accepts connections until the port is closed.
func (p *routePort) run() {
	for {
		c, err := p.listener.AcceptTCP()
		switch {
		case err == nil:
			if p.admit(c) {
				p.running.Go(func() { p.serve(c) })
			}
		case errors.Is(err, net.ErrClosed):
			return
		default:
			p.log.Error("a connection to the port of --nats-cluster could not be accepted; it is tried again. If the process has too "+
				"many open files, raise its limit (ulimit -n, LimitNOFILE)", "err", err)
			time.Sleep(acceptRetry)
		}
	}
}

// admit notes a new connection. At the bound it closes another one for it. It returns false, and closes the new one, when the
// port is closed.
func (p *routePort) admit(c *net.TCPConn) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		_ = c.Close()
		return false
	}
	var old *net.TCPConn
	if len(p.unproven) >= p.strangers {
		i := p.oldestOfLargestCrowd()
		old = p.unproven[i]
		p.unproven = slices.Delete(p.unproven, i, i+1)
	}
	p.unproven = append(p.unproven, c)
	p.mu.Unlock()
	if old != nil {
		p.log.Warn("a connection to the port of --nats-cluster was closed, because too many are open that are no nodes': keep strangers from the port",
			"from", old.RemoteAddr())
		_ = old.Close()
	}
	return true
}

// oldestOfLargestCrowd returns the index of the oldest unproven connection of the address that has the most. The caller holds p.mu.
func (p *routePort) oldestOfLargestCrowd() int {
	crowd := map[netip.Addr]int{}
	for _, c := range p.unproven {
		crowd[addressOf(c)]++
	}
	oldest := 0
	for i, c := range p.unproven {
		if crowd[addressOf(c)] > crowd[addressOf(p.unproven[oldest])] {
			oldest = i
		}
	}
	return oldest
}

// addressOf returns the address that a connection comes from.
func addressOf(c *net.TCPConn) netip.Addr {
	return c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
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

// promote takes a connection out of those that have proved nothing. It returns nil if the server is to have it, provided that the
// connection has proved something.
func (p *routePort) promote(c *net.TCPConn, proven bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.unproven, c)
	if i < 0 || p.closed {
		return net.ErrClosed // for another one
	}
	p.unproven = slices.Delete(p.unproven, i, i+1)
	switch {
	case !proven:
	case len(p.taken) >= p.servers:
		return errTooFew
	default:
		p.taken[c] = struct{}{}
	}
	return nil
}

// forget notes that the server has a connection no longer.
func (p *routePort) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, c)
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
