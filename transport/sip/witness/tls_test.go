package witness

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
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

// authority is a CA of a test, in files and in memory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	_, a.key = a.issue("ca", a.cert, nil)
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate and writes NAME.pem and NAME.key.
func (a *authority) issue(name string, c *x509.Certificate, by *ecdsa.PrivateKey) (tls.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	if c == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, key
}

// named issues a certificate for a name and the loopback address.
func (a *authority) named(name string) tls.Certificate {
	a.t.Helper()
	pair, _ := a.issue(name, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.key)
	return pair
}

// trustedName is the name in the certificate of a switch that the edge trusts.
const trustedName = "switch.example.com"

// startSecured starts a node with a SIP edge on TLS and WSS, which authenticates phones and trusts the switch's certificate.
func startSecured(t *testing.T) (*node.Node, *authority) {
	t.Helper()
	a := newAuthority(t)
	pair := a.named("edge.example.com")
	return startNode(t, func(c *sip.Config) {
		for _, transport := range []sip.Transport{sip.TLS, sip.WSS} {
			c.Listen = append(c.Listen, sip.Listen{Transport: transport, Address: "127.0.0.1:0"})
		}
		c.NoAuth, c.TrustCerts = false, []string{trustedName}
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven}
		c.TLSClient = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.pool}
	}), a
}

// secured connects a phone over TLS or WSS, and subscribes 1002 to the calls of 1001.
func secured(ctx context.Context, n *node.Node, a *authority, transport sip.Transport) (*phone.Phone, *phone.Subscription, error) {
	p, err := phone.Dial(ctx, phone.Config{Server: n.SIP().Addr(transport), Transport: transport, TLS: &tls.Config{RootCAs: a.pool}})
	if err != nil {
		return nil, nil, err
	}
	s, err := p.Subscribe(ctx, phone.Subscribe{Watcher: "1002@" + acme, Password: "secret", Target: "1001@" + acme, Package: "dialog", Expires: 600})
	return p, s, err
}

// TestSecured watches a call over TLS and WSS.
func TestSecured(t *testing.T) { // RFC 3261 §26.2.1, RFC 7118
	n, a := startSecured(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, transport := range []sip.Transport{sip.TLS, sip.WSS} {
		p, s, err := secured(ctx, n, a, transport)
		if err != nil {
			t.Fatal(transport, err)
		}
		defer func() { _ = p.Close() }()
		call := presence.CallEvent{CallID: "call-" + transport.String(), Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme}
		for _, call.State = range []presence.State{presence.Early, presence.Confirmed, presence.Terminated} {
			tell(t, n, call)
			if _, err := s.Until(ctx, func(n *phone.Notify) bool { return strings.Contains(n.Body, "<state>"+call.State.String()) }); err != nil {
				t.Fatal(transport, err)
			}
		}
		if err := s.Refresh(ctx, 0); err != nil {
			t.Fatal(transport, err)
		}
	}
	if _, err := phone.Dial(ctx, phone.Config{Server: n.SIP().Addr(sip.TLS), Transport: sip.TLS, TLS: &tls.Config{RootCAs: x509.NewCertPool()}}); err == nil {
		t.Error("a phone that trusts no CA took the edge's certificate")
	}
}

// TestJavaScriptSecured has JsSIP and SIP.js watch a call over WSS.
func TestJavaScriptSecured(t *testing.T) { // RFC 7118
	n, a := startSecured(t)
	for _, name := range []string{"jssip.cjs", "sipjs.cjs"} {
		s := run(t, name, "wss://"+n.SIP().Addr(sip.WSS), "NODE_EXTRA_CA_CERTS="+filepath.Join(a.dir, "ca.pem"))
		call := presence.CallEvent{CallID: name, Direction: presence.Recipient, From: "1001@" + acme, To: "2125550100@" + acme, State: presence.Early}
		s.until("the first NOTIFY", func(h heard) bool { return h.What == "notify" && h.Event == "dialog" })
		tell(t, n, call)
		s.until("a call that rings", func(h heard) bool { return h.Event == "dialog" && strings.Contains(h.Body, "<state>early</state>") })
		call.State = presence.Terminated
		tell(t, n, call)
	}
}

// TestCertificatePublishes has OpenSSL's client publish a call over TLS with the certificate of a switch that the edge trusts, and in vain with
// another one of the same CA.
func TestCertificatePublishes(t *testing.T) { // RFC 3903
	path, err := exec.LookPath("openssl")
	need.Met(t, err == nil, "openssl (Debian: openssl)")
	n, a := startSecured(t)
	a.named(trustedName)
	a.named("other.example.com")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	p, s, err := secured(ctx, n, a, sip.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for name, code := range map[string]string{"other.example.com": "401", trustedName: "200"} {
		cmd := exec.CommandContext(ctx, path, "s_client", "-connect", n.SIP().Addr(sip.TLS), "-quiet", "-verify_return_error", "-CAfile", filepath.Join(a.dir, "ca.pem"),
			"-cert", filepath.Join(a.dir, name+".pem"), "-key", filepath.Join(a.dir, name+".key"))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out := start(t, cmd)
		body := `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:1001@` + acme + `"><dialog id="d" call-id="` + name + `" direction="recipient"><state>early</state></dialog></dialog-info>`
		if _, err := fmt.Fprintf(in, "PUBLISH sip:1001@%[1]s SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKp;rport\r\nFrom: <sip:1001@%[1]s>;tag=1\r\nTo: <sip:1001@%[1]s>\r\nCall-ID: p\r\nCSeq: 1 PUBLISH\r\nMax-Forwards: 70\r\n"+
			"Event: dialog\r\nExpires: 60\r\nContent-Type: application/dialog-info+xml\r\nContent-Length: %[2]d\r\n\r\n%[3]s", acme, len(body), body); err != nil {
			t.Fatal(err)
		}
		prints(t, out, 0, "SIP/2.0 "+code+" ")
	}
	got, err := s.Until(ctx, func(n *phone.Notify) bool { return strings.Contains(n.Body, "<state>early") })
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got.Body, trustedName) {
		t.Errorf("the document is\n%s", got.Body)
	}
}

// TestHalfOpenHandshakes has a phone connect and subscribe beside 200 connections whose TLS handshakes were begun and do not go on.
func TestHalfOpenHandshakes(t *testing.T) {
	n, a := startSecured(t)
	for i := range 200 {
		c, err := net.Dial("tcp", n.SIP().Addr(sip.TLS))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if i%2 == 0 { // the other half says nothing at all
			_ = tls.Client(deaf{c}, &tls.Config{ServerName: "localhost"}).Handshake()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // less than the time that the edge gives a handshake
	defer cancel()
	p, _, err := secured(ctx, n, a, sip.TLS)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
}

// deaf is a connection that hears nothing.
type deaf struct{ net.Conn }

func (deaf) Read([]byte) (int, error) { return 0, net.ErrClosed }
func (deaf) Close() error             { return nil }
