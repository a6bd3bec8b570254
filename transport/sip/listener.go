package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// listener is one address on which the edge listens.
type listener struct {
	transport Transport
	index     int            // among the UDP sockets of the edge
	advertise string         // HOST:PORT in Via and Contact
	packets   *net.UDPConn   // UDP
	stream    net.Listener   // all others
	local     netip.AddrPort // where it listens
}

const receiveBuffer = 4 << 20 // bytes of the kernel's buffer for datagrams that were not read

// listen opens one address. advertise is how other hosts reach it, as HOST or HOST:PORT; "": the address itself.
func listen(ctx context.Context, t Transport, address, advertise string) (*listener, error) {
	l := &listener{transport: t}
	if t == UDP {
		c, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
		if err != nil {
			return nil, err
		}
		l.packets = c.(*net.UDPConn)
		_ = l.packets.SetReadBuffer(receiveBuffer)
		_ = l.packets.SetWriteBuffer(receiveBuffer)
		l.local = l.packets.LocalAddr().(*net.UDPAddr).AddrPort()
	} else {
		var err error
		if l.stream, err = (&net.ListenConfig{KeepAlive: time.Minute}).Listen(ctx, "tcp", address); err != nil {
			return nil, err
		}
		l.local = l.stream.Addr().(*net.TCPAddr).AddrPort()
	}
	l.local = netip.AddrPortFrom(l.local.Addr().Unmap(), l.local.Port())
	var err error
	if l.advertise, err = advertised(l.local, address, advertise); err != nil {
		l.close()
	}
	return l, err
}

// advertised returns the HOST:PORT that phones and proxies are told.
func advertised(local netip.AddrPort, address, advertise string) (string, error) {
	port := strconv.Itoa(int(local.Port()))
	host, _, _ := net.SplitHostPort(address)
	if advertise != "" {
		if h, p, err := net.SplitHostPort(advertise); err == nil {
			return net.JoinHostPort(h, p), nil
		}
		return net.JoinHostPort(advertise, port), nil
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		return "", fmt.Errorf("%s listens on all addresses: say with --sip-advertise at which address phones reach it", address)
	}
	return net.JoinHostPort(host, port), nil
}

func (l *listener) close() {
	if l.packets != nil {
		_ = l.packets.Close()
	}
	if l.stream != nil {
		_ = l.stream.Close()
	}
}

// readPackets reads datagrams until the socket is closed.
func (s *Server) readPackets(l *listener) {
	r := s.newReader()
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := l.packets.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error about an earlier datagram
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if from.Port() == 0 {
			continue
		}
		r.receive(flow{listener: l, remote: from}, buffer[:n])
	}
}

// acceptAll accepts connections until the listener is closed.
func (s *Server) acceptAll(l *listener) {
	for {
		c, err := l.stream.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			s.metrics.refused.WithLabelValues("accept").Inc()
			s.log.Warn("the edge can't accept a connection, and tries again", "listener", l.advertise, "err", err)
			time.Sleep(50 * time.Millisecond) // out of descriptors or memory: nothing tells when there is some again
			continue
		}
		s.connections.Go(func() { s.accept(l, c.(*net.TCPConn), netip.AddrPort{}) })
	}
}

// handshakeTime is how long a TLS or WebSocket handshake may take.
const handshakeTime = 5 * time.Second

// accept makes a connection of ours of one that has come, and reads it until it is closed. A connection that the edge has made itself
// comes with the address that it was made to.
func (s *Server) accept(l *listener, tcp *net.TCPConn, to netip.AddrPort) {
	out, err := newOutbox(tcp)
	if err != nil {
		_ = tcp.Close()
		return
	}
	remote := to
	if !to.IsValid() {
		remote = tcp.RemoteAddr().(*net.TCPAddr).AddrPort()
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	}
	c := &connection{listener: l, remote: remote, close: func() { _ = tcp.Close() }}
	if !s.flows.add(c, time.Now()) {
		s.metrics.refused.WithLabelValues("connections").Inc()
		_ = tcp.Close()
		return
	}
	_ = tcp.SetWriteBuffer(2 * maxUnsent)
	_ = tcp.SetDeadline(time.Now().Add(handshakeTime))
	conn, err := s.handshake(c, out, to.IsValid())
	if err != nil {
		s.flows.remove(c)
		c.close()
		return
	}
	_ = tcp.SetDeadline(time.Time{})
	// A goroutine of its own has a small stack: that of the handshake stays large.
	s.connections.Go(func() {
		defer func() {
			s.flows.remove(c)
			c.close()
		}()
		conn()
	})
}

// handshake does what a connection begins with. It returns the function that reads the connection until it ends.
func (s *Server) handshake(c *connection, out *outbox, made bool) (func(), error) {
	conn := net.Conn(out)
	if t := c.listener.transport; t == TLS || t == WSS {
		turn := &inTurn{Conn: out, turns: s.handshakes}
		s.handshakes <- struct{}{}
		defer func() {
			turn.over = true
			<-s.handshakes
		}()
		var secured *tls.Conn
		if made {
			secured = tls.Client(turn, s.cfg.TLSClient)
		} else {
			secured = tls.Server(turn, s.cfg.TLS)
		}
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		for _, cert := range secured.ConnectionState().PeerCertificates[:min(1, len(secured.ConnectionState().PeerCertificates))] {
			c.certs = append(append(c.certs, cert.Subject.CommonName), cert.DNSNames...)
		}
		conn = secured
	}
	if t := c.listener.transport; t == WS || t == WSS {
		if err := upgrade(conn); err != nil {
			return nil, err
		}
		c.write = func(data []byte) error { return writeFrame(conn, data) }
		return func() { s.readFrames(c, conn) }, nil
	}
	c.write = func(data []byte) error { _, err := conn.Write(data); return err }
	return func() { s.readStream(c, conn) }, nil
}

// inTurn is a connection in its TLS handshake. Few handshakes compute at a time, because they need much of the processor, but any number
// wait for the other side: Read gives the turn back while it waits. So connections that are silent hold nobody up.
type inTurn struct {
	net.Conn
	turns chan struct{}
	over  bool // the handshake is over; later reads take no turn
}

// Read implements net.Conn.
func (c *inTurn) Read(b []byte) (int, error) {
	if c.over {
		return c.Conn.Read(b)
	}
	<-c.turns
	n, err := c.Conn.Read(b)
	c.turns <- struct{}{}
	return n, err
}
