package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/tools/need"
)

// natsClient stands for NATS's own command line program in README's lines, which takes minutes to build: it does nats sub
// SUBJECT, nats req SUBJECT DATA and nats micro ls. The test's own binary runs as natsClient when LAMPLIGHT_TEST_NATS is set.
func natsClient(args []string) error {
	conn, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer conn.Close()
	switch {
	case len(args) == 2 && args[0] == "sub":
		s, err := conn.SubscribeSync(args[1])
		if err != nil {
			return err
		}
		if err := conn.Flush(); err != nil {
			return err
		}
		fmt.Println("Subscribing on", args[1])
		for {
			m, err := s.NextMsg(time.Minute)
			if err != nil {
				return err
			}
			fmt.Printf("[%s] %s\n", m.Subject, m.Data)
		}
	case len(args) == 3 && args[0] == "req":
		m, err := conn.Request(args[1], []byte(args[2]), 10*time.Second)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", m.Data)
		return nil
	case len(args) == 2 && args[0] == "micro" && args[1] == "ls":
		m, err := conn.Request("$SRV.INFO", nil, 10*time.Second)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", m.Data)
		return nil
	}
	return fmt.Errorf("this stands for: nats sub SUBJECT, nats req SUBJECT DATA, nats micro ls; not %q", args)
}

var fence = regexp.MustCompile("(?ms)^```\n(.*?)^```$")

// readme returns the lines to paste of each block in the section with a title, or with "" in all sections that have no test of their own.
func readme(t *testing.T, title string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ") {
		name, _, _ := strings.Cut(section, "\n")
		if title != "" && name != title || title == "" && (name == "Three nodes" || name == "A phone") {
			continue
		}
		for _, block := range fence.FindAllStringSubmatch(section, -1) {
			blocks = append(blocks, strings.Split(strings.TrimSpace(block[1]), "\n"))
		}
	}
	return blocks
}

// checkout makes a directory with the files that README's lines need in the root of a built checkout.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{binary: "bin/lamplight"}
	for _, dir := range []string{"deploy", "docs", "tools"} {
		links["../../"+dir] = dir
	}
	for from, to := range links {
		from, err := filepath.Abs(from)
		if err == nil {
			err = os.Symlink(from, filepath.Join(root, to))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// terminal is a shell into which the test pastes lines, one after the other.
type terminal struct {
	t     *testing.T
	in    io.Writer
	out   transcript
	lines int
}

// open starts a shell. The shell, and what it started, ends with the test.
func open(t *testing.T, dir string, env ...string) *terminal {
	t.Helper()
	w := &terminal{t: t}
	shell := exec.Command("sh")
	shell.Dir, shell.Env = dir, append(os.Environ(), env...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Stdout, shell.Stderr = &w.out, &w.out
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	w.in = in
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); _ = shell.Wait() })
	return w
}

// await waits until the shell has written something.
func (w *terminal) await(line, want string, within time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(within); !strings.Contains(w.out.String(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%q: no %q in\n%s", line, want, w.out.String())
		}
	}
}

// paste runs a line, which must succeed, and returns what the shell wrote meanwhile.
func (w *terminal) paste(line string) string {
	w.t.Helper()
	out, ok := w.try(line)
	if !ok {
		w.t.Fatalf("%q fails:\n%s", line, out)
	}
	return out
}

// try runs a line, and returns what the shell wrote meanwhile and whether the line succeeded.
func (w *terminal) try(line string) (out string, ok bool) {
	w.t.Helper()
	w.lines++
	before := len(w.out.String())
	fmt.Fprintf(w.in, "%s\necho; echo \"=== line %d: $?\"\n", line, w.lines)
	w.await(line, fmt.Sprintf("=== line %d: ", w.lines), 60*time.Second)
	out = w.out.String()[before:]
	return out, strings.Contains(out, fmt.Sprintf("=== line %d: 0\n", w.lines))
}

// README's lines work as they stand, in a shell in the root of a checkout. The test only replaces the ports, and NATS's program.
func TestReadme(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data)
	p.sample()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := open(t, checkout(t), "LAMPLIGHT_DATA="+data, "LAMPLIGHT_NATS="+p.nats, "NATS_URL="+p.nats)
	for _, block := range readme(t, "") {
		for _, line := range block {
			if strings.HasPrefix(line, "make ") {
				continue // CI's own commands; what make run does, serve and sample do here
			}
			line = strings.ReplaceAll(line, "http://127.0.0.1:8000", p.http)
			if strings.HasPrefix(line, `N="go run `) {
				line = "export LAMPLIGHT_TEST_NATS=1; N=" + self
			}
			w.paste(line)
			switch { // those in the background listen from here on
			case strings.Contains(line, " sub "):
				w.await(line, "Subscribing on lamplight.notify.edge1", 20*time.Second)
			case strings.Contains(line, " watch "):
				w.await(line, "watching "+realm, 20*time.Second)
			}
		}
	}
	if w.lines < 12 {
		t.Errorf("README has only %d lines to paste", w.lines)
	}
	for _, want := range []string{`"data":{"subscriptions":{}}`, `"data":"command sent"`, `"explain": {`, `"Event-Name":"subscription_ack"`, `"Event-Name":"dialog_update_ack"`,
		"1001 is early", `[lamplight.notify.edge1] {"`, `"State":"early"`, "*3101  terminated -> confirmed", "EXTENSION  EVENT", `"name":"lamplight"`, "the configuration is good",
		"right: each of the 20000 watchers was last told what its lamp shows"} {
		w.await("lines", want, 20*time.Second)
	}
	if out := w.out.String(); strings.Contains(out, `"status":"error"`) || strings.Contains(out, `"Status":"error"`) {
		t.Errorf("a request failed:\n%s", out)
	}
}

// README's lines for a phone work, with baresip and SIPp. The test only replaces the ports.
func TestReadmePhone(t *testing.T) {
	t.Parallel()
	for program, in := range map[string]string{"baresip": "baresip-core", "sipp": "sip-tester"} {
		_, err := exec.LookPath(program)
		need.Met(t, err == nil, "%s (Debian: %s)", program, in)
	}
	p := start(t, t.TempDir(), "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0")
	p.await()
	p.sample()
	_, edge, _ := strings.Cut(p.stdout.String(), "sip udp listening on ")
	edge, _, _ = strings.Cut(edge, "\n")
	root := checkout(t)
	phone := t.TempDir() // with the ports of this test
	for _, name := range []string{"config", "accounts", "contacts"} {
		text, err := os.ReadFile("../../docs/examples/baresip/" + name)
		if err == nil {
			text = []byte(strings.NewReplacer("127.0.0.1:5060", edge, "127.0.0.1:5090", ports(t, 1)[0]).Replace(string(text)))
			err = os.WriteFile(filepath.Join(phone, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	moved := strings.NewReplacer("docs/examples/baresip", phone, "127.0.0.1:5060", edge, "--sip sip:", "--server "+edge+" --sip sip:", "-nostdin", "-nostdin -i 127.0.0.1")
	blocks := readme(t, "A phone")
	if len(blocks) != 4 {
		t.Fatalf("README's phone has %d blocks of lines", len(blocks))
	}
	buddies := open(t, root)
	fmt.Fprintln(buddies.in, "exec "+moved.Replace(blocks[1][0]))
	buddies.await(blocks[1][0], "baresip is ready", 20*time.Second)
	w := open(t, root, "LAMPLIGHT_NATS="+p.nats)
	eventually(t, "baresip watches", 20*time.Second, func() bool {
		return strings.Contains(w.paste("bin/lamplight presence list --realm acme.example.com"), "presence")
	})
	for i, line := range blocks[2] {
		w.paste(moved.Replace(line))
		buddies.await(line, "Busy", 20*time.Second)
		if i == 1 {
			eventually(t, "baresip shows that the call is over", 20*time.Second, func() bool { return strings.Count(buddies.out.String(), "changed status") >= 2 })
		}
	}
	for _, line := range blocks[3] {
		w.paste(moved.Replace(line))
		if strings.Contains(line, " watch ") {
			w.await(line, "subscribed to dialog", 20*time.Second)
		}
	}
	for _, want := range []string{"  early\n", "  confirmed\n", `<identity display="Grace">`} {
		w.await("lines", want, 20*time.Second)
	}
}

// README's lines for three nodes on one machine work: a node that is killed loses no lamp, and takes its share back when it is
// started again. The test only replaces the ports.
func TestReadmeCluster(t *testing.T) {
	t.Parallel()
	addresses := ports(t, 12)
	port := func(i int) string { return addresses[i][strings.LastIndexByte(addresses[i], ':')+1:] }
	list := func(from int) string { return strings.Join([]string{port(from), port(from + 1), port(from + 2)}, " ") }
	root := checkout(t)
	first := open(t, root, "CLUSTER_HTTP="+list(0), "CLUSTER_NATS="+list(3), "CLUSTER_GOSSIP="+list(6), "CLUSTER_ROUTES="+list(9))
	fmt.Fprintln(first.in, "exec tools/run-cluster.sh "+account)
	first.await("make cluster", "Ctrl-C", 90*time.Second)
	t.Cleanup(func() {
		for _, node := range []string{"a", "b", "c"} {
			endPid(root, node)
		}
	})
	blocks := readme(t, "Three nodes")
	if len(blocks) != 3 {
		t.Fatalf("README's cluster has %d blocks of lines", len(blocks))
	}
	w := open(t, root)
	moved := strings.NewReplacer("lamplight cluster", "lamplight cluster --nats nats://"+addresses[3], ":8001/", ":"+port(0)+"/", ":8002/", ":"+port(1)+"/")
	killed := false
	for _, line := range append(blocks[0], blocks[1]...) {
		out := w.paste(moved.Replace(line))
		switch {
		case strings.HasPrefix(line, "kill -9"):
			killed = true
		case strings.Contains(line, `"action":"set"`) && !strings.Contains(out, `"command sent"`):
			t.Errorf("%s: %s", line, out)
		case strings.Contains(line, "explain"):
			for tries := 0; killed && strings.Contains(out, `"503"`) && tries < 3; tries++ { // an election that took longer than the request may
				out = w.paste(moved.Replace(line))
			}
			if !strings.Contains(out, `"state": "confirmed"`) || strings.Contains(out, `"node": "c"`) == killed {
				t.Errorf("%s, node c is killed: %v:\n%s", line, killed, out)
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", w.out.String())
		}
	})
	eventually(t, "node c has its share again", 60*time.Second, func() bool {
		o, code := overview(t, "nats://"+addresses[3])
		return code == 0 && nodeOf(o, "c").Open > 200 && len(o.Disagreements) == 0
	})
}

// endPid kills a node by the pid that the script of make cluster has written.
func endPid(root, node string) {
	text, _ := os.ReadFile(filepath.Join(root, "lamplight-cluster", node+".pid"))
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// README's command lines for three machines work. The test replaces the names by addresses of this machine, and the ports.
func TestReadmeMachines(t *testing.T) {
	t.Parallel()
	lines := readme(t, "Three nodes")[2]
	addresses := ports(t, 8)
	port := func(i int) string { return addresses[i][strings.LastIndexByte(addresses[i], ':')+1:] }
	moved := strings.NewReplacer(" a:", " 127.0.0.2:", ",a:", ",127.0.0.2:", " b:", " 127.0.0.3:", ",b:", ",127.0.0.3:", " c:", " 127.0.0.4:", ",c:", ",127.0.0.4:",
		":7946", ":"+port(0), ":6222", ":"+port(1))
	var key string
	var machines []*terminal
	for i, line := range lines {
		if i == 0 {
			dir := checkout(t)
			open(t, dir).paste(line)
			key = filepath.Join(dir, "gossip.key")
			continue
		}
		dir := checkout(t)
		if err := os.Link(key, filepath.Join(dir, "gossip.key")); err != nil {
			t.Fatal(err)
		}
		w := open(t, dir, "LAMPLIGHT_HTTP="+addresses[1+i], "LAMPLIGHT_NATS_LISTEN="+addresses[4+i])
		fmt.Fprintln(w.in, "exec "+moved.Replace(line))
		machines = append(machines, w)
	}
	for i, w := range machines {
		w.await(lines[1+i], "is ready", 90*time.Second)
	}
	eventually(t, "each of the three has shards", 30*time.Second, func() bool { // the first to start hands some over to the others
		o, code := overview(t, "nats://"+addresses[5])
		return code == 0 && nodeOf(o, "a").Open > 0 && nodeOf(o, "b").Open > 0 && nodeOf(o, "c").Open > 0
	})
}
