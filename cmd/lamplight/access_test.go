package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// deploy/nats.conf is enough for a node, an edge and a control client, and no more: each does its work with it, and an
// edge speaks for no other.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	conf := strings.NewReplacer(`"/var/lib/nats"`, `"`+t.TempDir()+`"`, "127.0.0.1:4222", "127.0.0.1:-1").Replace(string(example))
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.NoLog, o.NoSigs = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	as := func(user, password string) string { return "nats://" + user + ":" + password + "@" + s.Addr().String() }
	p := serve(t, t.TempDir(), "--nats", as("node", "change-me-node"))
	p.sample()

	var refused = make(chan string, 10)
	edge, err := nats.Connect(as("edge1", "change-me-edge"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err.Error() }))
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	told, err := edge.SubscribeSync("lamplight.notify.edge1")
	if err != nil {
		t.Fatal(err)
	}
	doc := subscription("c1")
	for k, v := range map[string]any{"App-Name": "t", "App-Version": "1", "Event-Category": "presence", "Event-Name": "subscription", "Msg-ID": "m"} {
		doc[k] = v
	}
	b, _ := json.Marshal(doc)
	if m, err := edge.Request(subject1001, b, 10*time.Second); err != nil || !strings.Contains(string(m.Data), `"ok"`) {
		t.Fatalf("an edge's subscription: %v", err)
	}
	if _, err := told.NextMsg(10 * time.Second); err != nil {
		t.Fatalf("an edge's NOTIFY: %v", err)
	}
	for _, subject := range []string{"lamplight.edge.up.edge1", "lamplight.notified.box.edge1"} {
		if err := edge.Publish(subject, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	_ = edge.Flush()
	if len(refused) > 0 {
		t.Errorf("an edge may not speak for itself: %s", <-refused)
	}
	for _, subject := range []string{"lamplight.edge.up.edge2", "lamplight.notified.box.edge2", "presence.reset.acme%2Eexample%2Ecom.%2A", "lamplight.notify.edge1", "$JS.API.STREAM.NAMES"} {
		if err := edge.Publish(subject, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		select {
		case why := <-refused:
			if !strings.Contains(strings.ToLower(why), "permissions violation") {
				t.Errorf("%s: %s", subject, why)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("an edge may publish to %s", subject)
		}
	}
	control := as("control", "change-me-control")
	if out := p.lamplight("presence", "list", "--realm", realm, "--nats", control); !strings.Contains(out, "c1") {
		t.Errorf("control: %s", out)
	}
	p.lamplight("presence", "set", "1001", "early", "--realm", realm, "--nats", control)
	if strings.Contains(strings.ToLower(p.stderr.String()), "permissions violation") {
		t.Errorf("the node lacks permissions: %s", p.stderr.String())
	}
}
