package natsd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// port is a public port of the NATS server. NATS itself accepts any number of connections, and closes those beyond its bounds only
// afterwards; each is a file descriptor, which the journal needs too. NATS therefore listens on a port of the loopback address that
// the system chooses, and the port gives the server the connections that it accepts. Shorter deadlines in NATS would not do instead:
// a stranger who connects often enough has as many connections open as he wants.
//
// Of the connections that have proved nothing yet, a port keeps a bounded number. A new one takes the place of the oldest one
// of the address that has the most, so that strangers cannot keep out a program that has an address of its own.
//
// A port does not copy bytes between two connections (only a build without links does, see relay): three nodes on a machine
// whose cores were busy took 1 ms longer for a write then, of 4 to 5 ms.
type port struct {
	listener  *net.TCPListener
	flag      string // that gives the address
	strangers int    // connections that have proved nothing yet; at most
	most      int    // connections that have proved something; at most
	mostOf    int    // of these, those of one address; at most
	log       *slog.Logger
	running   sync.WaitGroup // the goroutines of run and of what it starts

	mu       sync.Mutex
	unproven []*net.TCPConn // the oldest first
	taken    map[*net.TCPConn]struct{}
	by       map[netip.Addr]int // how many of taken an address has
	closed   bool
}

const (
	proofTime   = 5 * time.Second // how long a connection may take to prove something
	acceptRetry = 50 * time.Millisecond
)

// errTooFew says that a connection has proved something, and the port has as many of that kind as it may.
var errTooFew = errors.New("there are as many connections as the process's file descriptors allow, all together or of this address: " +
	"raise its limit (ulimit -n, LimitNOFILE)")

// listen listens on the address. It accepts nothing.
func (p *port) listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w; if another process uses the port, give another one", p.flag, err)
	}
	p.listener, p.taken, p.by = l.(*net.TCPListener), map[*net.TCPConn]struct{}{}, map[netip.Addr]int{}
	return nil
}

// accept starts to accept connections, until refuse or close is called. serve gets each on a goroutine of its own.
func (p *port) accept(serve func(*net.TCPConn)) {
	p.running.Go(func() { p.run(serve) })
}

// refuse closes the port, and leaves the connections open.
func (p *port) refuse() { _ = p.listener.Close() }

// close closes the port and all connections, and waits for the goroutines.
func (p *port) close() {
	p.refuse()
	p.mu.Lock()
	p.closed = true
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
func (p *port) run(serve func(*net.TCPConn)) {
	for {
		c, err := p.listener.AcceptTCP()
		switch {
		case err == nil:
			if p.admit(c) {
				p.running.Go(func() { serve(c) })
			}
		case errors.Is(err, net.ErrClosed):
			return
		default:
			p.log.Error("a connection to the port of "+p.flag+" could not be accepted; it is tried again. If the process has too "+
				"many open files, raise its limit (ulimit -n, LimitNOFILE)", "err", err)
			time.Sleep(acceptRetry)
		}
	}
}

// admit notes a new connection. At the bound it closes another one for it. It returns false, and closes the new one, when the
// port is closed.
func (p *port) admit(c *net.TCPConn) bool {
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
		p.log.Warn("a connection to the port of "+p.flag+" was closed, because too many are open on which nothing has come that proves "+
			"a right to them: keep strangers from the port", "from", old.RemoteAddr())
		_ = old.Close()
	}
	return true
}

// oldestOfLargestCrowd returns the index of the oldest unproven connection of the address that has the most. The caller holds p.mu.
func (p *port) oldestOfLargestCrowd() int {
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

// promote takes a connection out of those that have proved nothing. It returns nil if the connection has proved something and may
// stay.
func (p *port) promote(c *net.TCPConn, proven bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.unproven, c)
	if i < 0 || p.closed {
		return net.ErrClosed // for another one
	}
	p.unproven = slices.Delete(p.unproven, i, i+1)
	switch from := addressOf(c); {
	case !proven:
	case len(p.taken) >= p.most || p.by[from] >= p.mostOf:
		return errTooFew
	default:
		p.taken[c] = struct{}{}
		p.by[from]++
	}
	return nil
}

// forget notes that a connection is closed.
func (p *port) forget(c *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.unproven, c); i >= 0 {
		p.unproven = slices.Delete(p.unproven, i, i+1)
	}
	if _, ok := p.taken[c]; !ok {
		return
	}
	delete(p.taken, c)
	from := addressOf(c)
	if p.by[from]--; p.by[from] == 0 {
		delete(p.by, from)
	}
}
