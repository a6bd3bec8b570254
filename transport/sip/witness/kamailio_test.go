package witness

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/tools/need"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

// given holds the ports that freePort has returned. Tests that run at once share it.
var given sync.Map

// freePort returns a port of the loopback addresses that is free for UDP and TCP. No other test of this process gets it.
// The port above it is free as well, because baresip takes that one for TLS. The kernel gives such ports to nobody who asks for any.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 10000 + 2*rand.IntN(10000)
		if _, taken := given.LoadOrStore(port, true); !taken && free(port) && free(port+1) {
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// free reports whether a port is free for UDP and TCP.
func free(port int) bool {
	addr := ":" + strconv.Itoa(port)
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

// log collects what a program writes. Any goroutine may use it.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts a program in a process group of its own, and ends it with the test.
func start(t *testing.T, cmd *exec.Cmd) *log {
	t.Helper()
	out := &log{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
		if t.Failed() {
			t.Logf("%s:\n%s\n[...]\n%s", cmd.Path, head(out.String(), 3000), tail(out.String(), 4000))
		}
	})
	return out
}

// kamailio runs Kamailio at an address with a file of deploy/kamailio, and returns its process group.
func kamailio(t *testing.T, addr, file string, defines map[string]string) (pid int) {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		path = "/usr/sbin/kamailio"
		_, err = os.Stat(path)
	}
	need.Met(t, err == nil, "Kamailio (Debian: kamailio, kamailio-presence-modules)")
	dir := t.TempDir()
	db := filepath.Join(dir, "dbtext")
	if err := os.CopyFS(db, os.DirFS("/usr/share/kamailio/dbtext/kamailio")); err != nil {
		t.Fatal(err)
	}
	rows := "id(int,auto) username(string) domain(string) password(string) ha1(string) ha1b(string) \n"
	for i, user := range []string{"1001", "1002", "1003", "1004"} {
		rows += fmt.Sprintf("%d:%s:%s:secret:-:-\n", i+1, user, acme)
	}
	if err := os.WriteFile(filepath.Join(db, "subscriber"), []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-DD", "-E", "-f", "../../../deploy/kamailio/" + file, "-Y", dir, "-m", "64", "-M", "8", "-l", "udp:" + addr, "-l", "tcp:" + addr,
		"-A", `DBURL="text://` + db + `"`}
	for name, value := range defines {
		if _, err := strconv.Atoi(value); err != nil {
			value = `"` + value + `"`
		}
		args = append(args, "-A", name+"="+value)
	}
	cmd := exec.Command(path, args...)
	out := start(t, cmd)
	p, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	b := make([]byte, 4096)
	for end := time.Now().Add(20 * time.Second); ; {
		_, _ = fmt.Fprintf(p, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKready;rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:%s>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n", addr, p.LocalAddr(), addr)
		_ = p.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := p.Read(b); err == nil && strings.HasPrefix(string(b[:n]), "SIP/2.0 ") {
			return cmd.Process.Pid
		}
		if time.Now().After(end) {
			t.Fatalf("Kamailio does not answer:\n%s", tail(out.String(), 4000))
		}
	}
}

// front starts Kamailio as the proxy in front of an edge.
func front(t *testing.T, edge string) string {
	t.Helper()
	return frontAt(t, "127.0.0.1:"+freePort(t), edge)
}

// frontAt is front for a Kamailio at an address.
func frontAt(t *testing.T, addr, edge string) string {
	t.Helper()
	list := filepath.Join(t.TempDir(), "edges")
	if err := os.WriteFile(list, []byte("7 sip:"+edge+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kamailio(t, addr, "front.cfg", map[string]string{"EDGES": list})
	return addr
}

// trustLoopback has the edge trust the proxies of this machine.
func trustLoopback(c *sip.Config) {
	c.NoAuth, c.Trust = false, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// TestKamailioInFront has phones watch through Kamailio, which authenticates them: over UDP and TCP, with the edge reached over UDP and TCP.
func TestKamailioInFront(t *testing.T) {
	n := startNode(t, trustLoopback)
	for _, behind := range []sip.Transport{sip.UDP, sip.TCP} {
		proxy := front(t, n.SIP().Addr(behind)+";transport="+behind.String())
		for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
			t.Run("phone on "+transport.String()+", edge on "+behind.String(), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				p, err := phone.Dial(ctx, phone.Config{Server: proxy, Transport: transport})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = p.Close() }()
				ask := phone.Subscribe{Watcher: "1002@" + acme, Password: "secret", Target: "1001@" + acme, Package: "dialog", Expires: 600}
				s, err := p.Subscribe(ctx, ask)
				if err != nil {
					t.Fatal(err)
				}
				call := presence.CallEvent{CallID: "call-" + behind.String() + transport.String(), Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme}
				for _, state := range []presence.State{presence.Early, presence.Confirmed, presence.Terminated} {
					call.State = state
					tell(t, n, call)
					if _, err := s.Until(ctx, func(n *phone.Notify) bool {
						lit := strings.Contains(n.Body, "<state>"+state.String()+"</state>")
						return lit || state == presence.Terminated && !strings.Contains(n.Body, "<state>confirmed")
					}); err != nil {
						t.Fatal(err)
					}
				}
				before := s.Latest().CSeq
				if err := s.Refresh(ctx, 600); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Until(ctx, func(n *phone.Notify) bool { return n.CSeq > before }); err != nil {
					t.Fatal(err)
				}
				if err := s.Refresh(ctx, 0); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Until(ctx, func(n *phone.Notify) bool { return n.State == "terminated" }); err != nil {
					t.Fatal(err)
				}
				ask.Password = "wrong"
				if _, err := p.Subscribe(ctx, ask); err == nil {
					t.Error("a wrong password was taken")
				}
			})
		}
	}
}
