package witness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cmd/lamplight/node"
	"lamplight/tools/need"
	"lamplight/transport/sip"
)

// step is one element of a SIPp scenario.
type step string

// scenario makes a SIPp scenario of its steps.
func scenario(steps ...step) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"watcher\">\n")
	for _, s := range steps {
		b.WriteString(string(s))
	}
	for _, v := range []string{"1", "2"} { // SIPp refuses a variable that nothing refers to, and a reference to none
		if strings.Contains(b.String(), `assign_to="`+v+`"`) {
			b.WriteString(`<Reference variables="` + v + "\"/>\n")
		}
	}
	b.WriteString("</scenario>\n")
	return b.String()
}

// request is a SUBSCRIBE of a scenario.
type request struct {
	cseq     int
	inDialog bool
	expires  int
	event    string // "": dialog
	headers  string
	suffix   string // of the Call-ID
	contact  string // "": the default
	target   string // "": x<call number>
}

func (q request) step(retrans string) step {
	event, to, target := q.event, "", q.target
	if event == "" {
		event = "dialog"
	}
	if q.inDialog {
		to = "[peer_tag_param]"
	}
	if target == "" {
		target = "1001"
	}
	contact := q.contact
	if contact == "" {
		contact = "<sip:1002@[local_ip]:[local_port];transport=[transport]>"
	}
	return step(fmt.Sprintf(`<send%s><![CDATA[
SUBSCRIBE sip:%s@%s SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: <sip:1002@%s>;tag=f[call_number]%s
To: <sip:%s@%s>%s
Call-ID: [call_id]%s
CSeq: %d SUBSCRIBE
Contact: %s
Event: %s
Expires: %d
%sContent-Length: 0

]]></send>
`, retrans, target, acme, acme, q.suffix, target, acme, to, q.suffix, q.cseq, contact, event, q.expires, q.headers))
}

// subscribe sends a SUBSCRIBE.
func subscribe(q request) step { return q.step(` retrans="500"`) }

// hear waits for an answer. Each check is a header and a regular expression of its value.
func hear(code int, checks ...string) step {
	return step(fmt.Sprintf("<recv response=\"%d\"%s>%s</recv>\n", code, map[bool]string{true: ` auth="true"`}[code == 401], actions(checks)))
}

// told waits for a NOTIFY.
func told(checks ...string) step {
	return step(fmt.Sprintf("<recv request=\"NOTIFY\" timeout=\"10000\">%s</recv>\n", actions(checks)))
}

func actions(checks []string) string {
	if len(checks) == 0 {
		return ""
	}
	b := "<action>"
	for i := 0; i < len(checks); i += 2 {
		where := fmt.Sprintf(`search_in="hdr" header="%s:"`, checks[i])
		if checks[i] == "body" {
			where = `search_in="body"`
		}
		b += fmt.Sprintf(`<ereg regexp="%s" %s check_it="true" assign_to="%d"/>`, strings.NewReplacer("<", "&lt;", `"`, "&quot;").Replace(checks[i+1]), where, 1+i/2%2)
	}
	return b + "</action>"
}

// answer answers the last NOTIFY.
func answer(code int, headers string) step {
	return step(fmt.Sprintf(`<send><![CDATA[
SIP/2.0 %d Answer
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
%sContent-Length: 0

]]></send>
`, code, headers))
}

// sipp runs a scenario against an address and fails the test if SIPp says that it failed.
func sipp(t *testing.T, addr, text string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("sipp")
	need.Met(t, err == nil, "SIPp (Debian: sip-tester)")
	dir := t.TempDir()
	file := filepath.Join(dir, "scenario.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-sf", file, "-m", "1", "-nostdin", "-i", "127.0.0.1", "-timeout", "50s", "-timeout_error",
		"-recv_timeout", "12000", "-trace_err", "-error_file", filepath.Join(dir, "errors.log"), "-au", "1002", "-ap", "secret", addr}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "errors.log"))
		t.Fatalf("SIPp: %v\n%s\n%s\n%s", err, text, log, tail(out.String(), 1500))
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// head returns at most the first n bytes of a text.
func head(text string, n int) string { return text[:min(len(text), n)] }

// TestSIPp has SIPp play a phone in scenarios of RFC 6665 and RFC 3261, over UDP and TCP.
func TestSIPp(t *testing.T) {
	n := startNode(t, nil)
	active := []string{"Subscription-State", "active;expires="}
	document := append([]string{"body", `state="full"`}, active...)
	timeout := []string{"Subscription-State", "terminated;reason=timeout"}
	ok := answer(200, "")
	for name, c := range map[string]struct {
		steps []step
		args  []string
		udp   bool // UDP alone
	}{
		"subscribe, refresh, unsubscribe": {steps: []step{
			subscribe(request{cseq: 1, expires: 600}), hear(200, "Expires", "600"), told(document...), ok,
			subscribe(request{cseq: 2, expires: 600, inDialog: true}), hear(200), told(active...), ok,
			subscribe(request{cseq: 3, expires: 0, inDialog: true}), hear(200, "Expires", "0"), told(timeout...), ok,
			subscribe(request{cseq: 4, expires: 600, inDialog: true}), hear(481)}},
		"fetch": {steps: []step{subscribe(request{cseq: 1, expires: 0}), hear(200, "Expires", "0"), told(append(timeout, "body", "dialog-info")...), ok}},
		"another event package": {steps: []step{subscribe(request{cseq: 1, expires: 600, event: "as-feature-event"}),
			hear(489, "Allow-Events", "dialog, presence, message-summary")}},
		"an interval that is too short": {steps: []step{subscribe(request{cseq: 1, expires: 30}), hear(423, "Min-Expires", "60"),
			subscribe(request{cseq: 2, expires: 60}), hear(200, "Expires", "60"), told(active...), ok}},
		"an interval that is too long": {steps: []step{subscribe(request{cseq: 1, expires: 86400}), hear(200, "Expires", "3600"), told(active...), ok}},
		"an id of the event":           {steps: []step{subscribe(request{cseq: 1, expires: 600, event: "dialog;id=7"}), hear(200), told("Event", "dialog;id=7"), ok}},
		"presence":                     {steps: []step{subscribe(request{cseq: 1, expires: 600, event: "presence"}), hear(200), told("Content-Type", "application/pidf.xml", "body", "<basic>open"), ok}},
		"message-summary": {steps: []step{subscribe(request{cseq: 1, expires: 600, event: "message-summary"}), hear(200),
			told("Content-Type", "application/simple-message-summary", "body", "Messages-Waiting: no"), ok}},
		"an extension that the phone demands": {steps: []step{subscribe(request{cseq: 1, expires: 600, headers: "Require: teleport\n"}), hear(420, "Unsupported", "teleport")}},
		"a document that is not there":        {steps: []step{subscribe(request{cseq: 1, expires: 600, headers: "Accept: text/plain\n"}), hear(406)}},
		"a realm of nobody":                   {steps: []step{subscribe(request{cseq: 1, expires: 600, target: "1001@nobody.example.com;x="}), hear(404)}},
		"a copy of a SUBSCRIBE": {udp: true, steps: []step{
			subscribe(request{cseq: 1, expires: 600}), hear(200), told(active...), ok,
			`<send><![CDATA[
SUBSCRIBE sip:1001@` + acme + ` SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bKsame[call_number];rport
Max-Forwards: 70
From: <sip:1002@` + acme + `>;tag=s[call_number]
To: <sip:1001@` + acme + `>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Contact: <sip:1002@[local_ip]:[local_port]>
Event: presence
Expires: 600
Content-Length: 0

]]></send>
`, hear(200), told(active...), ok}},
	} {
		for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
			if c.udp && transport != sip.UDP {
				continue
			}
			t.Run(name+", "+transport.String(), func(t *testing.T) {
				sipp(t, n.SIP().Addr(transport), scenario(c.steps...), append(c.args, "-t", map[sip.Transport]string{sip.UDP: "u1", sip.TCP: "t1"}[transport])...)
			})
		}
	}
}

// TestSIPpDigest has SIPp authenticate, also with a nonce that is too old.
func TestSIPpDigest(t *testing.T) { // RFC 3261 §22, RFC 8760 §2.4
	n := startNode(t, func(c *sip.Config) { c.NoAuth = false })
	login := "[authentication username=1002 password=secret]\n"
	stale := `Authorization: Digest username="1002",realm="` + acme + `",cnonce="6b8b4567",nc=00000001,qop=auth,uri="sip:1001@` + acme + `",nonce="AAAAAAAAAAAAAAAAAAAAAAAAAAA",response="00000000000000000000000000000000",algorithm=MD5` + "\n"
	for name, steps := range map[string][]step{
		"a right password": {subscribe(request{cseq: 1, expires: 600}), hear(401, "WWW-Authenticate", "realm=."+acme),
			subscribe(request{cseq: 2, expires: 600, headers: login}), hear(200), told(), answer(200, "")},
		"a wrong password": {subscribe(request{cseq: 1, expires: 600}), hear(401),
			subscribe(request{cseq: 2, expires: 600, headers: "[authentication username=1002 password=wrong]\n"}), hear(401)},
		"a nonce that nobody made": {subscribe(request{cseq: 1, expires: 600, headers: stale}), hear(401, "WWW-Authenticate", "stale=true"),
			subscribe(request{cseq: 2, expires: 600, headers: login}), hear(200), told(), answer(200, "")},
		"a name of another phone": {subscribe(request{cseq: 1, expires: 600}), hear(401),
			subscribe(request{cseq: 2, expires: 600, headers: "[authentication username=1003 password=secret]\n"}), hear(403)},
	} {
		t.Run(name, func(t *testing.T) {
			sipp(t, n.SIP().Addr(sip.UDP), scenario(steps...), "-t", "u1")
		})
	}
}

// watchers waits until an extension has so many subscriptions.
func watchers(t *testing.T, n *node.Node, extension string, want int) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; {
		a := n.Router().Request(context.Background(), actors.Request{To: actors.Address{Realm: acme, User: extension}, Message: presence.Show{}})
		if a.Err == nil && len(a.Subscriptions) == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %d subscriptions, want %d (%v)", extension, len(a.Subscriptions), want, a.Err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestSIPpReboot has a phone come back with a new Call-ID, and two phones share a login.
func TestSIPpReboot(t *testing.T) {
	n := startNode(t, nil)
	boot := func(contact string) {
		sipp(t, n.SIP().Addr(sip.UDP), scenario(subscribe(request{cseq: 1, expires: 600, contact: contact}), hear(200), told(), answer(200, "")), "-t", "u1")
	}
	boot(`<sip:1002@192.0.2.1:5060>;+sip.instance="<urn:uuid:1>"`)
	boot(`<sip:1002@192.0.2.1:5090>;+sip.instance="<urn:uuid:1>"`)
	watchers(t, n, "1001", 1)
	boot(`<sip:1002@192.0.2.2:5060>;+sip.instance="<urn:uuid:2>"`)
	watchers(t, n, "1001", 2)
}

// TestSIPpRefusals has a phone answer NOTIFYs with faults: a final one ends the subscription, others do not.
func TestSIPpRefusals(t *testing.T) { // RFC 6665 §4.2.2
	n := startNode(t, nil)
	for _, code := range []int{481, 489, 408, 500, 491, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			extension := fmt.Sprintf("x%d", code)
			sipp(t, n.SIP().Addr(sip.UDP), scenario(subscribe(request{cseq: 1, expires: 600, target: extension}), hear(200), told(), answer(code, "")), "-t", "u1")
			if (presence.Notified{Reply: code}).Final() {
				watchers(t, n, extension, 0)
				return
			}
			for end := time.Now().Add(10 * time.Second); ; {
				a := n.Router().Request(context.Background(), actors.Request{To: actors.Address{Realm: acme, User: extension}, Message: presence.Show{}})
				if len(a.Subscriptions) != 1 {
					t.Fatalf("%d subscriptions", len(a.Subscriptions))
				}
				if a.Subscriptions[0].Reply == code {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("the reply was not noted: %+v", a.Subscriptions[0])
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// TestSplitAndGlued sends requests over TCP in single bytes, and two in one segment.
func TestSplitAndGlued(t *testing.T) { // RFC 3261 §18.3
	n := startNode(t, nil)
	c, err := net.Dial("tcp", n.SIP().Addr(sip.TCP))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	options := func(i int) string {
		return fmt.Sprintf("OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK%d\r\nFrom: <sip:a@%s>;tag=1\r\nTo: <sip:edge>\r\nCall-ID: o%d\r\nCSeq: %d OPTIONS\r\nContent-Length: 4\r\n\r\nbody", i, acme, i, i)
	}
	for _, b := range []byte(options(1)) {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte(options(2) + "\r\n\r\n" + options(3))); err != nil {
		t.Fatal(err)
	}
	var got string
	buffer := make([]byte, 8192)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for strings.Count(got, "SIP/2.0 200 OK") < 3 {
		k, err := c.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got += string(buffer[:k])
	}
	for i := 1; i <= 3; i++ {
		if !strings.Contains(got, fmt.Sprintf("CSeq: %d OPTIONS", i)) {
			t.Errorf("request %d was not answered:\n%s", i, got)
		}
	}
}
