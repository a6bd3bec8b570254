package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/subject"
	"lamplight/tools/need"
)

// externalNATS starts a NATS server with JetStream, for nodes that start none. port -1 is any.
func externalNATS(t *testing.T, data string, port int) *server.Server {
	t.Helper()
	return natstest.StartWith(t, &server.Options{Port: port, JetStream: true, StoreDir: data})
}

const (
	readLine = `curl -s -H "X-Auth-Token: {AUTH_TOKEN}" BASE/presence/1001`
	setLine  = `curl -s -X POST -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"action":"set","state":"early"}}' BASE/presence/%s`
)

// While NATS is away, reads are answered and marked stale, and writes are answered 503. When NATS is back, both work again.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	s := externalNATS(t, store, -1)
	port := s.Addr().(*net.TCPAddr).Port
	p := serve(t, t.TempDir(), "--nats", s.ClientURL())
	p.sample()
	if a := p.shell(fmt.Sprintf(setLine, "1001")); a.Status != "success" {
		t.Fatalf("set: %+v", a)
	}
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "a read is marked stale", 10*time.Second, func() bool { a := p.shell(readLine); return a.Status == "success" && a.Stale })
	if a := p.shell(readLine); !strings.Contains(string(a.Data), `"state":"early"`) {
		t.Errorf("a stale read: %s", a.Data)
	}
	if a := p.shell(fmt.Sprintf(setLine, "1001")); a.Error != "503" || a.Message != "datastore_unreachable" {
		t.Errorf("a write without NATS: %+v", a)
	}
	externalNATS(t, store, port)
	eventually(t, "a write after NATS came back", 20*time.Second, func() bool { return p.shell(fmt.Sprintf(setLine, "1005")).Status == "success" })
	eventually(t, "a read that is not stale", 10*time.Second, func() bool { a := p.shell(readLine); return a.Status == "success" && !a.Stale })
}

// ownMounts returns a command line that runs another one in a mount namespace of its own, as root or in a user namespace.
func ownMounts(t *testing.T) []string {
	t.Helper()
	var why []string
	for _, line := range [][]string{{"unshare", "--mount"}, {"unshare", "--user", "--map-root-user", "--mount"}} {
		probe := slices.Concat(line, []string{"mount", "-t", "tmpfs", "tmpfs", t.TempDir()})
		out, err := exec.Command(probe[0], probe[1:]...).CombinedOutput()
		if err == nil {
			return line
		}
		why = append(why, fmt.Sprintf("%s: %v %s", strings.Join(line, " "), err, bytes.TrimSpace(out)))
	}
	need.Met(t, false, "unshare, mount, and root or unprivileged user namespaces (%s)", strings.Join(why, "; "))
	return nil
}

// On a full disk writes are refused, reads are answered, and the answers and /readyz name the disk. When there is room again, the
// same process takes writes within seconds. Everything that was acknowledged is there, then and after a restart. The test starts
// itself again in a mount namespace, where the data directory is a small file system.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv("LAMPLIGHT_TEST_OWN_MOUNTS") == "" {
		line := append(ownMounts(t), os.Args[0], "-test.v", "-test.timeout=3m", "-test.run=^TestFullDisk$")
		self := exec.Command(line[0], line[1:]...)
		self.Env = append(os.Environ(), "LAMPLIGHT_TEST_OWN_MOUNTS=1", "LAMPLIGHT_TEST_BINARY="+binary)
		self.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := self.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestFullDisk")) {
			t.Errorf("in the mount namespace: %v\n%s", err, out)
		}
		return
	}
	data := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", data).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", data).Run() })
	ballast := filepath.Join(data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, data, "--request-timeout", "2s")
	p.sample()
	full, acked := false, 0
	for i := 0; i < 400_000 && !full; i++ {
		doc := subscription(fmt.Sprintf("d%d", i))
		doc["User"] = fmt.Sprintf("%d@%s", 5000+i, realm)
		doc["User-Agent"] = strings.Repeat("x", 4000)
		a := p.request(subject.Subscription(realm, fmt.Sprint(5000+i)), "subscription", doc)
		switch {
		case a["Status"] == "ok":
			acked++
		case a["Code"] == "503":
			full = true
		default:
			t.Fatalf("%v", a)
		}
	}
	if !full || acked < 100 {
		t.Fatalf("full: %v after %d", full, acked)
	}
	if a := p.shell(readLine); a.Status != "success" {
		t.Errorf("a read on a full disk: %+v", a)
	}
	eventually(t, "an answer and /readyz name the disk", 20*time.Second, func() bool {
		a, ready := p.shell(fmt.Sprintf(setLine, "1001")), p.shell("curl -s "+p.http+"/readyz")
		return a.Error == "503" && strings.Contains(string(a.Data), "disk") && ready.Error == "503" && strings.Contains(string(ready.Data), "disk")
	})
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a write when there is room again", 30*time.Second, func() bool { return p.shell(fmt.Sprintf(setLine, "1001")).Status == "success" })
	eventually(t, "/readyz when there is room again", 10*time.Second, func() bool { return p.shell("curl -s "+p.http+"/readyz").Status == "success" })
	whole := func(when string) {
		t.Helper()
		list := p.get("/presence?summary=true")["subscriptions"].(map[string]any)
		for i := range acked {
			if list[fmt.Sprint(5000+i)] == nil {
				t.Fatalf("%s, the acknowledged subscription %d of %d is not listed", when, i, acked)
			}
		}
		if a := p.shell(readLine); !strings.Contains(string(a.Data), `"state":"early"`) {
			t.Errorf("%s, the state that was set: %s", when, a.Data)
		}
	}
	whole("in the same process")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	token := p.token
	p = serve(t, data)
	p.token = token
	whole("after a restart")
}

// A node with few file descriptors goes on serving while clients open more connections than it has descriptors, and afterwards.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	p := startWith(t, []string{"prlimit", "--nofile=1024:1024"}, t.TempDir())
	p.await()
	p.sample()
	flood := func(address string, n int) (open []net.Conn) {
		for range n {
			if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
				open = append(open, c)
			}
		}
		return open
	}
	conns := flood(strings.TrimPrefix(p.http, "http://"), 1100)
	conns = append(conns, flood(strings.TrimPrefix(p.nats, "nats://"), 600)...)
	eventually(t, "a write during the flood", 20*time.Second, func() bool { return p.shell(fmt.Sprintf(setLine, "1001")).Status == "success" })
	eventually(t, "/readyz during the flood", 10*time.Second, func() bool { return p.shell("curl -s "+p.http+"/readyz").Status == "success" })
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "a write after the flood", 20*time.Second, func() bool { return p.shell(fmt.Sprintf(setLine, "1002")).Status == "success" })
}
