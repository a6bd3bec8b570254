package httpd

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// listener bounds the connections of the API: all together, and those of one client address. Each connection is a file
// descriptor, and a process without descriptors can neither accept a connection nor write its journal. At a bound the
// connection that has been idle for longest makes room; if none is idle, the new one is answered 503 and closed. An error
// of Accept other than a closed listener is tried again.
//
// Its methods are for any goroutine.
type listener struct {
	net.Listener
	most, mostOf int // connections of all, and of one address
	refused      *prometheus.CounterVec
	log          *slog.Logger

	mu    sync.Mutex
	count int
	by    map[netip.Addr]map[*conn]struct{}
}

// conn is a connection that listener counts.
type conn struct {
	net.Conn
	listener *listener
	from     netip.Addr
	idle     atomic.Int64 // since when it is idle, in Unix ns; 0: a request is under way
	closed   atomic.Bool
}

const (
	retryFirst = 5 * time.Millisecond // the wait after an error of Accept, doubled up to retryLast
	retryLast  = time.Second
	looked     = 64 // connections that are looked at to find one that is idle
)

// refusal is what a connection past the bounds is answered.
const refusal = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	wait := retryFirst
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			wait = retryFirst
			if admitted := l.admit(c); admitted != nil {
				return admitted, nil
			}
			l.refused.WithLabelValues("bound").Inc()
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = c.Write([]byte(refusal))
			_ = c.Close()
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default:
			if wait == retryFirst {
				l.log.Error("an HTTP connection could not be accepted; it is tried again. If the process has too many open "+
					"files, raise its limit (ulimit -n, LimitNOFILE)", "err", err)
			}
			l.refused.WithLabelValues("error").Inc()
			time.Sleep(wait)
			wait = min(2*wait, retryLast)
		}
	}
}

// admit counts a new connection. At a bound it closes one that is idle first; it returns nil when there is none.
func (l *listener) admit(c net.Conn) net.Conn {
	from := address(c)
	n := &conn{Conn: c, listener: l, from: from}
	n.idle.Store(time.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count >= l.most || len(l.by[from]) >= l.mostOf {
		crowd := l.by[from]
		if len(crowd) < l.mostOf {
			for _, other := range l.by {
				if len(other) > len(crowd) {
					crowd = other
				}
			}
		}
		old := longestIdle(crowd)
		if old == nil {
			return nil
		}
		l.forget(old)
		go func() { _ = old.Conn.Close() }() // may wait for what is unsent
	}
	if l.by[from] == nil {
		l.by[from] = map[*conn]struct{}{}
	}
	l.by[from][n] = struct{}{}
	l.count++
	return n
}

// longestIdle returns the connection that has been idle for longest, of some that it looks at; nil: none is idle.
func longestIdle(crowd map[*conn]struct{}) (longest *conn) {
	n := 0
	since := int64(0)
	for c := range crowd {
		if idle := c.idle.Load(); idle != 0 && (longest == nil || idle < since) {
			longest, since = c, idle
		}
		if n++; n >= looked && longest != nil {
			break
		}
	}
	return longest
}

// forget stops counting a connection. The caller holds l.mu.
func (l *listener) forget(c *conn) {
	if c.closed.Swap(true) {
		return
	}
	l.count--
	delete(l.by[c.from], c)
	if len(l.by[c.from]) == 0 {
		delete(l.by, c.from)
	}
}

// open returns how many connections there are.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	c.listener.forget(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// noteState notes whether a request is under way on a connection. fasthttp calls it.
func noteState(nc net.Conn, state fasthttp.ConnState) {
	if inner, ok := nc.(interface{ NetConn() net.Conn }); ok { // a TLS connection
		nc = inner.NetConn()
	}
	c, ok := nc.(*conn)
	switch {
	case !ok:
	case state == fasthttp.StateActive:
		c.idle.Store(0)
	case state == fasthttp.StateIdle:
		c.idle.Store(time.Now().UnixNano())
	}
}

// address returns the address that a connection comes from; the zero value if there is none.
func address(c net.Conn) netip.Addr {
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return a.Addr().Unmap()
}
