package httpd

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"lamplight/cluster/age"
)

// queue is a listener that gives what is put into it.
type queue chan any

func (q queue) Accept() (net.Conn, error) {
	switch v := (<-q).(type) {
	case net.Conn:
		return v, nil
	case error:
		return nil, v
	}
	return nil, net.ErrClosed
}
func (queue) Close() error   { return nil }
func (queue) Addr() net.Addr { return nil }

// from is a connection from an address. It keeps what is written to it.
type from struct {
	net.Conn
	address string
	written bytes.Buffer
	closed  chan struct{}
}

func connection(address string) *from { return &from{address: address, closed: make(chan struct{})} }

func (f *from) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.address))
}
func (f *from) Write(b []byte) (int, error)      { return f.written.Write(b) }
func (f *from) SetWriteDeadline(time.Time) error { return nil }
func (f *from) Close() error                     { close(f.closed); return nil }

func bounded(most, mostOf int) (*listener, queue) {
	q := make(queue, 100)
	return &listener{Listener: q, most: most, mostOf: mostOf, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "refused"}, []string{"reason"}), by: map[netip.Addr]map[*conn]struct{}{}}, q
}

// accept accepts one connection, which must be admitted.
func accept(t *testing.T, l *listener, q queue, c *from) net.Conn {
	t.Helper()
	q <- c
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func closed(t *testing.T, c *from, name string) {
	t.Helper()
	select {
	case <-c.closed:
	case <-time.After(5 * time.Second):
		t.Errorf("%s is still open", name)
	}
}

// At the bound of an address the connection that has been idle for longest makes room, and those of other addresses stay.
func TestIdleMakesRoom(t *testing.T) {
	l, q := bounded(10, 2)
	other, first, second, third := connection("10.0.0.2:1"), connection("10.0.0.1:1"), connection("10.0.0.1:2"), connection("10.0.0.1:3")
	accept(t, l, q, other)
	noteWhole(accept(t, l, q, first))
	accept(t, l, q, second)
	accept(t, l, q, third)
	closed(t, second, "the idle connection")
	if n := l.open(); n != 3 {
		t.Errorf("%d connections are counted, want 3", n)
	}
}

// Past the bounds a connection is answered 503 if none is idle, and one that ends makes room.
func TestBusyRefuse(t *testing.T) {
	l, q := bounded(2, 2)
	first, second, refused, late := connection("10.0.0.1:1"), connection("10.0.0.2:2"), connection("10.0.0.3:3"), connection("10.0.0.4:4")
	busy := accept(t, l, q, first)
	noteWhole(busy)
	noteState(accept(t, l, q, second), fasthttp.StateActive) // its request has just begun to come
	q <- refused
	q <- errors.New("end")
	go func() { closed(t, refused, "the refused connection"); _ = busy.Close(); q <- late }()
	if c, err := l.Accept(); err != nil || c.RemoteAddr().String() != late.address {
		t.Fatalf("%v, %v", c, err)
	}
	if got := refused.written.String(); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("the refused connection was answered %q", got)
	}
}

// The connection of the address that has most of them makes room when all together are too many.
func TestCrowdMakesRoom(t *testing.T) {
	l, q := bounded(3, 3)
	lone, crowd, more, late := connection("10.0.0.2:1"), connection("10.0.0.1:1"), connection("10.0.0.1:2"), connection("10.0.0.3:1")
	accept(t, l, q, lone)
	accept(t, l, q, crowd)
	accept(t, l, q, more)
	accept(t, l, q, late)
	closed(t, crowd, "the longest idle connection of the crowd")
}

// Errors of Accept, such as too many open files, are tried again; a closed listener ends it.
func TestAcceptErrors(t *testing.T) {
	l, q := bounded(2, 2)
	q <- &net.OpError{Op: "accept", Err: unix.EMFILE}
	q <- errors.New("odd")
	accept(t, l, q, connection("10.0.0.1:1"))
	q <- net.ErrClosed
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}

// A connection whose request comes slowly makes room if none is idle; one that is answered does not.
func TestSlowMakesRoom(t *testing.T) {
	l, q := bounded(2, 2)
	busy, slow, late := connection("10.0.0.1:1"), connection("10.0.0.2:2"), connection("10.0.0.3:3")
	noteWhole(accept(t, l, q, busy))
	counted(accept(t, l, q, slow)).waits.Store(-int64(age.Of(time.Now().Add(-2 * slowRequest))))
	accept(t, l, q, late)
	closed(t, slow, "the slow connection")
}
