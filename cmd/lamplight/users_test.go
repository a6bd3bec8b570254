package main

import (
	"os"
	"os/exec"
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
	ca := newAuthority(t, "ours")
	cert, key := ca.issue("nats")
	for name, c := range map[string]struct {
		config, user, password string
	}{
		"deploy/nats-users.conf":       {string(users), "edge1", "change-me-edge"},
		"one user":                     {`authorization { user: edge, password: secret }`, "edge", "secret"},
		"TLS with client certificates": {"tls { cert_file: " + cert + ", key_file: " + key + ", ca_file: " + ca.file + ", verify: true }", "", ""},
		"users in an account":          {`accounts { P { jetstream: enabled, users: [ { user: edge, password: secret } ] } }`, "edge", "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "nats.conf")
			if err := os.WriteFile(file, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, t.TempDir(), "--nats-config", file)
			way := []nats.Option{nats.UserInfo(c.user, c.password)}
			switch c.user {
			case "":
				way = []nats.Option{nats.RootCAs(ca.file), nats.ClientCert(cert, key)}
			case "edge1":
				way = append(way, nats.CustomInboxPrefix("_INBOX_edge1"))
			}
			p.await(way...)
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

// With --http-tls-cert the API speaks TLS, also towards lamplight ready; a key that others can read is refused, and an address beyond
// loopback without TLS is named in a warning.
func TestHTTPTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ours")
	cert, key := ca.issue("http")
	other, _ := newAuthority(t, "another").issue("http")
	p := serve(t, t.TempDir(), "--http-tls-cert", cert, "--http-tls-key", key)
	address := strings.TrimPrefix(p.http, "http://")
	if out, err := exec.Command("curl", "-sf", "--cacert", ca.file, "https://"+address+"/readyz").CombinedOutput(); err != nil || !strings.Contains(string(out), "ready") {
		t.Errorf("%v %s", err, out)
	}
	if out := p.lamplight("ready", "--http", address, "--http-tls-cert", cert); out != "ready" {
		t.Errorf("lamplight ready says %q", out)
	}
	fails(t, "another certificate", "ready", "--http", address, "--http-tls-cert", other)
	fails(t, "does not answer", "ready", "--http", "127.0.0.1:1")
	fails(t, "go together", "serve", "--http-tls-cert", cert)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	fails(t, "chmod", "serve", "--http-tls-cert", cert, "--http-tls-key", key)
	wide := start(t, t.TempDir(), "--http", "0.0.0.0:0")
	wide.await()
	if !strings.Contains(wide.stderr.String(), "WITHOUT TLS") {
		t.Errorf("no warning: %s", wide.stderr.String())
	}
	if strings.Contains(p.stderr.String(), "WITHOUT TLS") {
		t.Error("a warning about a node that speaks TLS")
	}
}
