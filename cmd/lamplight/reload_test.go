package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// presented returns the name in the certificate that a server presents; "": it can't be asked.
func presented(address string) string {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// certified writes the certificate and key of a name to cert.pem and cert.key in a directory.
func certified(t *testing.T, ca *authority, name, dir string) {
	t.Helper()
	cert, key := ca.issue(name)
	for from, to := range map[string]string{cert: "cert.pem", key: "cert.key"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// On SIGHUP a node takes over what it can, names what it can't, and changes nothing when something is wrong.
func TestReload(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certified(t, ca, "one", dir)
	conf := filepath.Join(dir, "lamplight.yaml")
	write := func(more string) {
		t.Helper()
		text := strings.ReplaceAll("http-tls-cert: DIR/cert.pem\nhttp-tls-key: DIR/cert.key\nsip-tls: 127.0.0.1:0\nsip-tls-cert: DIR/cert.pem\nsip-tls-key: DIR/cert.key\n", "DIR", dir)
		if err := os.WriteFile(conf, []byte(text+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	p := serve(t, t.TempDir(), "--config", conf)
	p.sample()
	api := strings.TrimPrefix(p.http, "http://")
	_, rest, _ := strings.Cut(p.stdout.String(), "sip tls listening on ")
	phones, _, _ := strings.Cut(rest, "\n")
	if a, b := presented(api), presented(phones); a != "one" || b != "one" {
		t.Fatalf("at first %q and %q", a, b)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	get := func(token string) int {
		t.Helper()
		q, _ := http.NewRequest(http.MethodGet, "https://"+api+"/v2/accounts/"+account+"/presence", nil)
		q.Header.Set("X-Auth-Token", token)
		a, err := web.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		return a.StatusCode
	}
	hup := func(said string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the log says "+said, 20*time.Second, func() bool { return regexp.MustCompile(said).MatchString(p.stderr.String()) })
	}

	certified(t, ca, "two", dir)
	if err := os.Remove(filepath.Join(p.data, "token.pem")); err != nil { // another one is made
		t.Fatal(err)
	}
	write("rate-limit: 1\nlog-level: debug\nmax-dialogs: 7\n")
	hup(`WARN msg=".*restart it to take them" flags=max-dialogs\n`)
	if want := `taken="http-tls-cert, http-tls-key, log-level, rate-limit, sip-tls-cert, sip-tls-key, token-key"`; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("no %s in %s", want, p.stderr.String())
	}
	if a, b := presented(api), presented(phones); a != "two" || b != "two" {
		t.Errorf("after the reload %q and %q", a, b)
	}
	if out := p.lamplight("log-level", "--nats", p.nats); !strings.Contains(out, "debug") || strings.Contains(out, "info") {
		t.Errorf("the levels: %s", out)
	}
	fresh := p.lamplight("token", "--account", account, "--data", p.data)
	limited := func() (all bool) {
		codes := map[int]bool{}
		for range 20 {
			codes[get(fresh)] = true
		}
		return codes[200] && codes[429] && len(codes) == 2
	}
	eventually(t, "the rate limit counts, and the new token is good", 20*time.Second, limited)
	eventually(t, "the token of the earlier key is good", 20*time.Second, func() bool { return get(p.token) == http.StatusOK })

	// What is wrong in the file, or in a file that it names, changes nothing.
	certified(t, ca, "three", dir)
	write("rate-limit: 0\nlog-level: loud\n")
	hup(`ERROR msg="the configuration is not taken over, and nothing has changed; .*loud`)
	write("rate-limit: 0\nlog-level: debug\nmax-dialogs: 7\n")
	if err := os.WriteFile(filepath.Join(dir, "cert.key"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	hup(`ERROR msg="the configuration is not taken over, and nothing has changed; .*-tls-cert and`)
	if a, b := presented(api), presented(phones); a != "two" || b != "two" {
		t.Errorf("a broken file changed the certificates: %q and %q", a, b)
	}
	eventually(t, "the rate limit still counts", 20*time.Second, limited)

	// TLS can't be switched off while the node runs.
	if err := os.WriteFile(conf, []byte("rate-limit: 0\nlog-level: debug\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hup(`restart it to take them" flags="http-tls-cert, http-tls-key, sip-tls, sip-tls-cert, sip-tls-key"`)
	if a := presented(api); a != "two" {
		t.Errorf("TLS is off: %q", a)
	}
	for range 5 {
		if code := get(fresh); code != http.StatusOK {
			t.Errorf("the rate limit is still there: %d", code)
		}
	}
	edgeReloads(t, p, ca)
}

// edgeReloads has an edge of its own take another certificate over.
func edgeReloads(t *testing.T, p *process, ca *authority) {
	t.Helper()
	dir := t.TempDir()
	certified(t, ca, "edge one", dir)
	c := exec.Command(binary, "edge", "--name", "edge1", "--http", "127.0.0.1:0", "--sip-tls", "127.0.0.1:0", "--sip-tls-cert", filepath.Join(dir, "cert.pem"),
		"--sip-tls-key", filepath.Join(dir, "cert.key"), "--nats", p.nats)
	var out, said transcript
	c.Stdout, c.Stderr = &out, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	eventually(t, "the edge is ready", time.Minute, func() bool { return strings.Contains(out.String(), "is ready") })
	_, rest, _ := strings.Cut(out.String(), "sip tls listening on ")
	address, _, _ := strings.Cut(rest, "\n")
	if got := presented(address); got != "edge one" {
		t.Fatalf("at first %q: %s", got, said.String())
	}
	certified(t, ca, "edge two", dir)
	_ = c.Process.Signal(syscall.SIGHUP)
	eventually(t, "the edge takes the certificate over", 20*time.Second, func() bool { return presented(address) == "edge two" })
	eventually(t, "the edge says what it took", 20*time.Second, func() bool { return strings.Contains(said.String(), `taken="sip-tls-cert, sip-tls-key"`) })
}

// On SIGHUP the bridges that run alone and shadow go on. They take the log level over, name what needs a restart, and refuse what is wrong.
func TestHangUpDoesNotEndBridges(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	gone, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers there: a bridge tries again and again
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	for name, c := range map[string]struct{ args, settings []string }{
		"freeswitch": {[]string{"bridge", "freeswitch", "--esl", gone.Addr().String(), "--esl-password-file", passwordFile(t, "ClueCon")}, []string{"caller-ringing: trying", "caller-ringing: loud"}},
		"amqp":       {[]string{"bridge", "amqp", "--amqp", "amqp://guest:guest@" + gone.Addr().String() + "/"}, []string{"queue: other", "resync: 1s"}},
		"shadow":     {[]string{"shadow", "--realm", realm, "--amqp", "amqp://guest:guest@" + gone.Addr().String() + "/"}, []string{"every: 20s", "every: never"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := filepath.Join(t.TempDir(), "c.yaml")
			write := func(text string) {
				if err := os.WriteFile(conf, []byte(text+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("log-level: info")
			var said transcript
			run := exec.Command(binary, append(c.args, "--config", conf, "--http", "127.0.0.1:0", "--nats", p.nats)...)
			run.Stdout, run.Stderr = &said, &said
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
			eventually(t, "it runs", time.Minute, func() bool { return strings.Contains(said.String(), "http listening on ") })
			hup := func(words string) {
				t.Helper()
				if err := run.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if t.Failed() {
						t.Log(said.String())
					}
				}()
				eventually(t, "the log says "+words, 20*time.Second, func() bool { return strings.Contains(said.String(), words) })
			}
			hup(`msg="the configuration is read again" taken="nothing has changed that can be taken"`)
			write("log-level: debug\n" + c.settings[0])
			hup(`msg="the configuration is read again" taken=log-level`)
			name, _, _ := strings.Cut(c.settings[0], ":")
			hup("restart it to take them\" flags=" + name)
			write("log-level: debug\n" + c.settings[1])
			hup("the configuration is not taken over, and nothing has changed")
		})
	}
}
