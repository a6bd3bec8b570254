package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/subject"
)

// command runs a command line in this process.
func command(args ...string) (stdout, stderr string, code int) {
	var out, talk bytes.Buffer
	code = run(args, &out, &talk)
	return out.String(), talk.String(), code
}

// A flag wins over its variable, which wins over the file. A file with an unknown name or a wrong value is refused.
func TestConfigurationOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	file := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rate := func(args ...string) string {
		t.Helper()
		out, talk, code := command(append([]string{"check-config", "--config", path}, args...)...)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, talk)
		}
		_, rest, _ := strings.Cut(out, "notify-rate: ")
		value, _, _ := strings.Cut(rest, "  # ")
		return value
	}
	file("")
	if got := rate(); got != "5" {
		t.Errorf("the default is %s", got)
	}
	for _, text := range []string{"notify-rate: 3\npresence: {realm: x}\nnats: nats://127.0.0.1:1\njoin: ['127.0.0.1:1', '127.0.0.1:2']", "serve: {notify-rate: 3}", "notify-rate: 9\nserve: {notify-rate: 3}"} {
		file(text)
		if got := rate(); got != "3" {
			t.Errorf("%q gives %s", text, got)
		}
	}
	for _, text := range []string{"notfy-rate: 3", "serve: {notfy-rate: 3}", "sevre: {notify-rate: 3}", "notify-rate: often", "a: b: c", "[1]", "serve: {notify-rate: -1}", "notify-rate: [1, 2]"} {
		file(text)
		if out, talk, code := command("check-config", "--config", path); code != 2 || out != "" || talk == "" {
			t.Errorf("%q: exit %d, %s%s", text, code, out, talk)
		}
	}
	file("notify-rate: 3")
	t.Setenv("LAMPLIGHT_NOTIFY_RATE", "7")
	if got := rate(); got != "7" {
		t.Errorf("the variable loses to the file: %s", got)
	}
	if got := rate("--notify-rate", "8"); got != "8" {
		t.Errorf("the flag loses: %s", got)
	}
}

// Commands exit with 0, 1 or 2. Results go to stdout, messages to stderr.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, []byte(`{"account":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	nowhere := []string{"--nats", "nats://127.0.0.1:1"}
	for _, c := range []struct {
		code int
		args []string
	}{
		{0, []string{"version"}}, {0, []string{"--help"}}, {0, []string{"presence", "set", "--help"}},
		{2, nil}, {2, []string{"dance"}}, {2, []string{"version", "--dance"}}, {2, []string{"import"}}, {2, []string{"token"}}, {2, []string{"token", "--account", "x"}},
		{2, []string{"token", "--account", account, "--ttl", "-1h"}}, {2, []string{"presence", "list"}}, {2, []string{"presence", "list", "--realm", "x", "--account", account}},
		{2, []string{"presence", "set", "1", "lit", "--realm", "x"}}, {2, []string{"presence", "list", "--realm", "x", "-o", "xml"}}, {2, []string{"serve", "--gossip", "0.0.0.0:0"}},
		{2, []string{"serve", "--http", "8000"}}, {2, []string{"serve", "--request-timeout", "13s"}}, {2, []string{"serve", "--storage", "tape"}}, {2, []string{"serve", "--prefix", "a.*"}},
		{2, []string{"cluster", "status", "--prefix", "_INBOX"}}, {2, []string{"edge", "--prefix", "_INBOX_x"}}, {2, []string{"presence", "list", "--realm", "x", "--prefix", "_R_"}},
		{2, []string{"restore", "/dev/null", "--prefix", "é"}},
		{2, []string{"serve", "--config", filepath.Join(dir, "none")}},
		{2, []string{"presence", "list", "--realm", "x", "--state", "early"}}, {2, []string{"presence", "list", "--realm", "x", "--lit", "--state", "terminated"}},
		{2, []string{"presence", "list", "--realm", "x", "--lit", "--source", "phone"}}, {2, []string{"presence", "list", "--realm", "x", "--lit", "--older-than", "-4h"}},
		{2, []string{"presence", "list", "--realm", "x", "--lit", "--event", "dialog"}}, {2, []string{"presence", "list", "--realm", "x", "--lit", "--older-than", "4"}},
		{2, []string{"presence", "reset", "--realm", "x"}}, {2, []string{"presence", "reset", "1001", "--all", "--realm", "x"}},
		{2, []string{"presence", "reset", "*", "--realm", "x"}}, {2, []string{"presence", "reset", "--all", "--realm", "x"}},
		{1, []string{"token", "--account", account, "--data", dir}}, {2, []string{"import", filepath.Join(dir, "none")}}, {2, []string{"restore", filepath.Join(dir, "none")}},
		{2, []string{"token", "--account", account, "--token-key", filepath.Join(dir, "none")}}, {2, []string{"ready", "--http-tls-cert", filepath.Join(dir, "none")}},
		{2, []string{"bench", "compare", filepath.Join(dir, "none"), empty}}, {2, []string{"bench", "compare", empty + ".json", filepath.Join(dir, "none")}}, {1, append([]string{"import", empty}, nowhere...)},
		{1, append([]string{"presence", "list", "--realm", "x"}, nowhere...)},
		{0, []string{"bench", "--help"}}, {2, []string{"bench", "dance"}}, {2, []string{"bench", "blf", "--search", "told<1s"}}, {2, []string{"bench", "blf", "--rate", "-1"}},
		{2, []string{"bench", "failover", "--target", "http://x"}}, {2, []string{"bench", "blf", "--target", "http://x", "--nodes", "1"}}, {2, []string{"bench", "blf", "--nodes", "2"}},
		{2, []string{"bench", "rest", "--notify-rate", "many"}}, {1, []string{"bench", "compare", empty, empty}}, {1, []string{"bench", "compare", empty, empty}},
		{1, append([]string{"bench", "blf", "--target", "http://127.0.0.1:1"}, nowhere...)},
	} {
		out, talk, code := command(c.args...)
		if code != c.code || code != 0 && (out != "" || !strings.Contains(talk, "lamplight: ")) || code == 0 && (out == "" || talk != "") {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, code, c.code, out, talk)
		}
	}
}

// What a user typed wrong is refused before a node or NATS is asked, with the exit code 2 and words that name it. At this address
// nobody would answer, which is another code.
func TestWrongValues(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"presence set '' early --realm x":                 "<extension>: it is empty; it must be the user part",
		"presence set * early --realm x":                  "<extension>: it is \"*\", a bare *",
		"presence set sip: early --realm x":               "<extension>: it is \"sip:\"",
		"presence set 1001 lit --realm x":                 "<state>: it is \"lit\"; it must be early, confirmed or terminated",
		"presence show '' --realm x":                      "<extension>: it is empty",
		"presence reset '' --realm x":                     "<extension>]: it is empty",
		"presence watch '' --realm x":                     "<extension>]: it is empty",
		"presence watch * --realm x":                      "<extension>]: it is \"*\"",
		"presence list --event x --realm x":               "--event: it is \"x\"; it must be dialog, presence or message-summary",
		"presence list --account zz":                      "--account: it is \"zz\"; it must be 32 hexadecimal",
		"presence list --account ''":                      "--account: it is empty",
		"presence list --realm ''":                        "--realm: ",
		"presence list --realm a:5060":                    "--realm: \"a:5060\" must be a domain name",
		"presence list --realm x --timeout 0s":            "--timeout: it is \"0s\"; it must be a duration above 0",
		"presence list --realm x --timeout -1s":           "--timeout: it is \"-1s\"",
		"presence list --realm x --lit --older-than 0s":   "--older-than: it is \"0s\"",
		"presence list --realm x --lit --state lit":       "--state: it is \"lit\"; it must be early or confirmed",
		"presence list --realm x --lit --source phone":    "--source: it is \"phone\"; it must be call, register, manual or mailbox",
		"presence list --realm x --nats http://x":         "--nats is \"http://x\"",
		"presence list --realm x --nats-tls-ca /dev/null": "a certificate or key for NATS",
		"account create --realm ''":                       "--realm: ",
		"account create --realm a/b":                      "--realm: \"a/b\"",
		"account create --realm x --parent ''":            "--parent: it is empty",
		"account create --realm x --parent zz":            "--parent: it is \"zz\"",
		"account list --realm a@b":                        "--realm: \"a@b\"",
		"account list --parent zz":                        "--parent: it is \"zz\"",
		"account list --timeout 0s":                       "--timeout: it is \"0s\"",
		"cluster --timeout -1s":                           "--timeout: it is \"-1s\"",
		"cluster --interval -1s":                          "--interval: it is \"-1s\"",
		"token --account ''":                              "--account: it is empty",
		"token --account " + account + " --ttl 0s":        "--ttl: it is \"0s\"",
		"ready --http 127.0.0.1:99999":                    "--http is \"127.0.0.1:99999\"",
		"ready --timeout 0s":                              "--timeout: it is \"0s\"",
		"backup ''":                                       "the name of the file is empty",
		"restore values.go --replicas 0":                  "--replicas: it is \"0\"; it must be a whole number, at least 1",
		"restore values.go --streams 65":                  "--streams is 65",
		"restore values.go.none":                          "no such file",
		"import values.go.none":                           "no such file",
		"presence watch --realm x --as 5":                 "--as is for a watch over SIP",
		"presence watch --realm x --transport tcp":        "--transport is for a watch over SIP",
		"presence watch --realm x --server 127.0.0.1:1":   "--server is for a watch over SIP",
		"presence watch --realm x --expires 60":           "--expires is for a watch over SIP",
		"bench blf --storage tape":                        "--storage: it is \"tape\"; it must be file or memory",
	} {
		var args []string
		for _, a := range strings.Fields(line) {
			args = append(args, strings.Trim(a, "'"))
		}
		if args[0] != "token" && args[0] != "ready" && !strings.Contains(line, "--nats") {
			args = append(args, "--nats", "nats://127.0.0.1:1")
		}
		out, talk, code := command(args...)
		if code != 2 || out != "" || !strings.Contains(talk, want) || !strings.Contains(talk, "\nTry: lamplight "+args[0]) {
			t.Errorf("%s: exit %d, %s%s; want %q", line, code, out, talk, want)
		}
	}
}

// The commands work on a running node: import from standard input, token, and the presence commands as tables and JSON, also for
// an extension with thousands of watchers.
func TestControlCommands(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	if strings.Count(p.token, ".") != 2 || strings.ContainsAny(p.token, " \n") {
		t.Errorf("token: %q", p.token)
	}
	load := exec.Command(binary, "import", "-", "--nats", p.nats)
	load.Stdin = strings.NewReader(`{"accounts":[{"realm":"ACME.example.com","users":[{"username":"ada"}],"devices":[{"sip":{"username":"1001"}}]}]}`)
	if out, err := load.Output(); err != nil || string(out) != "0 created, 0 changed, 3 as they were\n" {
		t.Errorf("import: %q %v", out, err)
	}
	const watchers = 4000
	acks := p.conn.NewRespInbox()
	s, err := p.conn.SubscribeSync(acks)
	if err != nil {
		t.Fatal(err)
	}
	for i := range watchers {
		doc := subscription(fmt.Sprintf("call-%d@%s", i, strings.Repeat("x", 200)))
		doc["Contact"] = fmt.Sprintf("<sip:%d@10.0.0.9>", i)
		if err := p.conn.PublishRequest(subject.Subscription(realm, "1001"), acks, document("subscription", doc)); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			for range 500 {
				if m, err := s.NextMsg(20 * time.Second); err != nil || !strings.Contains(string(m.Data), `"ok"`) {
					t.Fatalf("%v %s", err, m.Data)
				}
			}
		}
	}
	for _, what := range [][]string{{"list"}, {"show", "1001"}, {"list", "--event", "dialog"}} {
		out := p.lamplight(append(append([]string{"presence"}, what...), "--realm", realm, "-o", "json", "--nats", p.nats)...)
		var shown struct {
			Subscriptions map[string]map[string]map[string]any `json:"subscriptions"`
		}
		into := any(&shown)
		if what[0] == "list" {
			into = &shown.Subscriptions
		}
		if err := json.Unmarshal([]byte(out), into); err != nil || len(shown.Subscriptions["1001"]["dialog"]) != watchers {
			t.Errorf("%v: %d watchers, %v", what, len(shown.Subscriptions["1001"]["dialog"]), err)
		}
		if table := p.lamplight(append(append([]string{"presence"}, what...), "--realm", realm, "--nats", p.nats)...); strings.Count(table, "\n") < watchers {
			t.Errorf("%v: a table of %d lines", what, strings.Count(table, "\n"))
		}
	}
	if a := p.request(subject.Show(realm, "1001"), "show_req", map[string]any{"Realm": realm, "Username": "1001"}); a["Event-Name"] != "show_partial_resp" {
		t.Errorf("the first answer: %v", a["Event-Name"])
	}
	for args, want := range map[string]string{"set 1 early": "done", "reset 1": "done"} {
		if out := p.lamplight(append(append([]string{"presence"}, strings.Fields(args)...), "--realm", realm, "--nats", p.nats)...); out != want {
			t.Errorf("%s: %q", args, out)
		}
	}
	elsewhere := exec.Command(binary, "presence", "set", "1@other.example.com", "early", "--realm", realm, "--nats", p.nats)
	if out, _ := elsewhere.CombinedOutput(); elsewhere.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "they must be the same") || !strings.Contains(string(out), "Try: lamplight presence set --help") {
		t.Errorf("an extension of another realm: exit %d, %s", elsewhere.ProcessState.ExitCode(), out)
	}
	bad := exec.Command(binary, "presence", "set", "1", "early", "--realm", "none.example.com", "--nats", p.nats)
	if out, _ := bad.CombinedOutput(); bad.ProcessState.ExitCode() != 1 || string(out) != "lamplight: bad_identifier: no account has the realm none.example.com\n" {
		t.Errorf("an unknown realm: exit %d, %s", bad.ProcessState.ExitCode(), out)
	}
}

// Wrong flags of a node or cluster are refused before anything starts, and the error says what to do.
func TestClusterMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, short := filepath.Join(dir, "gossip.key"), filepath.Join(dir, "short.key")
	for path, text := range map[string]string{key: strings.Repeat("0a", 32), short: "too short\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		want  string
		flags []string
	}{
		{"the servers are yours", []string{"--nats", "nats://127.0.0.1:1", "--nats-cluster", "127.0.0.1:6222", "--join", "127.0.0.1:7946"}},
		{"--join 127.0.0.1:7947 without --nats-cluster: this node and that one would each keep a journal of their own, with two truths. Give --nats-cluster HOST:PORT",
			[]string{"--gossip", "127.0.0.1:7946", "--join", "127.0.0.1:7946,127.0.0.1:7947"}},
		{"needs --join", []string{"--nats-cluster", "127.0.0.1:6222"}},
		{"--join has \"10.1.2.3\"", []string{"--join", "10.1.2.3"}},
		{"--join has \"10.1.2.3:\"", []string{"--join", "10.1.2.3:"}},
		{"the file has 10", []string{"--gossip-key", short}},
		{"give --gossip-key", []string{"--gossip", "10.1.2.3:7946"}},
		{"--gossip 127.0.0.1:7946 is the loopback address here, which 10.1.2.3:7946 can't answer to", []string{"--nats", "nats://127.0.0.1:1", "--gossip", "127.0.0.1:7946", "--join", "127.0.0.1:7946,10.1.2.3:7946"}},
		{"--gossip localhost:7946 is the loopback address", []string{"--gossip", "localhost:7946", "--join", "10.1.2.3:7946", "--gossip-key", key, "--nats", "nats://127.0.0.1:1"}},
		{"--nats-cluster 127.0.0.1:6222 is the loopback address", []string{"--gossip", ":7946", "--nats-cluster", "127.0.0.1:6222", "--join", "10.1.2.3:7946", "--gossip-key", key}},
		{"or a NATS server of your own?", []string{"--nats", "nats://127.0.0.1:1", "--gossip", "127.0.0.1:0"}},
	} {
		fails(t, c.want, append([]string{"serve", "--data", filepath.Join(dir, "data"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}, c.flags...)...)
	}
}
