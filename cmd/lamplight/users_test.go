package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A node starts with an embedded NATS server whose file demands users of clients, also users in an account, and lets in those users
// only.
func TestEmbeddedWithUsers(t *testing.T) {
	t.Parallel()
	users, err := os.ReadFile("../../deploy/nats-users.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config, user, password string
	}{
		"deploy/nats-users.conf": {string(users), "edge1", "change-me-edge"},
		"one user":               {`authorization { user: edge, password: secret }`, "edge", "secret"},
		"users in an account":    {`accounts { P { jetstream: enabled, users: [ { user: edge, password: secret } ] } }`, "edge", "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "nats.conf")
			if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, t.TempDir(), "--nats-config", file)
			p.await(nats.UserInfo(c.user, c.password), nats.CustomInboxPrefix("_INBOX_"+c.user))
			if !strings.HasPrefix(c.config, "#") {
				p.conn.Close()
				p.conn, err = nats.Connect(p.nats, nats.UserInfo(c.user, c.password))
				if err != nil {
					t.Fatal(err)
				}
			}
			// No account has the realm, so a node that listens refuses the document.
			a := p.request("omnipresence.subscribe.nobody%2Eexample.1001", "subscription", map[string]any{"User": "1001@nobody.example", "Expires": 60, "Call-ID": "c"})
			if a["Status"] != "error" || a["Code"] != "404" {
				t.Errorf("the edge's document: %v", a)
			}
			for _, stranger := range [][]nats.Option{nil, {nats.UserInfo("lamplight-node", "guess")}} {
				if conn, err := nats.Connect(p.nats, append(stranger, nats.Timeout(5*time.Second))...); err == nil {
					conn.Close()
					t.Error("a stranger is let in")
				}
			}
		})
	}
}
