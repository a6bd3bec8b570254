package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// check-config refuses what serve refuses, with the same words, and writes nothing.
func TestCheckConfigRefusesWhatServeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := file("bad", "no key, no certificate, no list of keys")
	users := file("users.conf", "accounts { A: {users: [{user: a, password: a}]}, B: {users: [{user: b, password: b}]} }")
	file("clustered/mode", "clustered\n")
	file("garbage/mode", "garbage\n")
	file("emptied/mode", "")
	file("emptied/nats/jetstream/x", "")
	file("oddkey/token.pem", "no key")
	for want, flags := range map[string][]string{
		"is not a directory":                                   {"--data", bad},
		"belongs to a clustered server":                        {"--data", filepath.Join(dir, "clustered")},
		"the file mode is damaged":                             {"--data", filepath.Join(dir, "garbage")},
		"the file mode is damaged: it holds \"nothing\"":       {"--data", filepath.Join(dir, "emptied")},
		"http is no port":                                      {"--gossip", "127.0.0.1:http"},
		"http is no port ":                                     {"--sip-udp", "127.0.0.1:http"},
		"oddkey/token.pem: the token key is not in PEM format": {"--data", filepath.Join(dir, "oddkey")},
		"--nats-config: ":                                      {"--nats-config", file("broken.conf", "users: [")},
		"--nats-config has users in several accounts":          {"--nats-config", users},
		"no authentication is configured":                      {"--nats-listen", "0.0.0.0:0"},
		"a certificate or key for NATS can't be used":          {"--nats", "nats://127.0.0.1:1", "--nats-tls-ca", bad},
		"a certificate or key for NATS can't be used ":         {"--nats", "nats://127.0.0.1:1", "--nats-tls-cert", bad, "--nats-tls-key", bad},
		"holds no NATS credentials":                            {"--nats", "nats://127.0.0.1:1", "--creds", bad},
		"--http-tls-cert and --http-tls-key: ":                 {"--http-tls-cert", bad, "--http-tls-key", bad},
		"--gossip-key: the file has":                           {"--gossip-key", bad},
		"--jwks: ":                                             {"--jwks", bad},
		"--log-level must be one of \"debug\",\"info\",\"warn\",\"error\" but got \"loud\"": {"--log-level", "loud"},
		"can't answer to": {"--nats", "nats://127.0.0.1:1", "--gossip", "127.0.0.1:7946", "--join", "10.1.2.3:7946"},
	} {
		want = strings.TrimSuffix(want, " ")
		all := append([]string{"--data", filepath.Join(dir, "new"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--log-format", "json"}, flags...)
		out, talk, code := command(append([]string{"check-config"}, all...)...)
		if code != 2 || out != "" || !strings.Contains(talk, want) {
			t.Errorf("%v: exit %d, %s%s, want %q", flags, code, out, talk, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
			t.Fatalf("%v: check-config made the data directory", flags)
		}
		served, err := exec.Command(binary, append([]string{"serve"}, all...)...).CombinedOutput()
		word, _, _ := strings.Cut(talk, "\n")
		if err == nil || !strings.Contains(string(served), word) {
			t.Errorf("%v: check-config says %s, and serve %s", flags, talk, served)
		}
		_ = os.RemoveAll(filepath.Join(dir, "new"))
	}
}

// check-config shows every setting with its source, and no password.
func TestCheckConfigShowsSources(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("serve: {rate-limit: 7, join: ['127.0.0.1:1', '127.0.0.1:2']}\nnats: nats://user:s3cret@127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAMPLIGHT_MAX_DIALOGS", "9")
	out, talk, code := command("check-config", "--config", path, "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "d"), "--node", "a")
	if code != 0 || talk != "" {
		t.Fatalf("exit %d: %s", code, talk)
	}
	for _, want := range []string{"http: 127.0.0.1:0  # flag\n", "rate-limit: 7  # file\n", "join: [127.0.0.1:1, 127.0.0.1:2]  # file\n", "nats: nats://***@127.0.0.1:1  # file\n",
		"max-dialogs: 9  # environment, LAMPLIGHT_MAX_DIALOGS\n", "storage: file  # default\n", "node: a  # flag\n", "# jwks is not set\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "s3cret") {
		t.Error("the password is shown")
	}
	again := filepath.Join(t.TempDir(), "again.yaml")
	if err := os.WriteFile(again, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Unsetenv("LAMPLIGHT_MAX_DIALOGS"); err != nil { // until the test ends
		t.Fatal(err)
	}
	same, talk, code := command("check-config", "--config", again)
	if code != 0 || !strings.Contains(same, "max-dialogs: 9  # file\n") {
		t.Errorf("what was printed is no configuration file: exit %d: %s", code, talk)
	}
}

// The configuration of a running node can be checked: check-config names the node, and does not advise to stop it. What others hold is a warning.
func TestCheckConfigOfRunningNode(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	monitored := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(monitored, []byte("http: "+strings.TrimPrefix(p.http, "http://")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	base := []string{"check-config", "serve", "--nats-config", monitored, "--http", strings.TrimPrefix(p.http, "http://"), "--nats-listen", strings.TrimPrefix(p.nats, "nats://")}
	runs := fmt.Sprintf("note: the node \"box\" runs already, as process %d, with the ", p.cmd.Process.Pid)
	for _, c := range []struct {
		flags     []string
		has, lack []string
	}{
		{[]string{"--data", p.data, "--gossip", "127.0.0.1:0"}, []string{runs + "data directory " + p.data, "; otherwise this configuration is right"}, []string{"warning", "stop"}},
		{[]string{"--data", filepath.Join(t.TempDir(), "new"), "--gossip", udp.LocalAddr().String()}, []string{runs + "port of --http 127.0.0.1:", "warning: --gossip 127.0.0.1:", "in use by another process"},
			[]string{"otherwise", "--nats-listen", "--nats-config"}},
	} {
		var stderr strings.Builder
		check := exec.Command(binary, append(base, c.flags...)...)
		check.Stderr = &stderr
		out, err := check.Output()
		talk := stderr.String()
		if err != nil || !strings.HasSuffix(string(out), "# the configuration is good\n") {
			t.Errorf("%v: %s%s", err, out, talk)
		}
		for _, part := range c.has {
			if !strings.Contains(talk, part) {
				t.Errorf("no %q in %s", part, talk)
			}
		}
		for _, part := range c.lack {
			if strings.Contains(talk, part) {
				t.Errorf("%q in %s", part, talk)
			}
		}
	}
}

// check-config and doctor take a command line of serve as it is, and say so of another word.
func TestWordServe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"check-config", "doctor"} {
		if _, talk, code := command(name, "server"); code != 2 || !strings.Contains(talk, `it is "server"; it must be the word serve, or nothing: this command takes the flags of serve`) {
			t.Errorf("%s server: exit %d: %s", name, code, talk)
		}
	}
	if out, talk, _ := command("doctor", "serve", "--data", filepath.Join(t.TempDir(), "d"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--timeout", "100ms"); !strings.Contains(out, "serve takes these flags") {
		t.Errorf("doctor serve: %s%s", out, talk)
	}
}
