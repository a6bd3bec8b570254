package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

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

// While NATS does not answer, a command that changes nothing is not acknowledged either, however it waits: neither a write nor a
// fresh lease vouches for it (docs/contract/journal.md, rule 1). Only reads are answered and marked stale. The NATS server is that
// of another node, so that it can be stopped for a while.
func TestNATSFrozenAndNothingChanges(t *testing.T) {
	t.Parallel()
	host := serve(t, t.TempDir())
	p := serve(t, t.TempDir(), "--nats", host.nats, "--prefix", "other")
	p.lamplight("import", "../../docs/examples/acme.json", "--nats", p.nats, "--prefix", "other")
	p.token = p.lamplight("token", "--account", account, "--data", p.data)
	set, reset := fmt.Sprintf(setLine, "1001"), strings.Replace(fmt.Sprintf(setLine, "1002"), `"set","state":"early"`, `"reset"`, 1)
	if a := p.shell(set); a.Status != "success" {
		t.Fatalf("set: %+v", a)
	}
	type result struct {
		answer
		line string
		sent time.Duration // since the server was stopped
		took time.Duration
	}
	results := make(chan result, 100)
	var asking sync.WaitGroup
	stopped := time.Now()
	if err := host.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const outage = 6 * time.Second
	for every := time.NewTicker(250 * time.Millisecond); time.Since(stopped) < outage; <-every.C {
		for _, line := range []string{set, reset, readLine} {
			asking.Go(func() {
				sent := time.Now()
				results <- result{answer: p.shell(line), line: line, sent: sent.Sub(stopped), took: time.Since(sent)}
			})
		}
	}
	if err := host.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	asking.Wait()
	close(results)
	refused, stale := 0, 0
	for r := range results {
		read := r.line == readLine
		switch {
		case r.Stale && read:
			stale++
		case r.Stale:
			t.Errorf("%v after NATS stopped, a command that changes nothing was acknowledged: %+v", r.sent, r.answer)
		case r.Status == "success" && !read && r.sent > time.Second && r.sent+r.took < outage:
			t.Errorf("a command of %v after NATS stopped was acknowledged after %v", r.sent, r.took)
		case r.Error == "503" && r.Message == "datastore_unreachable":
			refused++
		case r.Status != "success":
			t.Errorf("%+v", r.answer)
		}
	}
	if refused == 0 || stale == 0 {
		t.Errorf("%d commands were refused, %d reads were marked stale", refused, stale)
	}
	eventually(t, "a command that changes nothing, after NATS came back", 20*time.Second, func() bool { a := p.shell(set); return a.Status == "success" && !a.Stale })
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
	p := serve(t, data)
	p.sample()
	full, acked := false, 0
	var last time.Time
	for i := 0; i < 400_000 && !full; i++ {
		doc := subscription(fmt.Sprintf("d%d", i))
		doc["User"] = fmt.Sprintf("%d@%s", 5000+i, realm)
		doc["User-Agent"] = strings.Repeat("x", 4000)
		last = time.Now()
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
	if took := time.Since(last); took > 6*time.Second { // of the 10 s that a request may take
		t.Errorf("the node answered %v after the disk was full", took)
	}
	if a := p.shell(readLine); a.Status != "success" {
		t.Errorf("a read on a full disk: %+v", a)
	}
	eventually(t, "an answer and /readyz name the disk", 20*time.Second, func() bool {
		a, ready := p.shell(fmt.Sprintf(setLine, "1001")), p.shell("curl -s "+p.http+"/readyz")
		return a.Error == "503" && strings.Contains(string(a.Data), "disk") && ready.Error == "503" && strings.Contains(string(ready.Data), "disk")
	})
	for range 3 { // the node knows by now
		begun := time.Now()
		a := p.shell(`curl -s -X PUT -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"name":"x"}}' BASE/devices`)
		if took := time.Since(begun); a.Error != "503" || !strings.Contains(string(a.Data), "disk") || took > 3*time.Second {
			t.Errorf("a new device on a full disk, after %v: %+v %s", took, a, a.Data)
		}
	}
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

// While clients open 800 connections to the port for NATS clients, close them, and do so again and again, nodes with 1,024 descriptors
// acknowledge every write, and their NATS servers go on.
func TestFewDescriptorsAndClients(t *testing.T) {
	t.Parallel()
	c, few := newTrio(t), []string{"prlimit", "--nofile=1024:1024"}
	nodes := c.startAll(t, few)
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	ctx, stop := context.WithCancel(t.Context())
	var strangers sync.WaitGroup
	defer func() { stop(); strangers.Wait() }()
	at, err := netip.ParseAddrPort(strings.TrimPrefix(nodes[0].nats, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		strangers.Go(func() {
			to := &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
			for ctx.Err() == nil {
				var open []int
				for range 800 {
					if s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err == nil {
						_ = unix.Connect(s, to) // EINPROGRESS: the kernel goes on
						open = append(open, s)
					}
				}
				select {
				case <-time.After(200 * time.Millisecond):
				case <-ctx.Done():
				}
				for _, s := range open {
					_ = unix.Close(s)
				}
			}
		})
	}
	for i, begun := 0, time.Now(); time.Since(begun) < 12*time.Second; i++ {
		nodes[i%3].token = nodes[0].token
		if a := nodes[i%3].shell(fmt.Sprintf(setLine, fmt.Sprint(1001+i%5))); a.Status != "success" {
			t.Fatalf("a write was refused %v after the flood began: %s", time.Since(begun), nodes[0].stderr.String())
		}
	}
	for _, word := range []string{"write error", "is started again", "too many open files"} {
		if log := nodes[0].stderr.String(); strings.Contains(log, word) {
			t.Errorf("the log says %q: %s", word, log)
		}
	}
}

// While 1,500 silent connections to the port for NATS routes are kept open, and opened again when they are closed, a node with fewer
// descriptors than that acknowledges every write. A node that comes back meanwhile gets its route to it: when the third node is
// killed, the two acknowledge writes together.
func TestFewDescriptorsAndRoutes(t *testing.T) {
	t.Parallel()
	c, few := newTrio(t), []string{"prlimit", "--nofile=1024:1024"}
	nodes := c.startAll(t, few)
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	ctx, stop := context.WithCancel(t.Context())
	var strangers sync.WaitGroup
	defer func() { stop(); strangers.Wait() }()
	flood := func(address string) {
		for range 1500 {
			strangers.Go(func() {
				for ctx.Err() == nil {
					if s, err := net.DialTimeout("tcp", address, time.Second); err == nil {
						release := context.AfterFunc(ctx, func() { _ = s.Close() })
						_, _ = io.Copy(io.Discard, s) // until the node closes it
						release()
						_ = s.Close()
					}
					select {
					case <-time.After(time.Second):
					case <-ctx.Done():
					}
				}
			})
		}
	}
	flood(c.routes[0])
	write := func(p *process, extension string) bool {
		return p.shell(fmt.Sprintf(setLine, extension)).Status == "success"
	}
	for i, begun := 0, time.Now(); time.Since(begun) < 12*time.Second; i++ {
		if !write(nodes[0], fmt.Sprint(1001+i%5)) {
			t.Fatalf("a write was refused %v after the flood began: %s", time.Since(begun), nodes[0].stderr.String())
		}
	}
	kill := func(p *process) {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.cmd.Wait()
	}
	kill(nodes[2])
	flood(c.routes[2])
	back := c.start(t, 2, few)
	back.await()
	back.token = nodes[0].token
	eventually(t, "three nodes that serve", 30*time.Second, func() bool { o, code := overview(t, back.nats); return code == 0 && len(o.Nodes) == 3 })
	kill(nodes[1])
	for i := range 5 {
		eventually(t, "a write through each of the two nodes", 20*time.Second, func() bool {
			return write(back, fmt.Sprint(1001+i)) && write(nodes[0], fmt.Sprint(1001+i))
		})
	}
}
