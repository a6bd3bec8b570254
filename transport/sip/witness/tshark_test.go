package witness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cmd/lamplight/node"
	"lamplight/tools/need"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
)

// proxyHost is the address of Kamailio where the edge trusts the proxy and no phone.
const proxyHost = "127.0.0.2"

// capture has tshark record what goes over the loopback interface from and to some ports. The function that it returns ends the recording
// and returns its file.
func capture(t *testing.T, n *node.Node, ports ...string) func() string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	need.Met(t, err == nil, "tshark (Debian: tshark)")
	need.Met(t, os.Geteuid() == 0, "the right to capture packets (root)")
	file := filepath.Join(t.TempDir(), "run.pcapng")
	out := start(t, exec.Command(path, "-i", "lo", "-q", "-w", file, "-f", "port "+strings.Join(ports, " or port ")))
	prints(t, out, 0, "Capture started")
	return func() string {
		t.Helper()
		last, err := net.Dial("udp", n.SIP().Addr(sip.UDP))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = last.Close() }()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if text, _ := os.ReadFile(file); bytes.Contains(text, []byte("the-last-one")) {
				return file
			}
			_, _ = fmt.Fprintf(last, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKlast\r\nFrom: <sip:a@%[1]s>;tag=1\r\nTo: <sip:%[1]s>\r\nCall-ID: the-last-one\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n", acme, last.LocalAddr())
		}
		t.Fatal("the recording does not come to its end")
		return ""
	}
}

// decode has tshark read a recording, and returns some fields of each packet that the filter selects. A field of several messages in one
// packet has several values.
func decode(t *testing.T, file string, ports []string, filter string, fields ...string) (packets [][][]string) {
	t.Helper()
	args := []string{"-r", file, "-2", "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|", "-Y", filter,
		"-d", "media_type==application/dialog-info+xml,xml"} // Wireshark does not know this type
	for _, port := range ports {
		args = append(args, "-d", "udp.port=="+port+",sip", "-d", "tcp.port=="+port+",sip")
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, errs.String())
	}
	for line := range strings.Lines(string(text)) {
		var p [][]string
		for _, value := range strings.Split(strings.TrimRight(line, "\n"), "\t") {
			var all []string
			if value != "" {
				all = strings.Split(value, "|")
			}
			p = append(p, all)
		}
		packets = append(packets, p)
	}
	return packets
}

// TestTshark records a whole run, direct and through Kamailio, and has Wireshark's dissectors decode it.
func TestTshark(t *testing.T) {
	n := startNode(t, func(c *sip.Config) {
		c.NoAuth, c.Trust = false, []netip.Prefix{netip.MustParsePrefix(proxyHost + "/32")}
	})
	front := frontAt(t, proxyHost+":"+freePort(t), n.SIP().Addr(sip.UDP))
	s := publishesFrom(t, proxyHost, n, sip.UDP, nil)
	var ports []string
	for _, addr := range []string{n.SIP().Addr(sip.UDP), n.SIP().Addr(sip.TCP), front, s.addr} {
		_, port, _ := net.SplitHostPort(addr)
		ports = append(ports, port)
	}
	done := capture(t, n, ports...)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	told := 0
	for i, c := range []struct {
		server    string
		transport sip.Transport
	}{{n.SIP().Addr(sip.UDP), sip.UDP}, {n.SIP().Addr(sip.TCP), sip.TCP}, {front, sip.UDP}, {front, sip.TCP}} {
		p, err := phone.Dial(ctx, phone.Config{Server: c.server, Transport: c.transport, UserAgent: "Witness"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Close() }()
		for _, eventPackage := range []string{"dialog", "presence", "message-summary"} {
			s, err := p.Subscribe(ctx, phone.Subscribe{Watcher: "1002@" + acme, Password: "secret", Target: "1001@" + acme, Package: eventPackage, Expires: 600})
			if err != nil {
				t.Fatal(err)
			}
			until := func(state, text string) {
				t.Helper()
				if _, err := s.Until(ctx, func(n *phone.Notify) bool { return n.State == state && strings.Contains(n.Body, text) }); err != nil {
					t.Fatal(err)
				}
				told++
			}
			call := presence.CallEvent{CallID: fmt.Sprint("call-", i, eventPackage), Direction: presence.Recipient, From: `"O'Neill & <Söhne>" <1001@` + acme + `>`, To: "2125550100@" + acme}
			switch eventPackage {
			case "dialog":
				for _, call.State = range []presence.State{presence.Early, presence.Confirmed, presence.Terminated} {
					tell(t, n, call)
					until("active", "<state>"+call.State.String())
				}
			case "presence":
				until("active", "<basic>open")
				call.State = presence.Confirmed
				tell(t, n, call)
				until("active", "on-the-phone")
				call.State = presence.Terminated
				tell(t, n, call)
			case "message-summary":
				tell(t, n, presence.MailboxEvent{Source: "1001@" + acme, New: uint32(i + 1)})
				until("active", fmt.Sprintf("Voice-Message: %d/0", i+1))
			}
			if err := s.Refresh(ctx, 600); err != nil {
				t.Fatal(err)
			}
			if err := s.Refresh(ctx, 0); err != nil {
				t.Fatal(err)
			}
			until("terminated", "")
		}
	}
	s.callee("1001")
	s.calls(ringing, talk, bye)
	sent := metric(t, n, "lamplight_sip_notifies_total", "")
	file := done()

	for _, p := range decode(t, file, ports, "_ws.malformed or _ws.expert.severity >= 6291456 or (sip and _ws.expert.group == 0x07000000)", "frame.number", "_ws.expert.message", "sip.Request-Line", "sip.Status-Line") {
		t.Errorf("tshark complains of packet %v", p)
	}
	_, udp, _ := net.SplitHostPort(n.SIP().Addr(sip.UDP))
	_, tcp, _ := net.SplitHostPort(n.SIP().Addr(sip.TCP))
	notifies, documents := 0, 0
	for _, p := range decode(t, file, ports, "sip.Method == \"NOTIFY\" and (udp.srcport == "+udp+" or tcp.srcport == "+tcp+")",
		"sip.Method", "sip.Content-Type", "sip.Event", "sip.Subscription-State", "xml.xmlpi.xml.version", "xml.unknown", "frame.number") {
		notifies += len(p[0])
		xml := 0
		for _, kind := range p[1] {
			if strings.HasSuffix(kind, "+xml") {
				xml++
			}
		}
		documents += xml
		if len(p[2]) != len(p[0]) || len(p[3]) != len(p[0]) || len(p[4]) != xml || len(p[5]) != 0 {
			t.Errorf("tshark finds no Event, no Subscription-State or no good XML document in a NOTIFY: %v", p)
		}
	}
	if notifies != sent || notifies < told || documents < notifies/2 {
		t.Errorf("tshark finds %d NOTIFYs, and %d XML documents in them; the edge sent %d", notifies, documents, sent)
	}
	for filter, least := range map[string]int{
		"sip.Method == \"SUBSCRIBE\"": 36, "sip.Method == \"PUBLISH\"": 7, "sip.ETag": 7, "sip.If_Match": 4, "sip.Status-Code == 401": 12, "sip.auth.qop == \"auth\"": 24, "sip.Record-Route and sip.Status-Code == 200": 12, "tcp and sip": 60,
	} {
		if got := len(decode(t, file, ports, filter, "frame.number")); got < least {
			t.Errorf("tshark finds %d packets of %s, and not at least %d", got, filter, least)
		}
	}
}
