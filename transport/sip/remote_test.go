package sip_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"
)

// lone is an edge that reaches the nodes over NATS alone.
type lone struct {
	server *sip.Server
	remote *sip.Remote
	conn   *nats.Conn
}

// startLone starts such an edge on UDP at an address.
func startLone(t testing.TB, n *node.Node, name, address string) *lone {
	t.Helper()
	return startLoneWith(t, n, name, address, &profile.Table{})
}

// startLoneWith is startLone with a table of profiles.
func startLoneWith(t testing.TB, n *node.Node, name, address string, profiles *profile.Table) *lone {
	t.Helper()
	conn, err := client.Connect(client.Options{URL: "nats://" + n.Addr(node.NATS)}, name)
	if err != nil {
		t.Fatal(err)
	}
	l := &lone{conn: conn, remote: sip.NewRemote(sip.RemoteConfig{Conn: conn, Name: name, Version: "0", Log: slog.New(slog.DiscardHandler)})}
	if err := l.remote.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	l.server = sip.New(sip.Config{Name: name, Listen: []sip.Listen{{Transport: sip.UDP, Address: address}, {Transport: sip.TCP, Address: "127.0.0.1:0"}},
		Timeout: 2 * time.Second, Profiles: profiles, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}, l.remote)
	if err := errors.Join(l.remote.Hear(within(t), l.server), l.server.Start(within(t))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.stop)
	return l
}

// kill ends the edge as kill -9 does: it says nothing to anybody.
func (l *lone) kill() {
	l.conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.server.Stop(ctx)
}

func (l *lone) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = errors.Join(l.server.Stop(ctx), l.remote.Stop(ctx))
	l.conn.Close()
}

// dial connects a phone to the edge.
func (l *lone) dial(t testing.TB, transport sip.Transport) *phone.Phone {
	t.Helper()
	p, err := phone.Dial(within(t), phone.Config{Server: l.server.Addr(transport), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// refusedWith fails if an error is not an answer with the code.
func refusedWith(t testing.TB, err error, code int) {
	t.Helper()
	if r, ok := errors.AsType[*phone.Refused](err); !ok || r.Code != code {
		t.Errorf("%v, want %d", err, code)
	}
}

// A phone behind an edge that runs alone is authenticated, watches a call, refreshes and unsubscribes.
func TestRemote(t *testing.T) {
	n := startNode(t, func(*sip.Config) {})
	l := startLone(t, n, "alone", "127.0.0.1:0")
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
		p := l.dial(t, transport)
		s := watch(t, p, "1001", "dialog")
		id := "call-" + transport.String()
		call(t, n, id, presence.Early)
		shows(t, s, "<state>early</state>")
		call(t, n, id, presence.Terminated)
		before := s.Latest().CSeq
		if err := s.Refresh(within(t), 600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Until(within(t), func(n *phone.Notify) bool { return n.CSeq > before && n.State == "active" }); err != nil {
			t.Fatal(err)
		}
		if err := s.Refresh(within(t), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Until(within(t), func(n *phone.Notify) bool { return n.State == "terminated" }); err != nil {
			t.Fatal(err)
		}
		refusedWith(t, s.Refresh(within(t), 600), 481)
	}
	p := l.dial(t, sip.UDP)
	for user, code := range map[string]int{"1002": 401, "7777": 401} {
		_, err := p.Subscribe(within(t), phone.Subscribe{Watcher: user + "@" + acme, Password: "wrong", Target: "1001@" + acme, Package: "dialog", Expires: 600})
		refusedWith(t, err, code)
	}
	_, err := p.Subscribe(within(t), phone.Subscribe{Watcher: "1002@other.example.com", Password: "secret", Target: "1001@other.example.com", Package: "dialog", Expires: 600})
	refusedWith(t, err, 404)
}

// An edge that is started again under its name accepts the SIP dialogs that it made before, and its phones are told their state.
func TestRemoteStartsAgain(t *testing.T) {
	n := startNode(t, func(*sip.Config) {})
	l := startLone(t, n, "alone", "127.0.0.1:0")
	s := watch(t, l.dial(t, sip.UDP), "1001", "dialog")
	call(t, n, "k", presence.Early)
	before := shows(t, s, "<state>early</state>").CSeq
	address := l.server.Addr(sip.UDP)
	l.stop()
	startLone(t, n, "alone", address)
	if _, err := s.Until(within(t), func(n *phone.Notify) bool { return n.CSeq > before && contains(n.Body, "<state>early</state>") }); err != nil {
		t.Fatalf("the phone was not told again: %v", err)
	}
	if err := s.Refresh(within(t), 600); err != nil {
		t.Fatal(err)
	}
}

// Without NATS a phone that the edge can't authenticate gets 503 and a Retry-After, and neither 401 nor 404. One that it knows is
// authenticated, and told 503 because its subscription can't be kept.
func TestRemoteWithoutNATS(t *testing.T) {
	n := startNode(t, func(*sip.Config) {})
	l := startLone(t, n, "alone", "127.0.0.1:0")
	s := watch(t, l.dial(t, sip.UDP), "1001", "dialog")
	l.conn.Close()
	refusedWith(t, s.Refresh(within(t), 600), 503)
	_, err := l.dial(t, sip.UDP).Subscribe(within(t), phone.Subscribe{Watcher: "1002@other.example.com", Password: "secret", Target: "1001@other.example.com", Package: "dialog", Expires: 600})
	refusedWith(t, err, 503)
}
