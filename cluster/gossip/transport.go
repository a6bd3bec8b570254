package gossip

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"
)

// The connections that others may have open to the gossip port. memberlist itself accepts any number and waits 10 s for what each has
// to say, also from those who have no key; each is a file descriptor, which the journal and the API need too. Members need a few.
const (
	maxStreams   = 256 // together; fewer where Config.MaxStreams says so
	maxStreamsOf = 16  // from one address
)

// transport is memberlist's own transport with a bound on the connections. Past it, a connection is closed at once.
type transport struct {
	*memberlist.NetTransport
	admitted chan net.Conn
	most     int
	log      *slog.Logger
	stop     chan struct{}  // closed by close
	running  sync.WaitGroup // run

	mu    sync.Mutex
	count int
	of    map[netip.Addr]int
}

// newTransport opens the gossip port that o names, and notes in o which port that is.
func newTransport(o *memberlist.Config, most int, log *slog.Logger) (t *transport, err error) {
	t = &transport{admitted: make(chan net.Conn), stop: make(chan struct{}), most: most, log: log, of: map[netip.Addr]int{}}
	for range 10 { // for port 0 the port that the system gives for TCP may be taken for UDP
		t.NetTransport, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{o.BindAddr}, BindPort: o.BindPort, Logger: o.Logger})
		if err == nil || o.BindPort != 0 || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	o.Transport, o.BindPort, o.AdvertisePort = t, t.GetAutoBindPort(), t.GetAutoBindPort()
	t.running.Go(t.run)
	return t, nil
}

// close stops the transport, after memberlist has stopped. It waits for run.
func (t *transport) close() {
	_ = t.Shutdown() // which waits until run has taken what was accepted
	close(t.stop)
	t.running.Wait()
}

// run passes connections on to memberlist, until stop is closed.
func (t *transport) run() {
	for {
		select {
		case c := <-t.NetTransport.StreamCh():
			s := t.admit(c)
			if s == nil {
				t.log.Warn("a connection to the gossip port was closed, because too many are open; if they are no nodes, keep strangers from the port",
					"from", c.RemoteAddr())
				_ = c.Close()
				continue
			}
			select {
			case t.admitted <- s:
			case <-t.stop:
				_ = s.Close()
				return
			}
		case <-t.stop:
			return
		}
	}
}

// admit counts a connection; nil: there are too many.
func (t *transport) admit(c net.Conn) net.Conn {
	a, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	from := a.Addr().Unmap()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= t.most || t.of[from] >= maxStreamsOf {
		return nil
	}
	t.count++
	t.of[from]++
	var once sync.Once
	return &gossipStream{c, func() {
		once.Do(func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.count--
			if t.of[from]--; t.of[from] == 0 {
				delete(t.of, from)
			}
		})
	}}
}

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.admitted }

// gossipStream is a connection that transport counts.
type gossipStream struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (s *gossipStream) Close() error {
	s.release()
	return s.Conn.Close()
}
