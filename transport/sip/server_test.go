package sip_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/sip"
	"lamplight/transport/sip/profile"
)

const acme = "acme.example.com"

// startNode starts a node with a SIP edge on UDP and TCP.
func startNode(t *testing.T, change func(*sip.Config)) *node.Node {
	c := nodetest.Config("a", t.TempDir())
	c.SIP = &sip.Config{Name: "edge1", Listen: []sip.Listen{{Transport: sip.UDP, Address: "127.0.0.1:0"}, {Transport: sip.TCP, Address: "127.0.0.1:0"}, {Transport: sip.WS, Address: "127.0.0.1:0"}},
		Profiles: &profile.Table{}}
	if change != nil {
		change(c.SIP)
	}
	n := nodetest.Start(t, c)
	if _, err := n.Directory().Import(context.Background(), directory.Import{Accounts: []map[string]any{{"name": "Acme", "realm": acme}}}); err != nil {
		t.Fatal(err)
	}
	return n
}

// phone is a SIP phone that speaks text.
type phone struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
}

func dial(t *testing.T, network, addr string) *phone {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &phone{t: t, conn: c}
}

func (p *phone) send(text string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next message.
func (p *phone) hear() string {
	p.t.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 65536)
	n, err := p.conn.Read(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b[:n])
}

func header(message, name string) string {
	m := regexp.MustCompile(`(?mi)^` + regexp.QuoteMeta(name) + `: (.*?)\r$`).FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestSmoke(t *testing.T) {
	n := startNode(t, func(c *sip.Config) { c.NoAuth = true })
	p := dial(t, "udp", n.SIP().Addr(sip.UDP))
	sub := func(cseq int, totag string, expires int) string {
		return fmt.Sprintf(`SUBSCRIBE sip:1001@%s SIP/2.0
Via: SIP/2.0/UDP %s;branch=z9hG4bK%d;rport
From: <sip:1002@%s>;tag=f1
To: <sip:1001@%s>%s
Call-ID: smoke@1
CSeq: %d SUBSCRIBE
Contact: <sip:1002@%s>
Event: dialog
Expires: %d
Content-Length: 0

`, acme, p.conn.LocalAddr(), cseq, acme, acme, totag, cseq, p.conn.LocalAddr(), expires)
	}
	p.send(sub(1, "", 600))
	ok := p.hear()
	if !strings.HasPrefix(ok, "SIP/2.0 200 OK") || header(ok, "Expires") != "600" {
		t.Fatal(ok)
	}
	notify := p.hear()
	if !strings.HasPrefix(notify, "NOTIFY sip:1002@"+p.conn.LocalAddr().String()+" SIP/2.0") {
		t.Fatal(notify)
	}
	t.Log(ok, notify)
	_, tag, _ := strings.Cut(header(ok, "To"), ";tag=")
	p.send(fmt.Sprintf("SIP/2.0 200 OK\nVia: %s\nFrom: %s\nTo: %s\nCall-ID: smoke@1\nCSeq: %s\nContent-Length: 0\n\n", header(notify, "Via"), header(notify, "From"), header(notify, "To"), header(notify, "CSeq")))
	p.send(sub(2, ";tag="+tag, 0))
	if ok := p.hear(); !strings.HasPrefix(ok, "SIP/2.0 200 OK") {
		t.Fatal(ok)
	}
	if last := p.hear(); header(last, "Subscription-State") != "terminated;reason=timeout" {
		t.Fatal(last)
	}
	p.send(sub(3, ";tag="+tag, 600))
	if no := p.hear(); !strings.HasPrefix(no, "SIP/2.0 481 ") {
		t.Fatal(no)
	}
}

func TestDigestSmoke(t *testing.T) {
	n := startNode(t, nil)
	ctx := context.Background()
	id, _ := n.Directory().RealmAccount(acme)
	if _, err := n.Directory().Put(ctx, "", directory.Devices, id, "d1", map[string]any{"sip": map[string]any{"username": "1002", "password": "secret"}}, nil); err != nil {
		t.Fatal(err)
	}
	p := dial(t, "tcp", n.SIP().Addr(sip.TCP))
	sub := func(cseq int, auth string) string {
		return fmt.Sprintf("SUBSCRIBE sip:1001@%s SIP/2.0\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%d;rport\nFrom: <sip:1002@%s>;tag=f1\nTo: <sip:1001@%s>\nCall-ID: d@1\nCSeq: %d SUBSCRIBE\nContact: <sip:1002@%s;transport=tcp>\nEvent: dialog\nExpires: 600\n%sContent-Length: 0\n\n",
			acme, p.conn.LocalAddr(), cseq, acme, acme, cseq, p.conn.LocalAddr(), auth)
	}
	p.send(sub(1, ""))
	no := p.hear()
	nonce := regexp.MustCompile(`nonce="(.*?)"`).FindStringSubmatch(no)
	if !strings.HasPrefix(no, "SIP/2.0 401") || nonce == nil {
		t.Fatal(no)
	}
	h := func(s string) string { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }
	uri := "sip:1001@" + acme
	answer := h(h("1002:"+acme+":secret") + ":" + nonce[1] + ":00000001:abc:auth:" + h("SUBSCRIBE:"+uri))
	p.send(sub(2, fmt.Sprintf("Authorization: Digest username=\"1002\", realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, cnonce=\"abc\", nc=00000001, qop=auth\n", acme, nonce[1], uri, answer)))
	if ok := p.hear(); !strings.HasPrefix(ok, "SIP/2.0 200") {
		t.Fatal(ok)
	}
	t.Log(p.hear())
}
