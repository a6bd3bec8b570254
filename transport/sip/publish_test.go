package sip_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/sip"
	"lamplight/transport/sip/phone"
	"lamplight/transport/sip/profile"
)

// trustLoopback has the edge trust every client of this machine.
func trustLoopback(c *sip.Config) { c.Trust = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// publisher is a switch or proxy that publishes from an address of its own.
type publisher struct {
	t         testing.TB
	transport sip.Transport
	conn      net.Conn
	in        *bufio.Reader
}

// response is the answer to a request.
type response struct {
	code    int
	headers textproto.MIMEHeader
	body    string
}

func (r response) tag() string { return r.headers.Get("SIP-ETag") }

func (r response) expires() int { n, _ := strconv.Atoi(r.headers.Get("Expires")); return n }

// publishes connects a publisher at an address of this machine to the edge.
func publishes(t testing.TB, n *node.Node, transport sip.Transport, from string) *publisher {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if transport == sip.UDP {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.DialContext(within(t), transport.String(), n.SIP().Addr(transport))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &publisher{t: t, transport: transport, conn: c, in: bufio.NewReaderSize(c, 64<<10)}
}

// request makes a PUBLISH for 1001.
func (p *publisher) request(event, match string, expires int, kind, body string, more ...string) string {
	return p.about("1001", event, match, expires, kind, body, more...)
}

// about makes a PUBLISH for an extension. expires -1: it has no Expires.
func (p *publisher) about(extension, event, match string, expires int, kind, body string, more ...string) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "PUBLISH sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s;rport\r\n", extension, acme, strings.ToUpper(p.transport.String()), p.conn.LocalAddr(), rand.Text())
	fmt.Fprintf(b, "To: <sip:%s@%s>\r\nFrom: <sip:%s@%s>;tag=%s\r\nCSeq: 10 PUBLISH\r\nCall-ID: %s\r\nMax-Forwards: 70\r\nEvent: %s\r\n", extension, acme, extension, acme, rand.Text()[:8], rand.Text(), event)
	if expires >= 0 {
		fmt.Fprintf(b, "Expires: %d\r\n", expires)
	}
	if match != "" {
		fmt.Fprintf(b, "SIP-If-Match: %s\r\n", match)
	}
	if kind != "" {
		fmt.Fprintf(b, "Content-Type: %s\r\n", kind)
	}
	for _, line := range more {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// send sends requests at once.
func (p *publisher) send(requests ...string) {
	p.t.Helper()
	for _, r := range requests {
		if _, err := p.conn.Write([]byte(r)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// answer reads one response.
func (p *publisher) answer() (r response) {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	in := p.in
	if p.transport == sip.UDP {
		data := make([]byte, 64<<10)
		n, err := p.conn.Read(data)
		if err != nil {
			p.t.Fatal(err)
		}
		in = bufio.NewReader(strings.NewReader(string(data[:n])))
	}
	text := textproto.NewReader(in)
	line, err := text.ReadLine()
	if err == nil {
		_, err = fmt.Sscanf(line, "SIP/2.0 %d", &r.code)
	}
	if err == nil {
		r.headers, err = text.ReadMIMEHeader()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	n, _ := strconv.Atoi(r.headers.Get("Content-Length"))
	body := make([]byte, n)
	_, _ = io.ReadFull(in, body)
	r.body = string(body)
	return r
}

// ask sends a PUBLISH of dialogs of 1001 and returns the answer.
func (p *publisher) ask(match string, expires int, body string) response {
	p.t.Helper()
	kind := ""
	if body != "" {
		kind = "application/dialog-info+xml"
	}
	p.send(p.request("dialog", match, expires, kind, body))
	return p.answer()
}

// taken is ask for a PUBLISH that must be answered 200. It returns the new entity-tag.
func (p *publisher) taken(match string, expires int, body string) string {
	p.t.Helper()
	r := p.ask(match, expires, body)
	if r.code != 200 || r.tag() == "" || r.tag() == match || r.expires() != expires || !strings.Contains(r.headers.Get("To"), ";tag=") {
		p.t.Fatalf("answered %d %v", r.code, r.headers)
	}
	return r.tag()
}

// doc is a full dialog-info document.
func doc(dialogs ...string) string { return document("full", dialogs...) }

func document(state string, dialogs ...string) string {
	return `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="` + state + `" entity="sip:1001@` + acme + `">` + strings.Join(dialogs, "") + `</dialog-info>`
}

// one is an element dialog of a call.
func one(id, callID, state string, more ...string) string {
	return `<dialog id="` + id + `" call-id="` + callID + `" direction="recipient" ` + strings.Join(more, " ") + `><state>` + state + `</state></dialog>`
}

// hint is an element dialog as Asterisk publishes it.
func hint(state string) string { return `<dialog id="1001"><state>` + state + `</state></dialog>` }

// lamp is what a document shows, in the order of importance: the state and Call-ID of each dialog.
func lamp(n *phone.Notify) string {
	var all []string
	for _, m := range regexp.MustCompile(`call-id="([^"]*)"[^>]*>\s*<state>([a-z]+)`).FindAllStringSubmatch(n.Body, -1) {
		if m[2] != "terminated" { // a profile may show an idle extension so
			all = append(all, m[2]+" "+m[1])
		}
	}
	return strings.Join(all, ", ")
}

// until waits until a watcher was told this lamp.
func until(t testing.TB, s *phone.Subscription, want string) {
	t.Helper()
	if _, err := s.Until(within(t), func(n *phone.Notify) bool { return lamp(n) == want }); err != nil {
		last := ""
		if n := s.Latest(); n != nil {
			last = n.Body
		}
		t.Fatalf("%q was not told: %v; the last one is\n%s", want, err, last)
	}
}

// showAll has the edge trust the proxies of this machine, and show all dialogs to every phone.
func showAll(c *sip.Config) {
	trustLoopback(c)
	var err error
	if c.Profiles, err = profile.Load("testdata/all.yaml"); err != nil {
		panic(err)
	}
}

// over runs a test over UDP and TCP, with a watcher of 1001 and a publisher that the edge trusts.
func over(t *testing.T, test func(t *testing.T, p *publisher, s *phone.Subscription, n *node.Node)) {
	t.Parallel()
	for _, transport := range []sip.Transport{sip.UDP, sip.TCP} {
		t.Run(transport.String(), func(t *testing.T) {
			t.Parallel()
			n := startNode(t, showAll)
			s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
			test(t, publishes(t, n, transport, "127.0.0.2"), s, n)
		})
	}
}

// The seven PUBLISHes of one call that Kamailio's pua_dialoginfo sends, of which the callee's lamp sees four.
func TestPublishACall(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, _ *node.Node) {
		tags := `local-tag="lt" remote-tag="rt"`
		tag := p.taken("", 301, doc(one("padi-1", "k1", "Trying")))
		until(t, s, "trying k1")
		tag = p.taken(tag, 301, doc(one("padi-1", "k1", " early ", tags)))
		until(t, s, "early k1")
		tag = p.taken(tag, 301, doc(one("padi-1", "k1", "confirmed")))
		until(t, s, "confirmed k1")
		if !contains(s.Latest().Body, tags) {
			t.Errorf("the tags are gone: %s", s.Latest().Body)
		}
		tag = p.taken(tag, 301, doc(one("padi-1", "k1", "confirmed"))) // a re-INVITE
		tag = p.taken(tag, 11, doc(one("padi-1", "k1", "terminated")))
		until(t, s, "")
		if r := p.ask("", 301, doc(one("padi-1", "k1", "early"))); r.code != 200 { // overtaken on the way
			t.Errorf("answered %d", r.code)
		}
		_ = p.taken(tag, 60, "")
		p.taken("", 60, doc(one("padi-2", "k2", "confirmed")))
		until(t, s, "confirmed k2") // and not early: k1 stays dark
	})
}

// RFC 3903 §4.1, §6: refresh, modify, remove, and what is refused.
func TestRFC3903(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, n *node.Node) {
		first := p.taken("", 60, doc(one("a", "k1", "early"), one("b", "k2", "confirmed")))
		until(t, s, "early k1, confirmed k2")
		second := p.taken(first, 120, "") // refresh
		if r := p.ask(first, 60, ""); r.code != 412 {
			t.Errorf("a stale entity-tag was answered %d", r.code)
		}
		if r := p.ask("never", 0, ""); r.code != 412 {
			t.Errorf("an unknown entity-tag was answered %d", r.code)
		}
		third := p.taken(second, 60, document("partial", one("c", "k3", "confirmed"), one("a", "k1", "terminated")))
		until(t, s, "confirmed k2, confirmed k3")
		fourth := p.taken(third, 60, doc(one("c", "k3", "confirmed")))
		until(t, s, "confirmed k3")
		p.taken(fourth, 0, "")
		until(t, s, "")
		if r := p.ask(fourth, 60, ""); r.code != 412 {
			t.Errorf("a removed publication was answered %d", r.code)
		}
		last := p.taken("", 60, doc(one("d", "k4", "early"), one("e", "k5", "confirmed")))
		until(t, s, "early k4, confirmed k5")
		p.taken(last, 0, doc(one("d", "k4", "terminated"))) // with a body
		until(t, s, "")

		for name, c := range map[string]struct {
			request string
			code    int
			header  string
		}{
			"event":              {p.request("as-feature-event", "", 60, "text/plain", "x"), 489, "Allow-Events: dialog, presence, message-summary"},
			"content type":       {p.request("dialog", "", 60, "application/pidf+xml", "<presence/>"), 415, "Accept: application/dialog-info+xml"},
			"content encoding":   {p.request("dialog", "", 60, "application/dialog-info+xml", "x", "Content-Encoding: gzip"), 415, "Accept-Encoding: identity"},
			"body":               {p.request("dialog", "", 60, "application/dialog-info+xml", "<presence/>"), 400, `Warning: 399 edge1 "the root element is 'presence'`},
			"no body":            {p.request("dialog", "", 60, "", ""), 400, ""},
			"extension":          {p.request("dialog", "", 60, "application/dialog-info+xml", doc(), "Require: x"), 420, "Unsupported: x"},
			"Expires":            {p.request("dialog", "", -1, "application/dialog-info+xml", doc(), "Expires: soon"), 400, ""},
			"long Expires":       {p.request("dialog", "", 43200, "application/dialog-info+xml", doc()), 200, "Expires: 3600"},
			"no Expires":         {p.request("dialog", "", -1, "application/dialog-info+xml", doc()), 200, "Expires: 3600"},
			"no account":         {strings.ReplaceAll(p.request("dialog", "", 60, "application/dialog-info+xml", doc()), acme, "none.example.com"), 404, ""},
			"of another realm's": {p.request("dialog", "", 60, "application/dialog-info+xml", doc(), "X-Lamplight-User: 1001@other.example.com"), 403, ""},
		} {
			p.send(c.request)
			header, value, _ := strings.Cut(c.header, ": ")
			if r := p.answer(); r.code != c.code || !strings.HasPrefix(r.headers.Get(header), value) {
				t.Errorf("%s: answered %d %v", name, r.code, r.headers)
			}
		}
	})
}

// A publisher that sends a second PUBLISH before it has the answer to the first: both are new publications of one dialog.
func TestTwoPublishesInFlight(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, _ *node.Node) {
		const kind = "application/dialog-info+xml"
		p.send(p.request("dialog", "", 60, kind, doc(one("d", "k", "early"))), p.request("dialog", "", 60, kind, doc(one("d", "k", "confirmed"))))
		a, b := p.answer(), p.answer()
		if a.code != 200 || b.code != 200 || a.tag() == b.tag() {
			t.Fatalf("%v %v", a, b)
		}
		until(t, s, "confirmed k")
		p.taken(a.tag(), 0, "") // the other one reports it still
		tag := p.taken(b.tag(), 60, "")
		p.taken("", 60, doc(one("x", "k2", "confirmed")))
		until(t, s, "confirmed k, confirmed k2")
		p.send(p.request("dialog", tag, 60, "", ""), p.request("dialog", tag, 60, kind, doc(one("d", "k", "terminated"))))
		codes := map[int]int{p.answer().code: 1}
		codes[p.answer().code]++
		if codes[200] != 1 || codes[412] != 1 {
			t.Fatalf("answered %v", codes)
		}
		p.taken("", 11, doc(one("d", "k", "terminated"))) // after 412, the same body again
		until(t, s, "confirmed k2")
	})
}

// OpenSIPS: each fork has an id and a publication of its own. One is answered.
func TestPublishedForks(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, _ *node.Node) {
		f1 := p.taken("", 60, document("partial", one("k.01", "k", "early", `local-tag="1"`)))
		f2 := p.taken("", 60, document("partial", one("k.02", "k", "early", `local-tag="2"`)))
		until(t, s, "early k, early k")
		f2 = p.taken(f2, 60, document("partial", one("k.02", "k", "confirmed", `local-tag="2"`)))
		until(t, s, "confirmed k")
		p.taken(f1, 11, document("partial", one("k.01", "k", "terminated")))
		p.taken("", 60, doc(one("x", "k2", "confirmed")))
		until(t, s, "confirmed k, confirmed k2")
		p.taken(f2, 11, document("partial", one("k.02", "k", "terminated")))
		until(t, s, "confirmed k2")
	})
}

// A proxy that was started again keeps its address, and has forgotten its entity-tags.
func TestPublisherRestarts(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, n *node.Node) {
		p.taken("", 3600, doc(one("d", "k", "early")))
		until(t, s, "early k")
		again := publishes(t, n, p.transport, "127.0.0.2")
		tag := again.taken("", 60, doc(one("d", "k", "confirmed")))
		until(t, s, "confirmed k")
		again.taken(tag, 11, doc(one("d", "k", "terminated")))
		until(t, s, "")
		// Another proxy of the farm has another address, and its dialogs are its own.
		other := publishes(t, n, p.transport, "127.0.0.3")
		other.taken("", 60, doc(one("d", "k", "early")))
		until(t, s, "early k")
	})
}

// When a publisher dies, the lamp goes out.
func TestLapsePutsTheLampOut(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, _ *node.Node) {
		p.taken("", 2, doc(one("d", "k", "early"), hint("confirmed")))
		if n, err := s.Until(within(t), func(n *phone.Notify) bool { return strings.HasPrefix(lamp(n), "early k, confirmed ") }); err != nil {
			t.Fatal(n, err)
		}
		until(t, s, "")
	})
}

// Asterisk: the id is the extension's name, for ever.
func TestPublishedHint(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, _ *node.Node) {
		tag := ""
		for _, state := range []string{"early", "terminated", "confirmed", "terminated", "early"} {
			tag = p.taken(tag, 3600, doc(hint(state)))
			if n, err := s.Until(within(t), func(n *phone.Notify) bool {
				l := lamp(n)
				return state == "terminated" && l == "" || strings.HasPrefix(l, state+" ")
			}); err != nil {
				t.Fatal(state, n, err)
			}
		}
	})
}

// A copy of a PUBLISH on UDP is answered as the first one was, and done once.
func TestRepeatedPublishOnUDP(t *testing.T) {
	n := startNode(t, trustLoopback)
	s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
	p := publishes(t, n, sip.UDP, "127.0.0.2")
	tag := p.taken("", 60, doc(one("d", "k", "early")))
	request := p.request("dialog", tag, 60, "application/dialog-info+xml", doc(one("d", "k", "confirmed")))
	p.send(request)
	first := p.answer()
	p.send(request)
	if second := p.answer(); first.code != 200 || second.code != 200 || second.tag() != first.tag() || second.headers.Get("To") != first.headers.Get("To") || second.expires() != 60 {
		t.Errorf("%v\n%v", first, second)
	}
	until(t, s, "confirmed k")
	p.taken(first.tag(), 0, "")
	until(t, s, "")
}

// RFC 3863 and RFC 3842: registrations and counts.
func TestPublishOtherPackages(t *testing.T) {
	n := startNode(t, trustLoopback)
	d := dial(t, n, sip.TCP)
	status, counts, key := watch(t, d, "1001", "presence"), watch(t, d, "1001", "message-summary"), watch(t, d, "*981001", "dialog")
	p := publishes(t, n, sip.TCP, "127.0.0.2")
	pidf := func(basic string) string {
		return `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:1001@` + acme + `"><tuple id=""><status><basic>` + basic + `</basic></status></tuple></presence>`
	}
	tag := ""
	for _, basic := range []string{"closed", "open"} {
		p.send(p.request("presence", tag, 3600, "application/pidf+xml", pidf(basic)))
		r := p.answer()
		if tag = r.tag(); r.code != 200 {
			t.Fatal(r)
		}
		shows(t, status, "<basic>"+basic)
	}
	p.send(p.request("presence", tag, 0, "", "")) // withdrawn, and nobody says open any more
	if r := p.answer(); r.code != 200 {
		t.Fatal(r)
	}
	shows(t, status, "<basic>closed")
	const kind = "application/simple-message-summary"
	p.send(p.request("message-summary", "", 3600, kind, "Messages-Waiting: yes\r\nMessage-Account: sip:1001@"+acme+"\r\nVoice-Message: 2/8 (1/0)\r\n"))
	r := p.answer()
	shows(t, counts, "Voice-Message: 2/8 (1/0)")
	shows(t, key, "<state>confirmed")
	p.send(p.request("message-summary", r.tag(), 3600, kind, "Messages-Waiting: no\r\nVoice-Message: 0/10\r\n"))
	if r := p.answer(); r.code != 200 {
		t.Fatal(r)
	}
	shows(t, counts, "Voice-Message: 0/10")
	until(t, key, "")
}

// A phone authenticates by digest, publishes as its address of record, and only for its own extensions.
func TestPhonePublishesForItself(t *testing.T) {
	n := startNode(t, func(*sip.Config) {})
	devices := []any{map[string]any{"presence_id": "7001", "owner_id": strings.Repeat("a", 32), "sip": map[string]any{"username": "desk", "password": "secret"}}}
	users := []any{map[string]any{"id": strings.Repeat("a", 32), "first_name": "A", "last_name": "B", "presence_id": "7002@" + acme}}
	if _, err := n.Directory().Import(context.Background(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": acme, "users": users, "devices": devices}}}); err != nil {
		t.Fatal(err)
	}
	s := watch(t, dial(t, n, sip.TCP), "1001", "dialog")
	p := publishes(t, n, sip.TCP, "127.0.0.1")
	count := 0
	// publish sends a PUBLISH twice: without and with credentials.
	publish := func(user, extension, match string, expires int, body string) response {
		t.Helper()
		request := strings.Replace(p.about(extension, "dialog", match, expires, "application/dialog-info+xml", body), "From: <sip:"+extension+"@", "From: <sip:"+user+"@", 1)
		p.send(request)
		r := p.answer()
		if r.code != 401 {
			t.Fatalf("not challenged: %v", r)
		}
		nonce := regexp.MustCompile(`nonce="([^"]*)"`).FindStringSubmatch(r.headers.Get("WWW-Authenticate"))[1]
		uri := "sip:" + extension + "@" + acme
		count++
		nc := fmt.Sprintf("%08x", count)
		ha1 := sip.HashPassword(user, acme, "secret")[sip.MD5]
		ha2 := sip.MD5.HA1("PUBLISH", uri[:3], uri[4:]) // MD5 of METHOD:uri
		answer := sip.MD5.HA1(ha1, nonce+":"+nc+":c:auth", ha2)
		p.send(strings.Replace(request, "CSeq: 10", fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=%s, cnonce=\"c\"\r\nCSeq: 11",
			user, acme, nonce, uri, answer, nc), 1))
		return p.answer()
	}
	r := publish("1001", "1001", "", 600, doc(one("d", "k", "confirmed")))
	if r.code != 200 || r.expires() != 600 {
		t.Fatal(r)
	}
	until(t, s, "confirmed k")
	if r := publish("1002", "1001", "", 600, doc(one("d", "k", "terminated"))); r.code != 403 {
		t.Errorf("for another one's extension: %v", r)
	}
	if r := publish("1001", "1001", r.tag(), 30, doc()); r.code != 423 || r.headers.Get("Min-Expires") != "60" {
		t.Errorf("30 s: %v", r)
	}
	for extension, code := range map[string]int{"desk": 200, "7001": 200, "7002": 200, "7003": 403} {
		if r := publish("desk", extension, "", 600, doc()); r.code != code {
			t.Errorf("desk for %s: %v", extension, r)
		}
	}
}

// A proxy that has authenticated a phone says so: the phone publishes as itself, whatever proxy it came through.
func TestProxyNamesThePhone(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, n *node.Node) {
		const kind, named = "application/dialog-info+xml", "X-Lamplight-User: 1001"
		other := publishes(t, n, p.transport, "127.0.0.3")
		p.send(p.request("dialog", "", 60, kind, doc(one("d", "k", "early")), named))
		tag := p.answer().tag()
		until(t, s, "early k")
		other.send(other.request("dialog", tag, 60, kind, doc(one("d", "k", "terminated")), named))
		if r := other.answer(); r.code != 200 {
			t.Fatal(r)
		}
		until(t, s, "")
		p.send(p.about("1002", "dialog", "", 60, kind, doc(), named))
		if r := p.answer(); r.code != 403 {
			t.Errorf("1001 published for 1002: %v", r)
		}
	})
}

// RFC 4235 §4.1.6: a call is held and taken up again, by PUBLISH and by news of the node. A phone is told each time, and the lamp stays.
func TestHeldCall(t *testing.T) {
	over(t, func(t *testing.T, p *publisher, s *phone.Subscription, n *node.Node) {
		const held = `<target uri="sip:1001@acme.example.com"><param pname="+sip.rendering" pval="no"/></target></local>`
		talking := func(param string) string {
			return `<dialog id="d" call-id="k" direction="recipient"><state>confirmed</state><local><target uri="sip:1001@acme.example.com">` + param + `</target></local></dialog>`
		}
		told := func(want bool) {
			t.Helper()
			if _, err := s.Until(within(t), func(n *phone.Notify) bool { return lamp(n) == "confirmed k" && contains(n.Body, held) == want }); err != nil {
				t.Fatal(err)
			}
		}
		tag := p.taken("", 60, doc(talking("")))
		told(false)
		tag = p.taken(tag, 60, doc(talking(`<param pname="+sip.rendering" pval="no"/>`)))
		told(true)
		tag = p.taken(tag, 60, doc(talking("")))
		told(false)
		p.taken(tag, 0, "")
		until(t, s, "")
		for _, r := range []presence.Rendering{presence.RenderingUnknown, presence.NotRendered, presence.Rendered} {
			news(t, n, presence.CallEvent{CallID: "k", State: presence.Confirmed, Rendering: r, From: "1001@" + acme, To: "1002@" + acme})
			told(r == presence.NotRendered)
		}
	})
}
