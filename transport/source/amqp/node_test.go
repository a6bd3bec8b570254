package amqp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// built builds the command and returns its path.
func built(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bin", "lamplight")
	if out, err := exec.Command("go", "build", "-o", path, "lamplight/cmd/lamplight").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// A node with --bridge-amqp lights lamps from the bus, and lamplight sources lists each switch with its calls. After kill -9 it goes on: what came
// meanwhile waited at the broker.
func TestServeBridge(t *testing.T) {
	b, binary, data := theBroker(t), built(t), t.TempDir()
	k := newKazoo(t, b.url())
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	nats := fmt.Sprintf("127.0.0.1:%d", port)
	command := func(args ...string) string {
		out, _ := exec.Command(binary, append(args, "--nats", "nats://"+nats)...).Output()
		return string(out)
	}
	start := func() (*exec.Cmd, *lockedBuffer) {
		out := &lockedBuffer{}
		cmd := exec.Command(binary, "serve", "--data", data, "--http", "127.0.0.1:0", "--nats-listen", nats, "--gossip", "127.0.0.1:0", "--node", "a", "--drain-grace", "0",
			"--bridge-amqp", b.url(), "--bridge-amqp-queue", "node", "--bridge-amqp-resync", "10s")
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Log(out.String())
			}
		})
		return cmd, out
	}
	lamp := func(user, want string) {
		t.Helper()
		eventually(t, user+" is "+want, 40*time.Second, func() bool {
			return strings.HasPrefix(command("presence", "show", user, "--realm", realm), user+" is "+want)
		})
	}
	source := func(calls string) { // the state and the number of calls stand in the third column and in the fifth
		t.Helper()
		eventually(t, "the switch is listed with "+calls+" calls", 40*time.Second, func() bool {
			return slices.ContainsFunc(strings.Split(command("sources"), "\n"), func(line string) bool {
				f := strings.Fields(line)
				return len(f) > 5 && f[0] == "amqp-node/"+fs1 && f[1] == fs1 && f[2] == "up" && f[4] == calls
			})
		})
	}
	node, out := start()
	eventually(t, "the node is ready", 60*time.Second, func() bool { return strings.Contains(out.String(), "is ready") })
	accounts := filepath.Join(t.TempDir(), "accounts.json")
	if err := os.WriteFile(accounts, fmt.Appendf(nil, `{"accounts":[{"name":"Acme","realm":%q}]}`, realm), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command("import", accounts); !strings.Contains(out, "1 created") {
		t.Fatal(out)
	}
	eventually(t, "the bridge consumes", 40*time.Second, func() bool { return strings.Contains(out.String(), "the bridge consumes") })
	k.dialog("1001", "n-1", "recipient", "early")
	k.dialog("1002", "n-2", "initiator", "confirmed")
	k.mailbox("1003", 1)
	lamp("1001", "early")
	lamp("1002", "confirmed")
	lamp("*981003", "confirmed")
	source("2")
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = node.Wait()
	k.dialog("1001", "n-1", "recipient", "confirmed")
	k.dialog("1002", "n-2", "initiator", "terminated")
	k.dialog("1004", "n-4", "recipient", "early")
	k.mailbox("1003", 0)
	_, out = start()
	lamp("1001", "confirmed")
	lamp("1002", "terminated")
	lamp("1004", "early")
	lamp("*981003", "terminated")
	source("2")
	eventually(t, "Kazoo says which calls run", 40*time.Second, func() bool { return strings.Contains(out.String(), "Kazoo said which calls run") })
	k.dialog("1004", "n-4", "recipient", "terminated")
	lamp("1004", "terminated")
	lamp("1001", "confirmed")
	source("1")
}
