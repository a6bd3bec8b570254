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

	"lamplight/cluster/age"
)

// listener bounds the connections of the API: all together, and those of one client address. Each connection is a file
// descriptor, and a process without descriptors can neither accept a connection nor write its journal. At a bound the
// connection that has been idle for longest makes room, else the one that has been sending its request for longest, if that is
// more than slowRequest; if there is neither, the new one is answered 503 and closed. An error
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
	waits    atomic.Int64 // since which age of the process: it is idle; negative: its request has not come whole; 0: it is answered
	closed   atomic.Bool
}

const (
	retryFirst = 5 * time.Millisecond // the wait after an error of Accept, doubled up to retryLast
	retryLast  = time.Second
	looked     = 64 // connections that are looked at to find one that may be closed

	slowRequest = time.Second
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
	n.waits.Store(int64(age.Of(time.Now())))
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count >= l.most || len(l.by[from]) >= l.mostOf {
		var old *conn
		if now := time.Now(); len(l.by[from]) >= l.mostOf {
			old = longestWaiting(l.by[from], now)
		} else {
			old = l.fromLargestCrowd(now)
		}
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

// fromLargestCrowd returns the connection that may be closed of the address that has the most, of some addresses that it looks at;
// nil: there is none. The caller holds l.mu.
func (l *listener) fromLargestCrowd(now time.Time) (old *conn) {
	size, n := 0, 0
	for _, crowd := range l.by {
		if len(crowd) > size {
			if c := longestWaiting(crowd, now); c != nil {
				old, size = c, len(crowd)
			}
		}
		if n++; n >= looked*4 && old != nil {
			break
		}
	}
	return old
}

// longestWaiting returns the connection that has been idle for longest, of some that it looks at, or else the one whose request has
// been coming for longest; nil: there is neither.
func longestWaiting(crowd map[*conn]struct{}, now time.Time) *conn {
	var idle, slow *conn
	var idleSince int64
	slowSince := int64(age.Of(now) - slowRequest)
	n := 0
	for c := range crowd {
		switch since := c.waits.Load(); {
		case since > 0 && (idle == nil || since < idleSince):
			idle, idleSince = c, since
		case since < 0 && -since < slowSince:
			slow, slowSince = c, -since
		}
		if n++; n >= looked && idle != nil {
			break
		}
	}
	if idle == nil {
		return slow
	}
	return idle
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

// noteState notes whether a request has begun to come on a connection. fasthttp calls it.
func noteState(nc net.Conn, state fasthttp.ConnState) {
	switch c := counted(nc); {
	case c == nil:
	case state == fasthttp.StateActive:
		c.waits.Store(-int64(age.Of(time.Now())))
	case state == fasthttp.StateIdle:
		c.waits.Store(int64(age.Of(time.Now())))
	}
}

// noteWhole notes that the request on a connection has come whole, or that its sender is known.
func noteWhole(nc net.Conn) {
	if c := counted(nc); c != nil {
		c.waits.Store(0)
	}
}

// counted returns the connection as the listener counts it.
func counted(nc net.Conn) *conn {
	if inner, ok := nc.(interface{ NetConn() net.Conn }); ok { // a TLS connection
		nc = inner.NetConn()
	}
	c, _ := nc.(*conn)
	return c
}

// address returns the address that a connection comes from; the zero value if there is none.
func address(c net.Conn) netip.Addr {
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return a.Addr().Unmap()
}
