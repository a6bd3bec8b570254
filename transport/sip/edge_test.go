package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
	"lamplight/transport/sip/profile"
)

const (
	testRealm = "acme.example.com"
	patience  = 10 * time.Second // how long a test waits for what must come
)

// oneRealm is a Cluster of one realm with the user 1002, whose password is secret. It takes every SUBSCRIBE.
type oneRealm struct {
	subscribed atomic.Int64
}

func (c *oneRealm) Secret() []byte { return []byte("a secret of the edges") }

func (c *oneRealm) Credentials(realm, user string) (Credentials, bool) {
	return Credentials{Realm: realm == testRealm, User: realm == testRealm && user == "1002", HA1: HashPassword(user, realm, "secret")}, true
}

func (c *oneRealm) Await(_, _ string, then func()) { go then() }

func (c *oneRealm) Subscribe(_ presence.Address, _ *presence.Subscribe, _ time.Time, done func(Outcome)) {
	c.subscribed.Add(1)
	done(Outcome{Code: 200})
}

func (c *oneRealm) Publish(_ presence.Address, ev *presence.Publish, _ Document, _ time.Time, done func(Outcome)) {
	done(Outcome{Code: 200, Tag: ev.Tag})
}

func (c *oneRealm) Drain(bool) {}

func (c *oneRealm) Replied(string, presence.Address, presence.Notified) {}

// newTestServer makes an edge on loopback that is not started.
func newTestServer(change func(*Config)) *Server {
	c := Config{Name: "edge1", Profiles: profile.Default(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(&c)
	}
	return New(c, &oneRealm{})
}

// startEdge starts an edge on one transport, and connects to it.
func startEdge(t *testing.T, transport Transport, change func(*Config)) (*Server, net.Conn) {
	t.Helper()
	s := newTestServer(func(c *Config) {
		c.Listen = []Listen{{Transport: transport, Address: "127.0.0.1:0"}}
		if change != nil {
			change(c)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	network := "tcp"
	if transport == UDP {
		network = "udp"
	}
	conn, err := net.Dial(network, s.Addr(transport))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(3 * patience))
	t.Cleanup(func() {
		_ = conn.Close()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, conn
}

// options is an OPTIONS with a Call-ID, further header lines and a body.
func options(callID, lines, body string) string {
	return "OPTIONS sip:" + testRealm + " SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK" + callID + "\r\nFrom: <sip:1002@" + testRealm + ">;tag=1\r\nTo: <sip:" + testRealm + ">\r\nCall-ID: " +
		callID + "\r\nCSeq: 1 OPTIONS\r\n" + lines + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// stream reads the messages that come on a connection; what is no message it takes for keep-alives.
type stream struct {
	t    *testing.T
	conn net.Conn
	have string
}

// next returns the next message, or the line break that answers a ping.
func (s *stream) next() string {
	s.t.Helper()
	for {
		if strings.HasPrefix(s.have, pong) {
			s.have = s.have[len(pong):]
			return pong
		}
		if end := strings.Index(s.have, "\r\n\r\n"); end >= 0 { // no answer of the tests has a body
			one := s.have[:end+4]
			s.have = s.have[end+4:]
			return one
		}
		buffer := make([]byte, 4096)
		n, err := s.conn.Read(buffer)
		if s.have += string(buffer[:n]); err != nil {
			s.t.Fatalf("%v after %q", err, s.have)
		}
	}
}

// answers says whether a message is the answer with a code to the request with a Call-ID.
func answers(text string, code int, callID string) bool {
	return strings.HasPrefix(text, fmt.Sprintf("SIP/2.0 %d ", code)) && strings.Contains(text, "\r\nCall-ID: "+callID+"\r\n")
}

// closed fails unless the other side closes the connection. It returns what comes before.
func closed(t *testing.T, conn net.Conn) (text string) {
	t.Helper()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		text += string(buffer[:n])
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatal("the connection was not closed")
		}
		if err != nil {
			return text
		}
	}
}
