package natsd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// freeAddresses returns addresses of the loopback address whose ports are free now.
func freeAddresses(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

// clustered starts a server that takes routes at an address, and connects to itself and to peers.
func clustered(t *testing.T, name, at string, strangers int, peers ...string) *Server {
	t.Helper()
	s := New(Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: name, Log: slog.New(slog.DiscardHandler),
		Routes: &Routes{Listen: at, Peers: append(peers, at), Key: testKey, MaxStrangers: strangers, Members: func() []string { return nil }}})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// hasRoute waits until a server has a route to another one.
func hasRoute(t *testing.T, s *Server, to string) {
	t.Helper()
	var have []string
	for begun := time.Now(); time.Since(begun) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		routes, err := s.nats.Load().Routez(&server.RoutezOptions{})
		if err != nil {
			t.Fatal(err)
		}
		have = nil
		for _, r := range routes.Routes {
			if have = append(have, r.RemoteName); r.RemoteName == to {
				return
			}
		}
	}
	t.Fatalf("%s has no route to %s; it has routes to %v", s.cfg.Name, to, have)
}

// open returns how many connections a port has that have proved nothing, and how many the server has.
func (p *routePort) open() (strangers, servers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.unproven), len(p.taken)
}

// While strangers open silent connections to the port for routes, and new ones for those that are closed, a server that comes gets
// its route through that port, and the bound holds. A third server that knows only the second one learns the public address of
// the first one from it.
func TestRoutesDuringAFlood(t *testing.T) {
	const bound = 16
	at := freeAddresses(t, 3)
	a := clustered(t, "a", at[0], bound)
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer func() { stop(); flood.Wait() }()
	for range 10 * bound {
		flood.Go(func() {
			for ctx.Err() == nil {
				c, err := net.DialTimeout("tcp", at[0], time.Second)
				if err != nil {
					continue
				}
				release := context.AfterFunc(ctx, func() { _ = c.Close() })
				_, _ = io.Copy(io.Discard, c) // until the other side closes it
				release()
				_ = c.Close()
				select {
				case <-time.After(100 * time.Millisecond): // 1,600 connections a second
				case <-ctx.Done():
				}
			}
		})
	}
	full := false
	for begun := time.Now(); !full && time.Since(begun) < 30*time.Second; {
		n, _ := a.routes.open()
		full = n == bound
	}
	if !full {
		t.Fatal("the flood does not fill the port")
	}
	c := clustered(t, "c", at[1], bound, at[0])
	hasRoute(t, c, "a")
	hasRoute(t, a, "c")
	b := clustered(t, "b", at[2], bound, at[1])
	hasRoute(t, b, "c")
	hasRoute(t, b, "a")
	if strangers, servers := a.routes.open(); strangers > bound || servers == 0 {
		t.Errorf("%d connections have proved nothing, the server has %d", strangers, servers)
	}
}

// What a stranger says, or does not say, ends his connection, and NATS hears none of it.
func TestStrangersAtTheRoutePort(t *testing.T) {
	a := clustered(t, "a", freeAddresses(t, 1)[0], 4)
	for name, says := range map[string]string{
		"silent":         "",
		"another secret": `CONNECT {"user":"lamplight","pass":"x"}` + "\r\n",
		"another user":   `CONNECT {"user":"x","pass":"` + a.cfg.Routes.password() + `"}` + "\r\n",
		"no document":    "CONNECT {\r\n",
		"HTTP":           "GET / HTTP/1.1\r\n\r\n",
		"a long line":    "CONNECT " + strings.Repeat(" ", longestLine),
		"half a line":    "CONNECT {",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", a.cfg.Routes.Listen)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, says); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * proofTime))
			if got, err := io.ReadAll(c); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it is answered %q, %v", got, err)
			}
		})
	}
	if n := a.nats.Load().NumRoutes(); n != 0 {
		t.Errorf("%d routes", n)
	}
}

// Strangers of one address do not take the place of a connection of another address.
func TestStrangersOfOneAddress(t *testing.T) {
	const bound = 4
	a := clustered(t, "a", freeAddresses(t, 1)[0], bound)
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", a.cfg.Routes.Listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	peer := dial("127.0.0.2")
	var first net.Conn
	for i := range 3 * bound {
		if c := dial("127.0.0.1"); i == 0 {
			first = c
		}
	}
	_ = first.SetReadDeadline(time.Now().Add(proofTime / 2))
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the oldest of the strangers' connections is still open: %v", err)
	}
	_, _ = fmt.Fprintf(peer, "CONNECT {\"user\":%q,\"pass\":%q}\r\n", routesUser, a.cfg.Routes.password())
	_ = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(peer).ReadString('\n'); !strings.HasPrefix(line, "INFO ") {
		t.Errorf("the server of the other address gets %q, %v", line, err)
	}
}
