package natsd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// withClients starts a standalone server that takes so many clients.
func withClients(t *testing.T, most int) *Server {
	t.Helper()
	s := New(Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: "a", MaxClients: most, Log: slog.New(slog.DiscardHandler)})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// dialFrom connects to a server from an address of this machine.
func dialFrom(t *testing.T, from string, s *Server) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ended waits until the other side closes a connection, and returns what came on it.
func ended(t *testing.T, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * proofTime))
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is still open; it brought %q", got)
	}
	return string(got)
}

// A connection on which no byte comes is closed, though the server demands nothing of its clients.
func TestSilentClient(t *testing.T) {
	s := withClients(t, 8)
	ended(t, dialFrom(t, "127.0.0.1", s))
	end := time.Now().Add(10 * time.Second)
	for s.nats.Load().NumClients() != 0 { // the server forgets it a moment after it is closed
		if time.Now().After(end) {
			t.Fatalf("%d clients", s.nats.Load().NumClients())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Silent connections are bounded, and those of one address do not take the place of one of another address.
func TestSilentClientsOfOneAddress(t *testing.T) {
	s := withClients(t, 8)
	other := dialFrom(t, "127.0.0.2", s)
	first := dialFrom(t, "127.0.0.1", s)
	for range 100 {
		dialFrom(t, "127.0.0.1", s)
	}
	begun := time.Now()
	if ended(t, first); time.Since(begun) > proofTime*3/4 {
		t.Errorf("the oldest of the connections of the address that has the most was open for another %v", time.Since(begun))
	}
	if _, err := io.WriteString(other, "CONNECT {\"verbose\":false}\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = other.SetReadDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(other)
	for _, want := range []string{"INFO ", "PONG"} {
		if line, err := r.ReadString('\n'); !strings.HasPrefix(line, want) {
			t.Errorf("the client of the other address gets %q, %v, and not %s", line, err, want)
		}
	}
}

// An address has half of the clients, and a client beyond that hears why it is closed. The node itself always gets in.
func TestClientsOfOneAddress(t *testing.T) {
	s := withClients(t, 8)
	for range 4 {
		c, err := nats.Connect(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if _, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrMaxConnectionsExceeded) && (err == nil || !strings.Contains(err.Error(), "maximum connections exceeded")) {
		t.Errorf("one more client gets %v", err)
	}
	own, err := nats.Connect(s.URL(), s.WayIn()...)
	if err != nil {
		t.Fatalf("the node itself: %v", err)
	}
	own.Close()
	c := dialFrom(t, "127.0.0.2", s)
	_, _ = io.WriteString(c, "CONNECT {\"verbose\":false}\r\nPING\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); !strings.HasPrefix(line, "PONG") {
		t.Errorf("a client of another address gets %q, %v", line, err)
	}
}
