package witness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lamplight/cmd/lamplight/node"
	"lamplight/tools/need"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

// watched is what a phone was shown of one extension, in order and without repetition.
type watched struct {
	t  *testing.T
	mu sync.Mutex
	// all has the lamp of each document, "" when it is dark.
	all []string
}

var (
	dialogState = regexp.MustCompile(`<state>([a-z]+)</state>`)
	basicStatus = regexp.MustCompile(`<basic>([a-z]+)</basic>`)
)

// watches subscribes 1004 to an extension over a phone.
func watches(t *testing.T, p *phone.Phone, extension, eventPackage string) *watched {
	t.Helper()
	w := &watched{t: t}
	state := dialogState
	if eventPackage == "presence" {
		state = basicStatus
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := p.Subscribe(ctx, phone.Subscribe{Watcher: "1004@" + acme, Target: extension + "@" + acme, Package: eventPackage, Expires: 600, Handle: func(n *phone.Notify) {
		now := ""
		if m := state.FindStringSubmatch(n.Body); m != nil && m[1] != "terminated" && m[1] != "trying" { // Kamailio publishes Trying a moment before the next state, which may overtake it
			now = m[1]
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.all) == 0 || w.all[len(w.all)-1] != now {
			w.all = append(w.all, now)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// shows waits until the phone was shown these states, one after the other, and fails if it was shown others.
func (w *watched) shows(want ...string) {
	w.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := w.list()
		if slices.Equal(got, want) {
			return
		}
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) || time.Now().After(end) {
			w.t.Fatalf("the phone was shown %q instead of %q", got, want)
		}
	}
}

// source is Kamailio as a source of calls.
type source struct {
	t       *testing.T
	addr    string
	file    string // its configuration
	defines map[string]string
	pid     int
	cseq    *int // of the last REGISTER
}

// metric reads a counter of a node, of all values of its labels together, or of those with a label, such as code="200". 0: there is none.
func metric(t *testing.T, n *node.Node, name, label string) int {
	t.Helper()
	r, err := http.Get("http://" + n.Addr("http") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && (series == name || strings.HasPrefix(series, name+"{")) && strings.Contains(series, label) {
			number, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			sum += number
		}
	}
	return int(sum)
}

// answered waits until the edge of a node has answered so many more requests with a code.
func answered(t *testing.T, n *node.Node, code, more int) {
	t.Helper()
	name, label := "lamplight_sip_answers_total", fmt.Sprintf("code=%q", strconv.Itoa(code))
	first := metric(t, n, name, label)
	for end := time.Now().Add(20 * time.Second); metric(t, n, name, label) < first+more; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the edge has answered %d times with %d, and not %d times", metric(t, n, name, label)-first, code, more)
		}
	}
}

// publishes starts Kamailio, which publishes its calls to the edge of a node.
func publishes(t *testing.T, n *node.Node, transport sip.Transport, defines map[string]string) *source {
	t.Helper()
	return publishesFrom(t, "127.0.0.1", n, transport, defines)
}

// publishesFrom is publishes for a Kamailio at an address.
func publishesFrom(t *testing.T, host string, n *node.Node, transport sip.Transport, defines map[string]string) *source {
	t.Helper()
	s := &source{t: t, cseq: new(int), addr: net.JoinHostPort(host, freePort(t)), file: "source.cfg", defines: map[string]string{"EDGE": "sip:" + n.SIP().Addr(transport) + ";transport=" + transport.String(), "DOMAIN": acme}}
	for name, value := range defines {
		s.defines[name] = value
	}
	s.start()
	return s
}

func (s *source) start() { s.pid = kamailio(s.t, s.addr, s.file, s.defines) }

// in is the source for a subtest: the phones that are started for it end with it.
func (s *source) in(t *testing.T) *source {
	c := *s
	c.t = t
	return &c
}

// kill ends Kamailio without a word.
func (s *source) kill() {
	s.t.Helper()
	if err := syscall.Kill(-s.pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// register registers an extension at Kamailio.
func (s *source) register(extension, contact string, expires int) {
	s.t.Helper()
	c, err := net.Dial("udp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := make([]byte, 4096)
	*s.cseq++
	for range 20 {
		_, _ = fmt.Fprintf(c, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]sx%[6]d;rport\r\nFrom: <sip:%[3]s@%[1]s>;tag=1\r\nTo: <sip:%[3]s@%[1]s>\r\nCall-ID: r%[3]s\r\nCSeq: %[6]d REGISTER\r\n"+
			"Contact: %[4]s\r\nExpires: %[5]d\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n", acme, c.LocalAddr(), extension, contact, expires, *s.cseq)
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if n, err := c.Read(b); err == nil {
			if !strings.HasPrefix(string(b[:n]), "SIP/2.0 200") {
				s.t.Fatalf("Kamailio answered REGISTER so:\n%s", b[:n])
			}
			return
		}
	}
	s.t.Fatal("Kamailio does not answer REGISTER")
}

// pause waits in a scenario.
func pause(d time.Duration) step {
	return step(fmt.Sprintf("<pause milliseconds=\"%d\"/>\n", d.Milliseconds()))
}

// reply answers the request that came last.
func reply(code int) step {
	return step(fmt.Sprintf("<send><![CDATA[\nSIP/2.0 %d Answer\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:];tag=c[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n"+
		"Contact: <sip:callee@[local_ip]:[local_port]>\nContent-Length: 0\n\n]]></send>\n", code))
}

// callee starts SIPp as a phone that rings and answers, and registers it. more is what the phone does in the call.
func (s *source) callee(extension string, more ...step) {
	s.t.Helper()
	steps := append([]step{invited, reply(180), pause(ring), reply(200), acknowledged}, more...)
	s.phone(extension, scenario(append(steps, "<recv request=\"BYE\"/>\n", answer(200, ""))...))
}

const (
	invited      = step("<recv request=\"INVITE\" rrs=\"true\"/>\n")
	acknowledged = step("<recv request=\"ACK\" rrs=\"true\"/>\n")
)

// cancelled starts SIPp as a phone that rings until the caller gives up.
func (s *source) cancelled(extension string) {
	s.t.Helper()
	s.phone(extension, scenario(invited, reply(180), "<recv request=\"CANCEL\"/>\n", answer(200, ""),
		step(strings.Replace(string(reply(487)), "[last_CSeq:]", "CSeq: 1 INVITE", 1)), "<recv request=\"ACK\"/>\n"))
}

func (s *source) phone(extension, text string) {
	s.t.Helper()
	port := freePort(s.t)
	runSIPp(s.t, text, "-p", port)
	s.register(extension, "*", 0) // the phone of an earlier test
	s.register(extension, "<sip:"+extension+"@127.0.0.1:"+port+">", 3600)
}

// runSIPp starts SIPp with a scenario over UDP.
func runSIPp(t *testing.T, text string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("sipp")
	need.Met(t, err == nil, "SIPp (Debian: sip-tester)")
	file := filepath.Join(t.TempDir(), "scenario.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(path, append([]string{"-sf", file, "-nostdin", "-i", "127.0.0.1", "-t", "u1"}, args...)...))
}

// toCallee is a request of the caller 1002 to 1001.
func toCallee(method, uri string, cseq int, toTag, routes string) step {
	return step(fmt.Sprintf("%[1]s %[2]s SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n%[6]sFrom: <sip:1002@%[3]s>;tag=f[call_number]\nTo: <sip:1001@%[3]s>%[5]s\n"+
		"Call-ID: [call_id]\nCSeq: %[4]d %[1]s\nContact: <sip:1002@[local_ip]:[local_port]>\nMax-Forwards: 70\nContent-Length: 0\n\n", method, uri, acme, cseq, toTag, routes))
}

func send(text step) step { return "<send><![CDATA[\n" + text + "]]></send>\n" }

var (
	invite  = send(toCallee("INVITE", "sip:1001@"+acme, 1, "", ""))
	ringing = step("<recv response=\"100\" optional=\"true\"/>\n<recv response=\"180\"/>\n")
	talk    = step("<recv response=\"200\" rrs=\"true\"/>\n") + send(toCallee("ACK", "[next_url]", 1, "[peer_tag_param]", "[routes]\n"))
	bye     = send(toCallee("BYE", "[next_url]", 2, "[peer_tag_param]", "[routes]\n")) + "<recv response=\"200\"/>\n"
	cancel  = send(step(strings.Replace(string(toCallee("CANCEL", "sip:1001@"+acme, 1, "", "")), "[branch]", "[branch-4]", 1))) + "<recv response=\"200\"/>\n" +
		"<recv response=\"487\"/>\n" + send(step(strings.Replace(string(toCallee("ACK", "sip:1001@"+acme, 1, "[peer_tag_param]", "")), "[branch]", "[branch-7]", 1)))
)

// watcher connects a phone that watches.
func watcher(t *testing.T, n *node.Node) *phone.Phone {
	t.Helper()
	ctx, cancelDial := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelDial()
	p, err := phone.Dial(ctx, phone.Config{Server: n.SIP().Addr(sip.TCP), Transport: sip.TCP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

const ring = 700 * time.Millisecond // long enough for a phone to be shown it

// calls has SIPp call 1001 as 1002, and waits until the call is over.
func (s *source) calls(steps ...step) {
	s.t.Helper()
	sipp(s.t, s.addr, scenario(append([]step{invite}, steps...)...), "-t", "u1")
}

// rings has SIPp call 1001 as 1002. It does not wait.
func (s *source) rings(steps ...step) {
	s.t.Helper()
	runSIPp(s.t, scenario(append([]step{invite}, steps...)...), "-m", "1", s.addr)
}

// TestKamailioPublishes has Kamailio publish calls between SIPp phones, over UDP and TCP.
func TestKamailioPublishes(t *testing.T) { // RFC 3903, RFC 4235
	n := startNode(t, trustLoopback)
	p := watcher(t, n)
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			s := publishes(t, n, transport, nil)
			t.Run("a call", func(t *testing.T) {
				s := s.in(t)
				callee, caller := watches(t, p, "1001", "dialog"), watches(t, p, "1002", "dialog")
				s.callee("1001")
				s.calls(ringing, talk, pause(ring), bye)
				callee.shows("", "early", "confirmed", "")
				caller.shows("", "confirmed", "")
			})
			t.Run("two calls at once", func(t *testing.T) {
				s := s.in(t)
				callee := watches(t, p, "1001", "dialog")
				s.callee("1001")
				s.rings(ringing, talk, pause(6*ring), bye)
				callee.shows("", "early", "confirmed")
				s.calls(ringing, talk, pause(ring), bye)
				callee.shows("", "early", "confirmed", "early", "confirmed", "")
			})
			t.Run("a call that is cancelled", func(t *testing.T) {
				s := s.in(t)
				callee, caller := watches(t, p, "1001", "dialog"), watches(t, p, "1002", "dialog")
				s.cancelled("1001")
				s.calls(ringing, pause(ring), cancel)
				callee.shows("", "early", "")
				caller.shows("", "confirmed", "")
			})
		})
	}
}

// lease makes the publications of Kamailio short: they last 3 s, and Kamailio refreshes them each second.
var lease = map[string]string{"LIFETIME": "3", "UPDATE": "6", "SHORTEST": "2"}

// TestKamailioDies kills Kamailio in a call: the lamps stay on while it lives, and go out when their publications end.
func TestKamailioDies(t *testing.T) {
	t.Parallel()
	n := startNode(t, trustLoopback)
	callee := watches(t, watcher(t, n), "1001", "dialog")
	s := publishes(t, n, sip.TCP, lease)
	s.callee("1001")
	s.rings(ringing, talk, pause(12*time.Second), bye)
	callee.shows("", "early", "confirmed")
	answered(t, n, 200, 10) // five times as long as a publication lasts without a refresh, because there are two
	callee.shows("", "early", "confirmed")
	s.kill()
	callee.shows("", "early", "confirmed", "")

	s.start() // it has forgotten the call and its entity-tags; the call ends
	s.callee("1001")
	s.calls(ringing, talk, pause(ring), bye)
	callee.shows("", "early", "confirmed", "", "early", "confirmed", "")
}

// TestKamailioIsLate stops Kamailio in a call until its publications have ended. Its next PUBLISH is answered 412, and it publishes anew.
func TestKamailioIsLate(t *testing.T) { // RFC 3903 §4.1
	t.Parallel()
	n := startNode(t, trustLoopback)
	callee := watches(t, watcher(t, n), "1001", "dialog")
	s := publishes(t, n, sip.UDP, lease)
	s.callee("1001", invited, step(strings.Replace(string(reply(200)), ";tag=c[call_number]", "", 1)), acknowledged)
	again := send(toCallee("INVITE", "[next_url]", 2, "[peer_tag_param]", "[routes]\n")) + "<recv response=\"100\" optional=\"true\"/>\n<recv response=\"200\"/>\n" +
		send(toCallee("ACK", "[next_url]", 2, "[peer_tag_param]", "[routes]\n"))
	s.rings(ringing, talk, pause(9*time.Second), again, pause(ring), step(strings.Replace(string(bye), "CSeq: 2", "CSeq: 3", 1)))
	callee.shows("", "early", "confirmed")
	if err := syscall.Kill(-s.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	callee.shows("", "early", "confirmed", "")
	if err := syscall.Kill(-s.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	answered(t, n, 412, 1)
	callee.shows("", "early", "confirmed", "", "confirmed", "")
}

// TestKamailioPublishesRegistrations has Kamailio publish who is registered.
func TestKamailioPublishesRegistrations(t *testing.T) { // RFC 3863
	t.Parallel()
	n := startNode(t, trustLoopback)
	status := watches(t, watcher(t, n), "1003", "presence")
	s := publishes(t, n, sip.TCP, lease)
	contact := "<sip:1003@127.0.0.1:9>"
	s.register("1003", contact, 60)
	answered(t, n, 200, 1)
	s.register("1003", contact, 0)
	status.shows("open", "closed")
	s.register("1003", contact, 2)
	status.shows("open", "closed", "open")
	status.shows("open", "closed", "open", "closed") // the registration has lapsed
}
