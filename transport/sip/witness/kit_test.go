package witness

import (
	"context"
	"testing"

	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/sip"
	"lamplight/transport/sip/profile"
)

const acme = "acme.example.com"

// startNode starts a node with a SIP edge on UDP, TCP and WebSocket. The realm acme has the devices 1001 to 1004, whose passwords are
// secret. Without change nobody is authenticated.
func startNode(t testing.TB, change func(*sip.Config)) *node.Node {
	t.Helper()
	c := nodetest.Config("a", t.TempDir())
	c.SIP = &sip.Config{Name: "edge1", NoAuth: true, Profiles: profile.Default()}
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP, sip.WS} {
		c.SIP.Listen = append(c.SIP.Listen, sip.Listen{Transport: transport, Address: "127.0.0.1:0"})
	}
	if change != nil {
		change(c.SIP)
	}
	n := nodetest.Start(t, c)
	devices := []any{}
	for _, user := range []string{"1001", "1002", "1003", "1004"} {
		devices = append(devices, map[string]any{"sip": map[string]any{"username": user, "password": "secret"}})
	}
	if _, err := n.Directory().Import(context.Background(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": acme, "devices": devices}}}); err != nil {
		t.Fatal(err)
	}
	return n
}
