package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

// loneEdge is a running `lamplight edge`.
type loneEdge struct {
	cmd       *exec.Cmd
	stderr    transcript
	udp, http string
}

// startEdge starts an edge on UDP at an address, as the NATS user of its name, and waits until it is ready.
func startEdge(t *testing.T, name, nats, address string, more ...string) *loneEdge {
	t.Helper()
	e := &loneEdge{cmd: exec.Command(binary, append([]string{"edge", "--name", name, "--sip-udp", address, "--http", "127.0.0.1:0", "--nats", nats, "--nats-inbox", "_INBOX_" + name}, more...)...)}
	e.cmd.Stderr = &e.stderr
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.cmd.Process.Kill(); _ = e.cmd.Wait() })
	ready := make(chan bool, 1)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if a, ok := strings.CutPrefix(s.Text(), "sip udp listening on "); ok {
				e.udp = a
			}
			if a, ok := strings.CutPrefix(s.Text(), "http listening on "); ok {
				e.http = "http://" + a
			}
			if strings.Contains(s.Text(), "is ready") {
				ready <- true
			}
		}
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("the edge ended: %s", e.stderr.String())
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("the edge is not ready: %s", e.stderr.String())
	}
	return e
}

// secondEdge returns the replacement for deployed that adds a user edge2 to deploy/nats-users.conf, as that file says: a copy of edge1's
// lines with another name.
func secondEdge(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/nats-users.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, user, _ := strings.Cut(string(text), "{ user: edge1")
	user, _, found := strings.Cut(user, "    # A bridge")
	if !found {
		t.Fatal("nats-users.conf has no user edge1 before the bridge")
	}
	const next = "    # A control client"
	return []string{next, strings.ReplaceAll("    { user: edge1"+user, "edge1", "edge2") + next}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dialEdge connects a phone to an edge.
func dialEdge(t *testing.T, e *loneEdge) *phone.Phone {
	t.Helper()
	p, err := phone.Dial(soon(t), phone.Config{Server: e.udp, Transport: sip.UDP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// shows waits until a phone has been told a state, with a higher CSeq than before, and returns the CSeq.
func shows(t *testing.T, s *phone.Subscription, state string, above uint32) uint32 {
	t.Helper()
	n, err := s.Until(soon(t), func(n *phone.Notify) bool {
		return n.CSeq > above && (strings.Contains(n.Body, "<state>"+state+"</state>") || state == "terminated" && n.State == "active" && !strings.Contains(n.Body, "<state>"))
	})
	if err != nil {
		t.Fatalf("%s was not told: %v; the last is %+v", state, err, s.Latest())
	}
	return n.CSeq
}

// Phones watch through edges that run alone, whose NATS users may do only what deploy/nats-users.conf lets an edge do. An edge that is
// killed and started again, under its name and address, goes on where it was: its phones notice nothing but NOTIFYs.
func TestLoneEdge(t *testing.T) {
	t.Parallel()
	var seen violations
	defer seen.logOthers(t)
	s := deployed(t, &seen, "nats.conf", append([]string{"127.0.0.1:4222", "127.0.0.1:-1"}, secondEdge(t)...)...)
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS did not start")
	}
	p := start(t, t.TempDir(), "--nats", as("node", "change-me-node", s))
	p.await()
	p.sample()
	bridge, refused := controlClient(t, as("edge1", "change-me-edge", s), "_INBOX_edge1.bridge")
	p.conn.Close() // from here on the documents come from a bridge
	p.conn = bridge
	one := startEdge(t, "edge1", as("edge1", "change-me-edge", s), "127.0.0.1:0")
	two := startEdge(t, "edge2", as("edge2", "change-me-edge", s), "127.0.0.1:0")

	var watchers []*phone.Subscription
	for i, e := range []*loneEdge{one, two} {
		user := []string{"1002", "1012"}[i]
		w, err := dialEdge(t, e).Subscribe(soon(t), phone.Subscribe{Watcher: user + "@" + realm, Password: "change-me-" + user, Target: "1001@" + realm, Package: "dialog", Expires: 600})
		if err != nil {
			t.Fatal(err)
		}
		watchers = append(watchers, w)
	}
	call := func(id, state string) {
		t.Helper()
		p.send("presence.dialog.acme%2Eexample%2Ecom."+id, "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "Call-ID": id, "State": state, "Direction": "recipient"})
	}
	last := make([]uint32, len(watchers))
	for _, state := range []string{"early", "confirmed", "terminated"} {
		call("k1", state)
		for i, w := range watchers {
			last[i] = shows(t, w, state, last[i])
		}
	}

	call("k2", "early")
	for i, w := range watchers {
		last[i] = shows(t, w, "early", last[i])
	}
	_ = one.cmd.Process.Kill()
	_ = one.cmd.Wait()
	call("k2", "confirmed")
	last[1] = shows(t, watchers[1], "confirmed", last[1])
	again := startEdge(t, "edge1", as("edge1", "change-me-edge", s), one.udp)
	last[0] = shows(t, watchers[0], "confirmed", last[0])
	if err := watchers[0].Refresh(soon(t), 600); err != nil {
		t.Fatalf("a refresh at the edge that was started again: %v", err)
	}
	last[0] = shows(t, watchers[0], "confirmed", last[0])
	call("k2", "terminated")
	for i, w := range watchers {
		last[i] = shows(t, w, "terminated", last[i])
	}

	for _, c := range []struct {
		user, password string
		code           int
	}{{"1002@" + realm, "wrong", 401}, {"nobody@" + realm, "change-me-1002", 401}, {"1002@other.example.com", "change-me-1002", 404}} {
		_, at, _ := strings.Cut(c.user, "@")
		_, err := dialEdge(t, again).Subscribe(soon(t), phone.Subscribe{Watcher: c.user, Password: c.password, Target: "1001@" + at, Package: "dialog", Expires: 600})
		if r, ok := errors.AsType[*phone.Refused](err); !ok || r.Code != c.code {
			t.Errorf("%s with the password %s: %v, want %d", c.user, c.password, err, c.code)
		}
	}
	for path, want := range map[string]string{"/readyz": `"ready"`, "/healthz": `"ok"`, "/metrics": "lamplight_sip_notifies_total"} {
		a, err := http.Get(again.http + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if a.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %.200s", path, a.StatusCode, text)
		}
	}
	if err := two.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := two.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, two.stderr.String())
	}
	seen.none(t)
	if len(refused) > 0 {
		t.Errorf("the bridge was refused %d times", len(refused))
	}
}

// serve and edge refuse flags of the SIP edge that can't work, and say what would.
func TestSIPFlags(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	udp := []string{"--sip-udp", "127.0.0.1:5060"}
	for want, flags := range map[string][]string{
		"--sip-tls and --sip-wss need a certificate":               {"--sip-tls", "127.0.0.1:5061"},
		"--sip-tls and --sip-wss need a certificate: ":             {"--sip-wss", "127.0.0.1:5061"},
		"--sip-tls-cert and --sip-tls-key go together":             {"--sip-tls", "127.0.0.1:5061", "--sip-tls-cert", bad},
		"--sip-tls-cert and --sip-tls-key: ":                       {"--sip-tls", "127.0.0.1:5061", "--sip-tls-cert", bad, "--sip-tls-key", bad},
		"the edge listens neither on TLS nor on WSS":               append(udp, "--sip-tls-cert", bad, "--sip-tls-key", bad),
		"--sip-udp 0.0.0.0:5060 listens on all addresses":          {"--sip-udp", "0.0.0.0:5060"},
		"--sip-tcp :5060 listens on all addresses":                 {"--sip-tcp", ":5060"},
		`--sip-advertise is "0.0.0.0"`:                             append(udp, "--sip-advertise", "0.0.0.0"),
		`--sip-udp is "5060"`:                                      {"--sip-udp", "5060"},
		"--sip-tcp 127.0.0.1:5060 and --sip-ws 127.0.0.1:5060 are": {"--sip-tcp", "127.0.0.1:5060", "--sip-ws", "127.0.0.1:5060"},
		`--trust has "10.0.0.1"; it must be a network such as 10.`: append(udp, "--trust", "10.0.0.1"),
		"--trust-cert needs --sip-tls":                             append(udp, "--trust-cert", "proxy"),
		`--domain has "a b"`:                                       append(udp, "--domain", "a b"),
		"--sip-auth":                                               append(udp, "--sip-auth", "maybe"),
	} {
		for _, command := range []string{"edge", "check-config"} {
			fails(t, want, append([]string{command}, flags...)...)
		}
	}
	fails(t, "the edge listens nowhere: give --sip-udp", "edge")
	fails(t, `--name is "any"`, append([]string{"edge", "--name", "any"}, udp...)...)
	fails(t, `--edge-name is "any"`, append([]string{"check-config", "--edge-name", "any"}, udp...)...)
	fails(t, "--trust is given, and there is no SIP edge", "check-config", "--trust", "10.0.0.0/8")
	good := exec.Command(binary, append([]string{"check-config", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0"},
		"--sip-udp", "127.0.0.1:0", "--sip-tcp", "0.0.0.0:0", "--sip-advertise", "sip.example.com", "--trust", "10.0.0.0/8,::1/128", "--domain", "Acme.example.com")...)
	if out, err := good.CombinedOutput(); err != nil {
		t.Errorf("good flags: %v\n%s", err, out)
	}
}

// A node with an edge inside says where it listens, and a phone watches through it.
func TestServeWithSIP(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0", "--sip-auth", "none")
	p.await()
	p.sample()
	e := &loneEdge{}
	for _, line := range strings.Split(p.stdout.String(), "\n") {
		if a, ok := strings.CutPrefix(line, "sip udp listening on "); ok {
			e.udp = a
		}
	}
	w, err := dialEdge(t, e).Subscribe(soon(t), phone.Subscribe{Watcher: "1002@" + realm, Target: "1001@" + realm, Package: "dialog", Expires: 600})
	if err != nil {
		t.Fatal(err)
	}
	p.send("presence.dialog.acme%2Eexample%2Ecom.k1", "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": "early"})
	shows(t, w, "early", 0)
	if list := p.lamplight("presence", "list", "--realm", realm, "--nats", p.nats); !strings.Contains(list, "box") {
		t.Errorf("the edge has another name than the node:\n%s", list)
	}
}

// presence watch --sip subscribes like a phone, with the password of a device, and prints each NOTIFY.
func TestWatchOverSIP(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0")
	p.await()
	p.sample()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("change-me-1002\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"udp", "tcp"} {
		_, server, _ := strings.Cut(p.stdout.String(), "sip "+transport+" listening on ")
		server, _, _ = strings.Cut(server, "\n")
		args := []string{"--sip", "sip:1001@" + realm, "--server", server, "--transport", transport, "--as", "1002"}
		if out, err := exec.Command(binary, append([]string{"presence", "watch"}, args...)...).CombinedOutput(); err == nil || !strings.Contains(string(out), "--password-file") {
			t.Errorf("without a password: %v, %s", err, out)
		}
		lines := watchOutput(t, "subscribed to dialog of 1001@"+realm, append(args, "--password-file", secret, "-o", "json")...)
		next := func() (n struct {
			CSeq uint32 `json:"cseq"`
			Lamp string `json:"lamp"`
		}) {
			t.Helper()
			select {
			case line := <-lines:
				if err := json.Unmarshal([]byte(line), &n); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("no NOTIFY was printed")
			}
			return n
		}
		if n := next(); n.Lamp != "terminated" {
			t.Fatalf("%+v", n)
		}
		if shown := p.lamplight("presence", "show", "1001", "--realm", realm, "--nats", p.nats); !strings.Contains(shown, "FLOW") || !strings.Contains(shown, transport+" ") || !strings.Contains(shown, "lamplight/") {
			t.Errorf("presence show does not say how the phone is reached:\n%s", shown)
		}
		last := "terminated"
		for _, state := range []string{"early", "confirmed"} {
			p.send("presence.dialog.acme%2Eexample%2Ecom.w"+transport, "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "Call-ID": "w" + transport, "State": state})
			n := next()
			for n.Lamp == last { // a state may be told again
				n = next()
			}
			if n.Lamp != state {
				t.Fatalf("%+v, want %s", n, state)
			}
			last = state
		}
		p.send("presence.dialog.acme%2Eexample%2Ecom.w"+transport, "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "Call-ID": "w" + transport, "State": "terminated"})
	}
}
