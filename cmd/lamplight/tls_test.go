package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// authority is a certificate authority of the test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue makes a certificate for 127.0.0.1, good for servers and clients.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", secret)
}

// A node and the commands speak TLS with NATS, and both sides check the other's certificate. With a wrong CA, or without a client
// certificate, they fail and say what to do.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ours"), newAuthority(t, "another")
	cert, key := ca.issue("nats")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true, TLSTimeout: 5,
		TLS: true, TLSVerify: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	url := "tls://" + s.Addr().String()
	mine, secret := ca.issue("node")
	theirs, theirSecret := other.issue("node")
	node := []string{"serve", "--data", t.TempDir(), "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--nats", url}
	with := func(more ...string) []string { return append(append([]string{}, node...), more...) }
	fails(t, "--nats-tls-ca", with("--nats-tls-cert", mine, "--nats-tls-key", secret)...)
	fails(t, "--nats-tls-ca", with("--nats-tls-ca", other.file, "--nats-tls-cert", mine, "--nats-tls-key", secret)...)
	fails(t, "--nats-tls-cert", with("--nats-tls-ca", ca.file)...)
	fails(t, "--nats-tls-cert", with("--nats-tls-ca", ca.file, "--nats-tls-cert", theirs, "--nats-tls-key", theirSecret)...)
	fails(t, "go together", with("--nats-tls-ca", ca.file, "--nats-tls-cert", mine)...)

	good := []string{"--nats", url, "--nats-tls-ca", ca.file, "--nats-tls-cert", mine, "--nats-tls-key", secret}
	p := start(t, t.TempDir(), good...)
	p.await(nats.RootCAs(ca.file), nats.ClientCert(mine, secret))
	p.lamplight(append([]string{"import", "../../docs/examples/acme.json"}, good...)...)
	p.subscribe("1001", subscription("c1"))
	if out := p.lamplight(append([]string{"presence", "list", "--realm", realm}, good...)...); out == "" {
		t.Error("presence list says nothing")
	}
}
