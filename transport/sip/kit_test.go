package sip_test

import (
	"context"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"

	"lamplight/actors"
)

const (
	acme     = "acme.example.com"
	patience = 10 * time.Second // how long a test waits for what must come
)

// startNode starts a node with a SIP edge on UDP, TCP and WebSocket. The realm acme has the devices 1001 to 1009, whose passwords are
// secret. Without change nobody is authenticated.
func startNode(t testing.TB, change func(*sip.Config), more ...func(*node.Config)) *node.Node {
	t.Helper()
	c := nodetest.Config("a", t.TempDir())
	c.SIP = &sip.Config{Name: "edge1", NoAuth: change == nil, Profiles: profile.Default()}
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP, sip.WS} {
		c.SIP.Listen = append(c.SIP.Listen, sip.Listen{Transport: transport, Address: "127.0.0.1:0"})
	}
	if change != nil {
		change(c.SIP)
	}
	for _, m := range more {
		m(&c)
	}
	return startAcme(t, c)
}

// startAcme starts a node that has the realm acme.
func startAcme(t testing.TB, c node.Config) *node.Node {
	t.Helper()
	n := nodetest.Start(t, c)
	account := map[string]any{"name": "Acme", "realm": acme}
	devices := []any{}
	for _, user := range []string{"1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009"} {
		devices = append(devices, map[string]any{"sip": map[string]any{"username": user, "password": "secret"}})
	}
	account["devices"] = devices
	if _, err := n.Directory().Import(context.Background(), directory.Import{Accounts: []map[string]any{account}}); err != nil {
		t.Fatal(err)
	}
	return n
}

// within is a context for what must happen soon.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial connects a phone to the edge.
func dial(t testing.TB, n *node.Node, transport sip.Transport) *phone.Phone {
	t.Helper()
	p, err := phone.Dial(within(t), phone.Config{Server: n.SIP().Addr(transport), Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// watch subscribes 1002 to an extension of acme.
func watch(t testing.TB, p *phone.Phone, extension, eventPackage string) *phone.Subscription {
	t.Helper()
	s, err := p.Subscribe(within(t), phone.Subscribe{Watcher: "1002@" + acme, Password: "secret", Target: extension + "@" + acme, Package: eventPackage, Expires: 600})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shows waits until a watcher has been told a text.
func shows(t testing.TB, s *phone.Subscription, text string) *phone.Notify {
	t.Helper()
	n, err := s.Until(within(t), func(n *phone.Notify) bool { return contains(n.Body, text) })
	if err != nil {
		t.Fatalf("%q was not told: %v", text, err)
	}
	return n
}

// call tells the node news of a call of 1001.
func call(t testing.TB, n *node.Node, callID string, state presence.State) {
	t.Helper()
	news(t, n, presence.CallEvent{CallID: callID, State: state, Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme})
}

// news tells the node news of 1001.
func news(t testing.TB, n *node.Node, message actors.Message) {
	t.Helper()
	a := n.Router().Request(within(t), actors.Request{To: actors.Address{Realm: acme, User: "1001"}, Message: message})
	if a.Err != nil {
		t.Fatal(a.Err)
	}
}
