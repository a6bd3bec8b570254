package amqp

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lamplight/tools/need"
)

// kamailio is a Kamailio with the module kazoo, and a phone that talks to it.
type kamailio struct {
	t     *testing.T
	phone net.Conn
	log   *lockedBuffer
	sent  int
}

// newKamailio starts Kamailio with testdata/kamailio.cfg. It ends with the test.
func newKamailio(t *testing.T, b *broker) *kamailio {
	t.Helper()
	path, err := exec.LookPath("kamailio")
	if err != nil {
		path = "/usr/sbin/kamailio"
	}
	modules, _ := filepath.Glob("/usr/lib/*/kamailio/modules/kazoo.so")
	_, err = os.Stat(path)
	need.Met(t, err == nil && len(modules) == 1, "Kamailio with the module kazoo (Debian: kamailio, kamailio-presence-modules, kamailio-kazoo-modules)")
	dir := t.TempDir()
	db := filepath.Join(dir, "dbtext")
	if err := os.CopyFS(db, os.DirFS("/usr/share/kamailio/dbtext/kamailio")); err != nil {
		t.Fatal(err)
	}
	own, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := own.LocalAddr().String()
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	k := &kamailio{t: t, log: &lockedBuffer{}}
	cmd := exec.Command(path, "-DD", "-E", "-f", "testdata/kamailio.cfg", "-Y", dir, "-m", "64", "-M", "8", "-l", "udp:"+addr, "-A", `BROKER="`+strings.TrimSuffix(b.url(), "/")+`"`, "-A", `DBURL="text://`+db+`"`)
	cmd.Stdout, cmd.Stderr = k.log, k.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(k.log.String())
		}
	})
	if k.phone, err = net.Dial("udp", addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.phone.Close() })
	eventually(t, "Kamailio answers", 30*time.Second, func() bool { return k.request("OPTIONS", "1001", "o@test", "") == "200" })
	eventually(t, "Kamailio consumes", 30*time.Second, func() bool {
		all := b.ctl(t, "-q", "list_queues", "name", "consumers")
		return strings.Contains(all, "presence-kam1\t1") && strings.Contains(all, "nodes-kam1\t1")
	})
	return k
}

// request sends a SIP request about an extension and returns the code of the answer; "": none came soon.
func (k *kamailio) request(method, user, callID, headers string) string {
	k.sent++
	_, err := fmt.Fprintf(k.phone, "%s sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nMax-Forwards: 10\r\nFrom: <sip:2001@%s>;tag=f\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:%s@%s>\r\nUser-Agent: phone\r\n%sContent-Length: 0\r\n\r\n", method, user, realm, k.phone.LocalAddr(), k.sent, realm, user, realm, callID,
		k.sent, method, user, k.phone.LocalAddr(), headers)
	if err != nil {
		return ""
	}
	b := make([]byte, 4096)
	for cseq := fmt.Sprintf("CSeq: %d %s", k.sent, method); ; {
		_ = k.phone.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, err := k.phone.Read(b)
		if err != nil {
			return ""
		}
		if answer := strings.Fields(string(b[:n])); len(answer) > 1 && strings.Contains(string(b[:n]), cseq) {
			return answer[1]
		}
	}
}

// call publishes the state of a call.
func (k *kamailio) call(user, callID, state string) {
	k.t.Helper()
	if code := k.request("PUBLISH", user, callID, "X-State: "+state+"\r\n"); code != "200" {
		k.t.Fatalf("Kamailio answers %q", code)
	}
}

// got waits until Kamailio has consumed something.
func (k *kamailio) got(what string) {
	k.t.Helper()
	eventually(k.t, "Kamailio gets "+what, 20*time.Second, func() bool { return strings.Contains(k.log.String(), "GOT "+what) })
}

// The module kazoo, with which Kazoo's Kamailio speaks to RabbitMQ, and the bridge understand one another: what Kamailio publishes lights lamps, and
// it gets its own events all the same; and Kamailio consumes the probes and queries, the heartbeats and the answers of a bridge that serves.
func TestKamailio(t *testing.T) {
	b, l := theBroker(t), newLamplight(t)
	k := newKamailio(t, b)
	s := l.run(Config{Brokers: []string{b.url()}, Queue: "kamailio", Serve: true})
	s.ready(t)
	const odd = `k-1;x="ä"@127.0.0.1` // the module writes bytes of 0x80 and more wrongly into the routing key; the document counts
	for _, callID := range []string{"k-1@127.0.0.1", odd} {
		k.call("1001", callID, "early")
		l.shows(map[string]string{"1001": "early"}, 10*time.Second)
		k.call("1001", callID, "confirmed")
		l.shows(map[string]string{"1001": "confirmed"}, 10*time.Second)
		k.call("1001", callID, "terminated")
		l.shows(map[string]string{}, 10*time.Second)
	}
	k.got("dialog_update k-1@127.0.0.1 terminated")

	l.subscribe("1001", "dialog", "s-1", "2001")
	k.got("probe 1001 " + realm + " dialog of lamplight@kamailio")
	l.subscribe("1002", "message-summary", "s-2", "2001")
	k.got("mwi_query 1002 " + realm)
	l.shows(map[string]string{"*981002": "confirmed"}, 10*time.Second) // which its answer says
	k.got("advertise of lamplight@kamailio presence {")
	if code := k.request("SUBSCRIBE", "1001", "q@test", ""); code != "200" {
		t.Errorf("a search is answered %q", code)
	}
	k.got("search_resp {")
	if want := `"Subscriptions": { "1001": { "dialog": 1 }, "1002": { "message-summary": 1 } }`; !strings.Contains(k.log.String(), want) {
		t.Error("the answer to the search is another one")
	}

	l.subscribe("1003", "presence", "s-3", "2001")
	if code := k.request("REGISTER", "1003", "r@test", "Expires: 600\r\n"); code != "200" {
		t.Fatalf("REGISTER is answered %q", code)
	}
	eventually(t, "the registration is carried", 10*time.Second, func() bool { return s.counted("lamplight_source_documents_total", registration) == 1 })
	if n := s.counted("lamplight_source_refused_total", ""); n != 0 {
		t.Errorf("%v documents of Kamailio's were refused", n)
	}
}
