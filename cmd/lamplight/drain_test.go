package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// readyCode returns the status code of /readyz; 0: nobody answers.
func (p *process) readyCode() int {
	a, err := http.Get(p.http + "/readyz")
	if err != nil {
		return 0
	}
	defer a.Body.Close()
	return a.StatusCode
}

// After SIGTERM, /readyz says 503 for --drain-grace, and the node serves requests all that time.
func TestDrainGrace(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--drain-grace", "3s")
	p.sample()
	signalled := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, "/readyz says 503", 2*time.Second, func() bool { return p.readyCode() == http.StatusServiceUnavailable })
	p.get("/presence/1001")
	p.send(subject1001, "subscription", subscription("c1"))
	if err := p.cmd.Wait(); err != nil || time.Since(signalled) < 3*time.Second {
		t.Errorf("ended after %v: %v: %s", time.Since(signalled), err, p.stderr.String())
	}
}

// A second signal ends a node at once, with exit code 1 and a word about it.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--drain-grace", "1m")
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	eventually(t, "the node drains", 10*time.Second, func() bool { return p.readyCode() == http.StatusServiceUnavailable })
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.stderr.String(), "a second signal came") {
		t.Errorf("exit %d: %s", code, p.stderr.String())
	}
}

// Ports that another process has are told at once, all of them, with their flags.
func TestPortsInUse(t *testing.T) {
	t.Parallel()
	var taken []string
	for range 4 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		taken = append(taken, l.Addr().String())
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	flags := []string{"--http", taken[0], "--nats-listen", taken[1], "--gossip", taken[2], "--nats-cluster", taken[3], "--join", taken[2] + ",127.0.0.1:1"}
	for _, gossip := range []string{taken[2], udp.LocalAddr().String()} {
		flags[5] = gossip
		begun := time.Now()
		out, err := exec.Command(binary, append([]string{"serve", "--data", t.TempDir()}, flags...)...).CombinedOutput()
		if err == nil || time.Since(begun) > 5*time.Second {
			t.Errorf("serve ended after %v: %v", time.Since(begun), err)
		}
		for i := 0; i < 8; i += 2 {
			if want := flags[i] + " " + flags[i+1] + ": the port is in use"; !strings.Contains(string(out), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
}

// runSample runs the script of make run, which ends with the test, and its node with it.
func runSample(t *testing.T, root string, env []string) (*exec.Cmd, *transcript) {
	t.Helper()
	said := &transcript{}
	c := exec.Command("sh", "tools/run-sample.sh", account)
	c.Dir, c.Env, c.Stdout, c.Stderr = root, env, said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Signal(syscall.SIGTERM); _ = c.Wait() })
	return c, said
}

// A second make run in one directory says that Lamplight runs already, and stops. It loads nothing into the first node. With ports
// and a directory of its own it works beside the first.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	root := checkout(t)
	addresses := ports(t, 8)
	env := func(at int, data string) []string {
		sip := addresses[6+at/3]
		return append(os.Environ(), "LAMPLIGHT_HTTP="+addresses[at], "LAMPLIGHT_NATS_LISTEN="+addresses[at+1], "LAMPLIGHT_GOSSIP="+addresses[at+2], "LAMPLIGHT_DATA="+data,
			"LAMPLIGHT_SIP_UDP="+sip, "LAMPLIGHT_SIP_TCP="+sip)
	}
	running := func(said *transcript) func() bool {
		return func() bool { return strings.Contains(said.String(), "Ctrl-C ends the node") }
	}
	one := filepath.Join(root, "one")
	_, first := runSample(t, root, env(0, one))
	eventually(t, "the first node runs", 60*time.Second, running(first))
	for _, again := range [][]string{env(0, one), env(3, one)} {
		c, said := runSample(t, root, again)
		err := c.Wait()
		if err == nil || !strings.Contains(said.String(), "If Lamplight runs here already") || !strings.Contains(said.String(), "in use") || strings.Contains(said.String(), "as they were") {
			t.Errorf("the second make run: %v: %s", err, said.String())
		}
	}
	_, other := runSample(t, root, env(3, filepath.Join(root, "other")))
	eventually(t, "a node of its own runs beside it", 60*time.Second, running(other))
	if !strings.Contains(other.String(), "0 changed, 0 as they were") || !strings.Contains(other.String(), fmt.Sprintf("--nats nats://%s", addresses[4])) {
		t.Errorf("the other node: %s", other.String())
	}
}
