package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// serve and check-config refuse the same settings, with the same words and the exit code 2. The words name the flag, the value and what
// would be right.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, key := filepath.Join(dir, "plain"), filepath.Join(dir, "gossip.key")
	for path, text := range map[string]string{plain: "text", key: strings.Repeat("0a", 32)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(text string) string {
		f, err := os.CreateTemp(dir, "file")
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	for _, c := range []struct {
		flags []string
		words []string
	}{
		{[]string{"--http", "127.0.0.1:99999"}, []string{`--http is "127.0.0.1:99999"`, "up to 65535"}},
		{[]string{"--http", "127.0.0.1:"}, []string{"--http is", "the port is missing"}},
		{[]string{"--http", "127.0.0.1:-1"}, []string{"--http is", "-1 is no port"}},
		{[]string{"--http", "127.0.0.300:0"}, []string{"--http is", "127.0.0.300 is no IP address"}},
		{[]string{"--http", "a b:0"}, []string{`--http is "a b:0"`, "the character ' '"}},
		{[]string{"--http", "192.0.2.1:0"}, []string{"--http 192.0.2.1:0", "give another address"}},
		{[]string{"--nats-listen", "127.0.0.1:70000"}, []string{`--nats-listen is "127.0.0.1:70000"`, "HOST:PORT"}},
		{[]string{"--gossip", "127.0.0.1:70000"}, []string{`--gossip is "127.0.0.1:70000"`, "HOST:PORT"}},
		{[]string{"--nats-cluster", "127.0.0.1:70000", "--join", "127.0.0.1:1"}, []string{`--nats-cluster is "127.0.0.1:70000"`, "HOST:PORT"}},
		{[]string{"--http", "127.0.0.1:7001", "--gossip", "127.0.0.1:7001"}, []string{"--http 127.0.0.1:7001 and --gossip 127.0.0.1:7001 are the same port", "of its own"}},
		{[]string{"--http", "127.0.0.1:7001", "--nats-listen", "localhost:7001"}, []string{"--http 127.0.0.1:7001 and --nats-listen localhost:7001 are the same port"}},
		{[]string{"--http", ":7001", "--gossip", "127.0.0.1:7001"}, []string{"--http :7001 and --gossip 127.0.0.1:7001 are the same port"}},
		{[]string{"--gossip", "127.0.0.1:7001", "--nats-cluster", "127.0.0.1:7001", "--join", "127.0.0.1:1"}, []string{"--gossip 127.0.0.1:7001 and --nats-cluster 127.0.0.1:7001"}},
		{[]string{"--prefix", "_INBOX"}, []string{`--prefix is "_INBOX"`, "must not begin with _INBOX or _R_"}},
		{[]string{"--prefix", "_INBOX_east.x."}, []string{`--prefix is "_INBOX_east.x."`, "must not begin with _INBOX or _R_"}},
		{[]string{"--prefix", "_R_.x"}, []string{`--prefix is "_R_.x"`, "must not begin with _INBOX or _R_"}},
		{[]string{"--prefix", "$JS"}, []string{`--prefix is "$JS"`, "letters a to z"}},
		{[]string{"--prefix", "é"}, []string{`--prefix is "é"`, "letters a to z"}},
		{[]string{"--prefix", "a/b"}, []string{`--prefix is "a/b"`, "letters a to z"}},
		{[]string{"--prefix", "a..b"}, []string{`--prefix is "a..b"`, "letters a to z"}},
		{[]string{"--prefix", "."}, []string{`--prefix is "."`, "letters a to z"}},
		{[]string{"--prefix", strings.Repeat("x", 65)}, []string{"--prefix is", "at most 64 bytes"}},
		{[]string{"--replicas", "3"}, []string{"--replicas is 3", "give --nats-cluster"}},
		{[]string{"--replicas", "0"}, []string{`--replicas: it is "0"`, "at least 1"}},
		{[]string{"--replicas", "6"}, []string{"--replicas is 6", "1 to 5"}},
		{[]string{"--token-key", "/nonexistent/x"}, []string{"--token-key /nonexistent/x", "/nonexistent", "give another file"}},
		{[]string{"--token-key", plain + "/x"}, []string{"--token-key " + plain + "/x", "not a directory"}},
		{[]string{"--token-key", "/proc/x"}, []string{"--token-key /proc/x", "/proc can't be written"}},
		{[]string{"--token-key", plain}, []string{"--token-key " + plain, "must be an Ed25519 private key"}},
		{[]string{"--token-key", dir}, []string{"--token-key " + dir, "is a directory"}},
		{[]string{"--data", "/proc/x"}, []string{"data directory /proc/x", "give another one with --data"}},
		{[]string{"--data", plain + "/x"}, []string{"data directory " + plain + "/x", "give another one with --data"}},
		{[]string{"--data", "/proc/x", "--nats", "nats://127.0.0.1:1"}, []string{"data directory /proc/x"}},
		{[]string{"--data", ""}, []string{"--data is empty"}},
		{[]string{"--nats", "http://u:s3cret@x"}, []string{`--nats is "http://***@x"`, "nats, tls, ws or wss"}},
		{[]string{"--nats", ""}, []string{`--nats is ""`, "embedded, or URLs"}},
		{[]string{"--nats", "nats://a,,nats://b"}, []string{"--nats is", "no URL with a host"}},
		{[]string{"--nats", "nats://a:99999"}, []string{"--nats is", "99999 is no port"}},
		{[]string{"--nats", "nats://a,ws://b"}, []string{"--nats is", "don't go together"}},
		{[]string{"--nats", "embedded,nats://b"}, []string{"--nats is", "stands alone"}},
		{[]string{"--advertise", "a b"}, []string{`--advertise is "a b"`, "host name or an address"}},
		{[]string{"--advertise", "10.0.0.1:7946"}, []string{`--advertise is "10.0.0.1:7946"`, "without a port"}},
		{[]string{"--advertise", "0.0.0.0"}, []string{`--advertise is "0.0.0.0"`, "one machine"}},
		{[]string{"--advertise", "127.0.0.1", "--join", "10.1.2.3:7946", "--nats", "nats://127.0.0.1:1"}, []string{"--advertise 127.0.0.1 is the loopback address"}},
		{[]string{"--join", "127.0.0.1:99999"}, []string{`--join has "127.0.0.1:99999"`, "HOST:PORT"}},
		{[]string{"--join", "127.0.0.1:0"}, []string{`--join has "127.0.0.1:0"`, "port 0"}},
		{[]string{"--join", ":7946"}, []string{`--join has ":7946"`, "the host is missing"}},
		{[]string{"--join", "127.0.0.1:1,127.0.0.1:1", "--nats-cluster", "127.0.0.1:7002"}, []string{`--join has "127.0.0.1:1"`, "twice"}},
		{[]string{"--node", "a b"}, []string{`--node is "a b"`, "without spaces"}},
		{[]string{"--rate-limit", "-1"}, []string{"--rate-limit is -1", "at least 0"}},
		{[]string{"--rate-limit", "99999999999"}, []string{"--rate-limit is 99999999999"}},
		{[]string{"--max-watchers", "-1"}, []string{`--max-watchers: it is "-1"`, "at least 1"}},
		{[]string{"--max-dialogs", "0"}, []string{`--max-dialogs: it is "0"`, "at least 1"}},
		{[]string{"--max-mailbox", "9999999999"}, []string{"--max-mailbox is 9999999999", "1 to "}},
		{[]string{"--edge-memory", "17592186044416"}, []string{"--edge-memory is 17592186044416", "1 to 1048576"}},
		{[]string{"--max-connections", "0"}, []string{`--max-connections: it is "0"`, "at least 1"}},
		{[]string{"--max-connections", "99999999"}, []string{"--max-connections is 99999999", "file descriptors"}},
		{[]string{"--max-connections-per-address", "-5"}, []string{"--max-connections-per-address", "at least 1"}},
		{[]string{"--notify-rate", "-1"}, []string{"--notify-rate is -1", "0.001 to 1000"}},
		{[]string{"--notify-rate", "NaN"}, []string{"--notify-rate is NaN", "0.001 to 1000"}},
		{[]string{"--notify-rate", "1e-11"}, []string{"--notify-rate is 1e-11", "0.001 to 1000"}},
		{[]string{"--call-lease", "0s"}, []string{"--call-lease is 0s", "a year"}},
		{[]string{"--call-lease", "-1h"}, []string{"--call-lease is -1h", "a year"}},
		{[]string{"--call-lease", "100000h"}, []string{"--call-lease is 100000h", "a year"}},
		{[]string{"--request-timeout", "1ns"}, []string{"--request-timeout is 1ns", "10ms to 12s"}},
		{[]string{"--drain-grace", "-1s"}, []string{"--drain-grace is -1s", "0 to 1m"}},
		{[]string{"--sync", "-1s"}, []string{`--sync is "-1s"`, "or always"}},
		{[]string{"--sync", "1000h"}, []string{`--sync is "1000h"`, "or always"}},
		{[]string{"--jwks-audience", "a"}, []string{`--jwks-audience is "a"`, "give --jwks"}},
		{[]string{"--nats-config", file(`cluster { port: 6222 }`)}, []string{"--nats-config has a cluster block", "--nats-cluster"}},
		{[]string{"--nats-config", file(`gateway { name: a, port: 7222 }`)}, []string{"--nats-config has a gateway block"}},
		{[]string{"--nats-config", file(`max_payload: 64KB`)}, []string{"--nats-config has max_payload", "at least 524288"}},
		{[]string{"--nats-config", file(`ping_interval: -1`)}, []string{"--nats-config", "ping_interval"}},
		{[]string{"--nats-config", file(`write_deadline: "1ns"`)}, []string{"--nats-config", "write_deadline"}},
		{[]string{"--nats-config", file(`authorization { timeout: 0.000001, user: a, password: b }`)}, []string{"--nats-config", "authorization timeout"}},
		{[]string{"--nats-config", file(`max_sub_tokens: 2`)}, []string{"--nats-config", "max_sub_tokens 2"}},
		{[]string{"--nats-config", file(`pid_file: /nonexist/dir/pid`)}, []string{"--nats-config", "pid_file"}},
		{[]string{"--nats-config", file(`max_pending: 2MB`)}, []string{"--nats-config", "max_pending 2097152"}},
		{[]string{"--nats-config", file(`jetstream { limits { max_duplicate_window: "1s" } }`)}, []string{"--nats-config", "max_duplicate_window"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {max_mem: 1G, max_store: 1K} } }`)}, []string{"--nats-config", "max_store 1000 in the account A"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {max_file: 1M} } }`)}, []string{"--nats-config", "max_file"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {max_disk: 0} } }`)}, []string{"--nats-config", "max_disk 0"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {max_streams: 2} } }`)}, []string{"--nats-config", "max_streams 2"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {disk_max_stream_bytes: 1M} } }`)}, []string{"--nats-config", "disk_max_stream_bytes"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: {max_bytes_required: true} } }`)}, []string{"--nats-config", "max_bytes_required"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: enabled, limits: {max_payload: 100000} } }`)}, []string{"--nats-config", "max_payload 100000 in the account A"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: enabled, limits: {max_subs: 3} } }`)}, []string{"--nats-config", "max_subs 3"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: enabled, limits: {max_conn: 1} } }`)}, []string{"--nats-config", "max_conn 1"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}], jetstream: disabled } }`)}, []string{"--nats-config", "no JetStream"}},
		{[]string{"--nats-config", file(`max_control_line: 256`)}, []string{"--nats-config has max_control_line 256", "at least 4096"}},
		{[]string{"--nats-config", file(`max_subscriptions: 3`)}, []string{"--nats-config has max_subscriptions 3", "at least 1024"}},
		{[]string{"--nats-config", file(`max_connections: -1`)}, []string{"--nats-config has max_connections -1"}},
		{[]string{"--nats-config", file(`jetstream { max_file_store: 1 }`)}, []string{"--nats-config has max_file_store 1"}},
		{[]string{"--nats-config", file(`pid_file: "/proc/x"`)}, []string{"--nats-config has pid_file /proc/x", "/proc"}},
		{[]string{"--nats-config", file(`accounts { A { users: [{user: a, password: b}] } }`)}, []string{"the account A", "jetstream: enabled"}},
		{[]string{"--nats-config", file(`accounts { A { jetstream { max_streams: 1 }, users: [{user: a, password: b}] } }`)}, []string{"the account A", "max_streams 1", "at least 5"}},
		{[]string{"--jwks", file(``)}, []string{"--jwks: "}},
		{[]string{"--jwks", file(`{"keys":[]}`)}, []string{"--jwks: the set has no key", "it is empty"}},
		{[]string{"--jwks", file(`{"keys":[{"kty":"oct","kid":"a","alg":"HS256","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`)}, []string{`--jwks: the set has no key`, `"a" is symmetric`}},
		{[]string{"--jwks", file(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"p","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)}, []string{`--jwks: the key "p" is private`}},
		{[]string{"--jwks", file(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"g","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"RSA","kid":"w","e":"AQAB","n":"` +
			base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 128)) + `"}]}`)}, []string{`--jwks: the key "w" is RSA of 1024 bits`}},
		{[]string{"--jwks", filepath.Join(dir, "none")}, []string{"--jwks: stat " + dir, "no such file"}},
		{[]string{"--log-level", "loud"}, []string{"--log-level must be one of", `"loud"`}},
		{[]string{"--http-tls-cert", plain, "--http-tls-key", key}, []string{"--http-tls-cert"}},
	} {
		all := append([]string{"--data", filepath.Join(dir, "new"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}, c.flags...)
		out, talk, code := command(append([]string{"check-config"}, all...)...)
		said, _, _ := strings.Cut(talk, "\n")
		for _, word := range c.words {
			if code != 2 || out != "" || !strings.Contains(said, word) {
				t.Errorf("check-config %q: exit %d, %s%s; want %q", c.flags, code, out, talk, word)
			}
		}
		if strings.Contains(talk, "s3cret") {
			t.Errorf("check-config %q prints a password: %s", c.flags, talk)
		}
		s := exec.Command(binary, append([]string{"serve"}, all...)...)
		served, _ := s.CombinedOutput()
		if code := s.ProcessState.ExitCode(); code != 2 || !strings.HasPrefix(string(served), said+"\n") {
			t.Errorf("serve %q: exit %d, %s; check-config says %s", c.flags, code, served, said)
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
			t.Fatalf("%q: the data directory was made", c.flags)
		}
	}
}

// A name that can't be looked up now may be known later: check-config warns of it, and serve says so at its start.
func TestUnknownHost(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{{"--http", "no-such-host.invalid:0"}, {"--advertise", "no-such-host.invalid"}} {
		all := append([]string{"--data", filepath.Join(t.TempDir(), "new"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}, flags...)
		out, err := exec.Command(binary, append([]string{"check-config"}, all...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "warning: "+flags[0]+" "+flags[1]+": lookup no-such-host.invalid") {
			t.Errorf("check-config %q: %v, %s", flags, err, out)
		}
		s := exec.Command(binary, append([]string{"serve"}, all...)...)
		out, _ = s.CombinedOutput()
		if s.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "no-such-host.invalid") {
			t.Errorf("serve %q: exit %d, %s", flags, s.ProcessState.ExitCode(), out)
		}
	}
}
