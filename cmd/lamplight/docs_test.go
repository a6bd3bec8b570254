package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"lamplight/tools/need"
)

// anyFence is a block of a page: its language, "" for lines to paste, and its text.
var anyFence = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```$")

// pageLines returns the lines to paste of a page of the documentation, without those that are done elsewhere.
func pageLines(t *testing.T, page string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range anyFence.FindAllStringSubmatch(string(text), -1) {
		if block[1] != "" {
			continue
		}
		all := strings.Split(strings.TrimSpace(block[2]), "\n")
		for i, line := range all {
			if i < len(all)-1 {
				lastOfBlock(t, page, line)
			}
			if line = strings.TrimSpace(line); !elsewhere(line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// programs needs programs of others.
func programs(t *testing.T, packages map[string]string) {
	t.Helper()
	for program, in := range packages {
		_, err := exec.LookPath(program)
		need.Met(t, err == nil, "%s (Debian: %s)", program, in)
	}
}

// until pastes a line again and again until it prints something.
func (w *terminal) until(line, want string) {
	w.t.Helper()
	eventually(w.t, line+" prints "+want, 40*time.Second, func() bool {
		out, ok := w.try(line)
		return ok && strings.Contains(out, want)
	})
}

// Every line of the pages for newcomers works as it stands, in a shell in the root of a checkout beside one node. The test only replaces
// the ports, and NATS's program.
func TestDocs(t *testing.T) {
	t.Parallel()
	programs(t, map[string]string{"sipp": "sip-tester", "/usr/sbin/kamailio": "kamailio", "openssl": "openssl", "md5sum": "coreutils"})
	data := t.TempDir()
	p := start(t, data, "--sip-udp", "127.0.0.1:0")
	p.await()
	p.sample()
	_, edge, _ := strings.Cut(p.stdout.String(), "sip udp listening on ")
	edge, _, _ = strings.Cut(edge, "\n")
	free := ports(t, 2)
	moved := strings.NewReplacer("http://127.0.0.1:8000", p.http, "nats://127.0.0.1:4222", p.nats, "127.0.0.1:5060", edge, "127.0.0.1:5070", free[0], "127.0.0.1:5072", free[1],
		"-p 5072", "-p "+free[1][strings.LastIndexByte(free[1], ':')+1:])
	for _, page := range []struct {
		name  string
		lines int // at least
		wants []string
	}{
		{"quick-start.md", 15, []string{`"source": "manual"`, `"manual_state"`, "2001 is early", `"Event-Name":"dialog_update_ack"`, "quick-start", "NOTIFY 1 ", "  early\n", "1002@acme.example.com"}},
		{"recipes.md", 30, []string{`"auth_token":"ey`, `"lamps":{`, "event: whole", `{"notified":`, `"name":"Reception"`, `[lamplight.state.acme%2Eexample%2Ecom.1001] {`, `[lamplight.notify.recipes] {`,
			`"Event-Name":"show_resp"`, `"Event-Name":"set_ack"`, `"Event-Name":"source_up_ack"`, `"Event-Name":"switch_gone_ack"`, `"Extensions":`, `"state":"serving"`, `"name":"lamplight"`,
			`[lamplight.audit.extension.acme%2Eexample%2Ecom.%2A] {`}},
		{"security.md", 3, []string{"the configuration is good", "hide-parties: true"}},
		{"sizing.md", 1, []string{"right: each of the 5000 watchers was last told what its lamp shows"}},
	} {
		t.Run(page.name, func(t *testing.T) {
			w := open(t, checkout(t), "LAMPLIGHT_DATA="+data, "NATS_URL="+p.nats, "LAMPLIGHT_SERVER="+edge, "TMPDIR="+t.TempDir())
			lines := pageLines(t, page.name)
			if len(lines) < page.lines {
				t.Errorf("the page has %d lines to paste", len(lines))
			}
			for _, line := range lines {
				line = moved.Replace(line)
				if strings.HasPrefix(line, "bin/lamplight") && !strings.Contains(line, "check-config") && !strings.Contains(line, "bench") {
					line = "LAMPLIGHT_NATS=" + p.nats + " " + line
				}
				switch line, waits := strings.CutPrefix(line, "sleep 1; "); {
				case waits: // for the state that the call has by then
					w.until("LAMPLIGHT_NATS="+p.nats+" "+line, "1001 is ")
					w.until("LAMPLIGHT_NATS="+p.nats+" "+line, "confirmed")
				case strings.HasSuffix(line, "lamplight sources"):
					w.until(line, "kamailio1")
				default:
					w.paste(line)
				}
				w.listens(line)
			}
			for _, want := range page.wants {
				w.await(page.name, want, 20*time.Second)
			}
			if out := w.out.String(); strings.Contains(out, `"status":"error"`) || strings.Contains(out, `"Status":"error"`) {
				t.Errorf("a request failed:\n%s", out)
			}
		})
	}
}

// CONTRIBUTING.md names each Debian package that .ci/run installs, and each folder in which it runs npm.
func TestNeeds(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	said, needed := string(text), 0
	for _, m := range regexp.MustCompile(`need\+=\(([^)]*)\)|--prefix (\S+)`).FindAllStringSubmatch(string(script), -1) {
		for _, name := range strings.Fields(m[1] + m[2]) {
			needed++
			if !strings.Contains(said, "`"+name+"`") {
				t.Errorf("CONTRIBUTING.md does not name %s, which .ci/run installs", name)
			}
		}
	}
	if needed < 20 {
		t.Errorf(".ci/run installs only %d packages and folders", needed)
	}
}

// Every line of docs/operations.md works as it stands beside the nodes of make cluster. The test only replaces the ports.
func TestOperations(t *testing.T) {
	t.Parallel()
	programs(t, map[string]string{"promtool": "prometheus"})
	defaults := []string{"8001", "8002", "8003", "4222", "4223", "4224", "7946", "7947", "7948", "6222", "6223", "6224", "8004", "4225", "6225", "7949", "8009", "4229", "7959"}
	var pairs []string
	port := map[string]string{}
	for i, address := range ports(t, len(defaults)) {
		port[defaults[i]] = address[strings.LastIndexByte(address, ':')+1:]
		pairs = append(pairs, "127.0.0.1:"+defaults[i], address)
	}
	moved := strings.NewReplacer(pairs...)
	list := func(i int) string {
		return port[defaults[i]] + " " + port[defaults[i+1]] + " " + port[defaults[i+2]]
	}
	root := checkout(t)
	cluster := open(t, root, "CLUSTER_HTTP="+list(0), "CLUSTER_NATS="+list(3), "CLUSTER_GOSSIP="+list(6), "CLUSTER_ROUTES="+list(9))
	fmt.Fprintln(cluster.in, "exec tools/run-cluster.sh "+account)
	t.Cleanup(func() {
		for _, node := range []string{"a", "b", "c"} {
			endPid(root, node)
		}
	})
	cluster.await("make cluster", "Ctrl-C", 90*time.Second)
	w := open(t, root)
	ready := 0
	for _, line := range pageLines(t, "operations.md") {
		line = moved.Replace(line)
		if strings.HasPrefix(line, "bin/lamplight") && !strings.HasPrefix(line, "bin/lamplight serve") && !strings.HasPrefix(line, "bin/lamplight check-config") {
			line = "LAMPLIGHT_NATS=nats://127.0.0.1:" + port["4222"] + " " + line
		}
		switch {
		case strings.HasSuffix(line, "lamplight cluster"):
			w.until(line, "NODE") // with success: each shard has an owner again
		case strings.Contains(line, "lamplight serve"):
			w.paste(line)
			if !strings.Contains(line, "--await-restore") && !strings.Contains(line, "c.log") {
				ready++
				eventually(t, line, 60*time.Second, func() bool { return strings.Count(w.out.String(), "is ready. Try:") >= ready })
			}
		default:
			w.paste(line)
		}
	}
	if w.lines < 20 {
		t.Errorf("the page has only %d lines to paste", w.lines)
	}
	for _, want := range []string{"the configuration is good", "\nready\n", "d     serving", account, "-rw-------", "lamplight_disk_free_bytes", "a     journal    debug", "a     journal    info",
		"lamplight_shards_open", "rules found"} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("no %q in\n%s", want, w.out.String())
		}
	}
}
