package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// natsClient stands for NATS's own command line program in the lines of the pages, which takes minutes to build: it does nats sub
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
			m, err := s.NextMsg(10 * time.Minute)
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

// readme returns the lines to paste of each block in the section with a title.
func readme(t *testing.T, title string) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range strings.Split(string(text), "\n## ") {
		name, _, _ := strings.Cut(section, "\n")
		if name != title {
			continue
		}
		for _, block := range fence.FindAllStringSubmatch(section, -1) {
			lines := strings.Split(strings.TrimSpace(block[1]), "\n")
			for _, line := range lines[:len(lines)-1] {
				lastOfBlock(t, "README.md", line)
			}
			blocks = append(blocks, lines)
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("README has no lines below %q", title)
	}
	return blocks
}

// lastOfBlock fails for a line that has others behind it in its block and listens in the background: who pastes the block would run these
// before it listens.
func lastOfBlock(t *testing.T, page, line string) {
	t.Helper()
	if strings.Contains(line, " &") && (strings.Contains(line, " sub ") || strings.Contains(line, " watch ")) {
		t.Errorf("%s: lines follow %q in its block, which may not listen yet when they run", page, line)
	}
}

// elsewhere says that a line is not to be pasted by a test: make run is done by the test, Debian's packages are there, and nats is natsClient.
func elsewhere(line string) bool {
	return strings.HasPrefix(line, "make ") || strings.HasPrefix(line, "sudo ") || strings.HasPrefix(line, `GOBIN="$PWD/bin" go install `)
}

// listens waits until a line that runs in the background listens.
func (w *terminal) listens(line string) {
	w.t.Helper()
	switch {
	case strings.Contains(line, " sub "):
		_, subject, _ := strings.Cut(strings.ReplaceAll(line, "'", ""), " sub ")
		subject, _, _ = strings.Cut(subject, " ")
		w.await(line, "Subscribing on "+subject, 20*time.Second)
	case strings.Contains(line, " watch --sip"), strings.Contains(line, " watch --server"):
		w.await(line, "subscribed to dialog", 20*time.Second)
	case strings.Contains(line, " watch "):
		w.await(line, "watching "+realm, 20*time.Second)
	}
}

// checkout makes a directory with the files that the lines of the pages need in the root of a built checkout.
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
	self, err := os.Executable()
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "bin", "nats"), fmt.Appendf(nil, "#!/bin/sh\nLAMPLIGHT_TEST_NATS=1 exec '%s' \"$@\"\n", self), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// terminal is a shell into which the test pastes lines, one after the other.
type terminal struct {
	t     *testing.T
	in    io.Writer
	out   transcript
	lines int
	pid   int
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
	w.in, w.pid = in, shell.Process.Pid
	ended := make(chan struct{})
	go func() { _ = shell.Wait(); close(ended) }()
	t.Cleanup(func() { _ = syscall.Kill(-w.pid, syscall.SIGKILL); <-ended })
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

// README's lines for one node work as they stand and in their order, in a shell in the root of a checkout beside make run, with baresip and
// SIPp. The test only replaces the ports, and NATS's program.
func TestReadme(t *testing.T) {
	t.Parallel()
	programs(t, map[string]string{"baresip": "baresip-core", "sipp": "sip-tester"})
	root, at := checkout(t), ports(t, 5)
	run := func() {
		_, said := runSample(t, root, append(os.Environ(), "LAMPLIGHT_HTTP="+at[0], "LAMPLIGHT_NATS_LISTEN="+at[1], "LAMPLIGHT_GOSSIP="+at[2], "LAMPLIGHT_SIP_UDP="+at[3], "LAMPLIGHT_SIP_TCP="+at[3]))
		eventually(t, "make run is ready", 60*time.Second, func() bool { return strings.Contains(said.String(), "Ctrl-C ends the node") })
	}
	run()
	w := open(t, root, "LAMPLIGHT_NATS=nats://"+at[1], "NATS_URL=nats://"+at[1], "LAMPLIGHT_SERVER="+at[3])
	phone := t.TempDir() // baresip's files, with the ports of this test
	for _, name := range []string{"config", "accounts", "contacts"} {
		text, err := os.ReadFile("../../docs/examples/baresip/" + name)
		if err == nil {
			text = []byte(strings.NewReplacer("127.0.0.1:5060", at[3], "127.0.0.1:5090", at[4]).Replace(string(text)))
			err = os.WriteFile(filepath.Join(phone, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	buddies := open(t, root)
	moved := strings.NewReplacer("http://127.0.0.1:8000", "http://"+at[0], "docs/examples/baresip", phone, "127.0.0.1:5060", at[3])
	for _, block := range append(readme(t, "Five minutes"), readme(t, "A phone")...) {
		for _, line := range block {
			line = moved.Replace(line)
			switch {
			case elsewhere(line):
			case strings.HasPrefix(line, "baresip "):
				fmt.Fprintln(buddies.in, "exec "+line)
				buddies.await(line, "baresip is ready", 20*time.Second)
				w.until("bin/lamplight presence list --event presence --realm acme.example.com", "1002@acme.example.com")
			default:
				w.paste(line)
			}
			switch {
			case strings.HasPrefix(line, "kill -9 "):
				run()
			case strings.Contains(line, " 1001 confirmed "):
				buddies.await(line, "from \x1b[32mOnline\x1b[;m to \x1b[31mBusy\x1b[;m", 20*time.Second)
			case strings.Contains(line, " 1001 terminated "):
				buddies.await(line, "from \x1b[31mBusy\x1b[;m to \x1b[32mOnline\x1b[;m", 20*time.Second)
			}
			w.listens(line)
		}
	}
	w.paste("wait") // the lines have ended all that they started in the background
	written, err := os.ReadDir(phone)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile("../../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range written {
		if _, err := os.Stat("../../docs/examples/baresip/" + f.Name()); err != nil && !strings.Contains(string(ignored), "/docs/examples/baresip/"+f.Name()+"\n") {
			t.Errorf("baresip writes %s, which .gitignore does not name", f.Name())
		}
	}
	if w.lines < 25 {
		t.Errorf("README has only %d lines to paste", w.lines)
	}
	for _, want := range []string{`"data":{"subscriptions":{}}`, `"data":"command sent"`, `"explain": {`, `"Event-Name":"subscription_ack"`, `"Event-Name":"dialog_update_ack"`,
		"1001 is early", "outranks confirmed", `[lamplight.notify.edge1] {"`, `"State":"early"`, "*3101  terminated -> confirmed", "EXTENSION  STATE", "*3101      confirmed", `"name":"lamplight"`,
		"the configuration is good", "  early\n", "  confirmed\n", `<identity display="Grace">`} {
		w.await("lines", want, 20*time.Second)
	}
	if out := w.out.String(); strings.Contains(out, `"status":"error"`) || strings.Contains(out, `"Status":"error"`) {
		t.Errorf("a request failed:\n%s", out)
	}
}

// SIPp's scenarios do what README says of them many times, and each time goes well.
func TestReadmeManyPhones(t *testing.T) {
	t.Parallel()
	programs(t, map[string]string{"sipp": "sip-tester"})
	p := start(t, t.TempDir(), "--sip-udp", "127.0.0.1:0")
	p.await()
	p.sample()
	_, edge, _ := strings.Cut(p.stdout.String(), "sip udp listening on ")
	edge, _, _ = strings.Cut(edge, "\n")
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	many := regexp.MustCompile("`(-r [^`]* -m [^`]*)`").FindAllSubmatch(text, -1) // that of watch.xml, and that of publish.xml
	if len(many) != 2 {
		t.Fatalf("README says of %d scenarios how to have them many times", len(many))
	}
	w, runs := open(t, checkout(t)), 0
	for _, block := range readme(t, "A phone") {
		for _, line := range block {
			if !strings.HasPrefix(line, "sipp ") {
				continue
			}
			runs++
			times := many[0][1]
			if strings.Contains(line, "publish.xml") {
				times = many[1][1]
			}
			fmt.Fprintln(w.in, strings.NewReplacer("-m 1 ", string(times)+" ", "127.0.0.1:5060", edge, "/dev/null", "out.txt").Replace(line), `; code=$?; tail -n 60 out.txt; echo "=== $code"`)
			eventually(t, line, 3*time.Minute, func() bool { return strings.Count(w.out.String(), "=== ") == runs })
		}
	}
	if out := w.out.String(); runs != 2 || strings.Count(out, "=== 0\n") != runs {
		t.Errorf("%d lines with SIPp: %s", runs, out)
	}
}

// README's lines that measure work.
func TestReadmeBench(t *testing.T) {
	t.Parallel()
	w := open(t, checkout(t))
	for _, block := range readme(t, "Measuring it") {
		for _, line := range block {
			w.paste(line)
		}
	}
	w.await("bench", "right: each of the 20000 watchers was last told what its lamp shows", 20*time.Second)
}

// The first make build says before it compiles that it takes a while. Later ones don't.
func TestFirstBuild(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	build := func() string {
		c := exec.Command("make", "-f", file, "build", "GO=mkdir -p bin; echo compiles; touch bin/lamplight; : ")
		c.Dir = root
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	said, _, compiled := strings.Cut(build(), "compiles\n")
	if !compiled || !strings.Contains(said, "the first time this takes a few minutes") {
		t.Errorf("the first build says %q before it compiles", said)
	}
	if said := build(); strings.Contains(said, "the first time") {
		t.Errorf("the second build says %q", said)
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
	listen := []string{"CLUSTER_HTTP=" + list(0), "CLUSTER_NATS=" + list(3), "CLUSTER_GOSSIP=" + list(6), "CLUSTER_ROUTES=" + list(9)}
	first := open(t, root, listen...)
	fmt.Fprintln(first.in, "exec tools/run-cluster.sh "+account)
	first.await("make cluster", "Ctrl-C", 90*time.Second)
	t.Cleanup(func() {
		for _, node := range []string{"a", "b", "c"} {
			endPid(root, node)
		}
	})
	blocks := readme(t, "Three nodes")
	if len(blocks) != 4 {
		t.Fatalf("README's cluster has %d blocks of lines", len(blocks))
	}
	w := open(t, root)
	moved := strings.NewReplacer("lamplight cluster", "lamplight cluster --nats nats://"+addresses[3], ":8001/", ":"+port(0)+"/", ":8002/", ":"+port(1)+"/", ":8003;", ":"+port(2)+";")
	killed := false
	for _, line := range slices.Concat(blocks[0], blocks[1], blocks[2]) {
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
	if last := w.out.String(); strings.Contains(last[strings.LastIndex(last, "NODE "):], "silent") {
		t.Errorf("node c is silent although ready has waited for it:\n%s", last)
	}
	// Ctrl-C ends node c too, which was started again by hand, and the script ends only then: the next make cluster finds the ports free.
	_ = syscall.Kill(first.pid, syscall.SIGINT)
	eventually(t, "make cluster has ended", 60*time.Second, func() bool { return syscall.Kill(first.pid, 0) != nil })
	second := open(t, root, listen...)
	fmt.Fprintln(second.in, "exec tools/run-cluster.sh "+account)
	second.await("make cluster", "Ctrl-C", 90*time.Second)
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
	lines := readme(t, "Three nodes")[3]
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
