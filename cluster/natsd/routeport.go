package natsd

import (
	"bytes"
	"context"
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
	"golang.org/x/sys/unix"
)

// routePort is the port on which the servers of the other nodes reach this one. NATS itself accepts any number of connections
// there, and each is a file descriptor, which the journal needs too. NATS therefore listens on a port of the loopback address that
// the system chooses, and routePort passes to it the connections of those who prove that they are servers of the cluster: a server
// begins with a CONNECT line that holds the password of the routes. NATS checks the line again. Shorter deadlines in NATS would not
// do instead: a stranger who connects often enough has as many connections open as he wants.
//
// Of the connections that have proved nothing yet, routePort keeps a bounded number. A new one takes the place of the oldest one
// of the address that has the most, so that strangers cannot keep out a server that has an address of its own.
//
// A passed connection costs a copy of each byte within the kernel, and six more descriptors.
type routePort struct {
	listener  *net.TCPListener
	password  string          // of the routes; "": any CONNECT line proves enough
	strangers int             // connections that have proved nothing yet; at most
	servers   int             // connections that are passed on; at most
	nats      func() net.Addr // where the NATS server that runs now takes routes; nil: it does not yet
	log       *slog.Logger
	running   sync.WaitGroup // the goroutines of run and serve

	mu       sync.Mutex
	unproven []*net.TCPConn // the oldest first
	passed   map[*net.TCPConn]struct{}
	closed   bool
}

const (
	proofTime   = 2 * time.Second // how long a connection may take to prove that a server made it
	longestLine = 4096            // bytes of a CONNECT line; one of NATS 2.15 has about 300
	acceptRetry = 50 * time.Millisecond

	maxStrangers = 256 // unless Routes.MaxStrangers says less
)

// Errors of a connection that is not passed on.
var (
	errNoServer = errors.New("it does not begin as the NATS server of a node does")
	errPassword = errors.New("it has another password than --gossip-key gives: a node of another cluster, or an attack")
)

// openRoutePort opens the port and accepts connections until close is called. bound is how many may be open that have proved
// nothing, and half as many are passed on.
func openRoutePort(address, password string, bound int, nats func() net.Addr, log *slog.Logger) (*routePort, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--nats-cluster: %w", err)
	}
	p := &routePort{listener: l.(*net.TCPListener), password: password, strangers: bound, servers: bound / 2, nats: nats, log: log,
		passed: map[*net.TCPConn]struct{}{}}
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
	for c := range p.passed {
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
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	if len(p.unproven) >= p.strangers {
		i := p.oldestOfLargestCrowd()
		p.log.Warn("a connection to the port of --nats-cluster was closed, because too many are open that are no nodes': keep strangers from the port",
			"from", p.unproven[i].RemoteAddr())
		_ = p.unproven[i].Close()
		p.unproven = slices.Delete(p.unproven, i, i+1)
	}
	p.unproven = append(p.unproven, c)
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

// serve waits for a connection's proof, and passes the connection on until one of its two ends closes it.
func (p *routePort) serve(c *net.TCPConn) {
	defer c.Close()
	err := p.prove(c)
	if !p.promote(c, err == nil) {
		if errors.Is(err, errNoServer) || errors.Is(err, errPassword) {
			p.log.Warn("a connection to the port of --nats-cluster was closed", "from", c.RemoteAddr(), "err", err)
		}
		return
	}
	defer p.forget(c)
	n, err := p.dialNATS()
	if err != nil {
		return // the server is being started again, and the other one tries again
	}
	defer n.Close()
	p.log.Debug("a node's NATS server connected; NATS calls the connection by its second address", "from", c.RemoteAddr(), "as", n.LocalAddr())
	var out sync.WaitGroup
	out.Go(func() {
		_, _ = io.Copy(c, n)
		_ = c.Close() // which ends the other copy
	})
	_, _ = io.Copy(n, c)
	_ = n.Close()
	out.Wait()
}

// promote takes a connection out of those that have proved nothing. It returns true if the connection is to be passed on.
func (p *routePort) promote(c *net.TCPConn, proven bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.unproven, c)
	if i < 0 {
		return false // it was closed for another one
	}
	p.unproven = slices.Delete(p.unproven, i, i+1)
	if !proven || p.closed {
		return false
	}
	if len(p.passed) >= p.servers {
		p.log.Error("a connection of a node's NATS server was closed, because the process has too few file descriptors for more: raise its "+
			"limit (ulimit -n, LimitNOFILE)", "from", c.RemoteAddr())
		return false
	}
	p.passed[c] = struct{}{}
	return true
}

// forget notes that a connection is passed on no longer.
func (p *routePort) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.passed, c)
}

// dialNATS connects to the NATS server of this process.
func (p *routePort) dialNATS() (net.Conn, error) {
	at := p.nats()
	if at == nil {
		return nil, errors.New("the embedded NATS server takes no routes yet")
	}
	ctx, cancel := context.WithTimeout(context.Background(), proofTime)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, "tcp", at.String())
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
