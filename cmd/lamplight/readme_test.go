package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// natsClient is what README's lines need of NATS's own command (nats sub SUBJECT, nats req SUBJECT DATA), which takes
// minutes to build. The test's own binary runs as it where LAMPLIGHT_TEST_NATS says so.
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

// README's lines are run as they stand, through a shell in the root of a checkout; only the ports and, instead of
// `go run …/nats`, the client differ.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	root := t.TempDir() // README's bin/ and docs/ are there
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	docs, _ := filepath.Abs("../../docs")
	for from, to := range map[string]string{binary: "bin/lamplight", docs: "docs"} {
		if err := os.Symlink(from, filepath.Join(root, to)); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	p := serve(t, data)
	p.sample()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh")
	shell.Dir = root
	shell.Env = append(os.Environ(), "LAMPLIGHT_DATA="+data, "LAMPLIGHT_NATS="+p.nats, "NATS_URL="+p.nats)
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out transcript
	shell.Stdout, shell.Stderr = &out, &out
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL); _ = shell.Wait() })
	await := func(line, want string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("README's %q: no %q in\n%s", line, want, out.String())
			}
		}
	}
	run := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "make ") {
			continue // CI's own commands; what make run does, serve and sample do here
		}
		run++
		line = strings.ReplaceAll(line, "http://127.0.0.1:8000", p.http)
		if strings.HasPrefix(line, `N="go run `) {
			line = "export LAMPLIGHT_TEST_NATS=1; N=" + self
		}
		fmt.Fprintf(in, "%s\necho; echo \"=== line %d: $?\"\n", line, i)
		await(line, fmt.Sprintf("=== line %d: 0\n", i))
		switch { // those in the background listen from here on
		case strings.Contains(line, " sub "):
			await(line, "Subscribing on lamplight.notify.edge1")
		case strings.Contains(line, " watch "):
			await(line, "watching "+realm)
		}
	}
	if run < 12 {
		t.Errorf("README has only %d lines to paste", run)
	}
	for _, want := range []string{`"data":{"subscriptions":{}}`, `"data":"command sent"`, `"explain": {`, `"Event-Name":"subscription_ack"`, `"Event-Name":"dialog_update_ack"`,
		"1001 is early", `[lamplight.notify.edge1] {"`, `"State":"early"`, "*3101  terminated -> confirmed", "EXTENSION  EVENT", `"name":"lamplight"`, "the configuration is good"} {
		await("lines", want)
	}
	if strings.Contains(out.String(), `"status":"error"`) || strings.Contains(out.String(), `"Status":"error"`) {
		t.Errorf("a request failed:\n%s", out.String())
	}
}

// transcript is what a shell wrote, while it writes.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
