package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"lamplight/cluster/directory"
	"lamplight/cluster/natsd"
	"lamplight/cluster/subject"
	"lamplight/transport/sip"
	"lamplight/transport/sip/profile"
)

// sipFlags are the flags of a SIP edge, in a node and alone.
type sipFlags struct {
	UDP        []string `name:"sip-udp" placeholder:"HOST:PORT" help:"Where the SIP edge listens on UDP. Without any of the --sip- addresses there is no edge."`
	TCP        []string `name:"sip-tcp" placeholder:"HOST:PORT" help:"Where the SIP edge listens on TCP."`
	TLS        []string `name:"sip-tls" placeholder:"HOST:PORT" help:"Where the SIP edge listens on TLS. Needs --sip-tls-cert."`
	WS         []string `name:"sip-ws" placeholder:"HOST:PORT" help:"Where the SIP edge listens for WebSockets."`
	WSS        []string `name:"sip-wss" placeholder:"HOST:PORT" help:"Where the SIP edge listens for WebSockets on TLS. Needs --sip-tls-cert."`
	Cert       string   `name:"sip-tls-cert" type:"existingfile" placeholder:"FILE" help:"The certificate of --sip-tls and --sip-wss (PEM, with the certificates between it and the CA). It goes together with --sip-tls-key."`
	Key        string   `name:"sip-tls-key" type:"existingfile" placeholder:"FILE" help:"The private key of --sip-tls-cert (PEM)."`
	CA         string   `name:"sip-tls-ca" type:"existingfile" placeholder:"FILE" help:"The CAs (PEM) whose client certificates are taken for --trust-cert, and whose server certificates the edge trusts when it connects to a phone or proxy (default: none, and the system's CAs)."`
	Advertised string   `name:"sip-advertise" placeholder:"HOST[:PORT]" help:"The address in Contact and Via, at which phones and proxies reach the edge (default: the address that it listens on)."`
	Auth       string   `name:"sip-auth" enum:"digest,none" default:"digest" help:"How phones are authenticated: digest, with the passwords of devices, or none, with which everybody is whom From names."`
	Digest     string   `name:"sip-digest" enum:"md5,sha-256" default:"md5" help:"The hash of digest authentication: md5, which every phone knows, or sha-256."`
	Trust      []string `name:"trust" placeholder:"CIDR" help:"Networks of proxies and switches that have authenticated the phones behind them. They may say who it was in the header X-Lamplight-User."`
	TrustCert  []string `name:"trust-cert" placeholder:"NAME" help:"Names in the client certificates of such proxies and switches. Needs --sip-tls-ca."`
	Profiles   string   `name:"profiles" type:"existingfile" placeholder:"FILE" help:"A YAML file with rows that extend the table of what kinds of phones need in their documents (default: the built-in table; lamplight edge profiles prints it)."`
	Domain     []string `name:"domain" placeholder:"REALM" help:"The realms that the edge serves (default: all that accounts have)."`
}

// addresses returns where the edge listens, with the flags.
func (f *sipFlags) addresses() (all []listener, listen []sip.Listen) {
	for t, addresses := range [...][]string{sip.UDP: f.UDP, sip.TCP: f.TCP, sip.TLS: f.TLS, sip.WS: f.WS, sip.WSS: f.WSS} {
		transport := sip.Transport(t)
		for _, a := range addresses {
			all = append(all, listener{flag: "--sip-" + transport.String(), address: a, udp: transport == sip.UDP, tcp: transport != sip.UDP})
			listen = append(listen, sip.Listen{Transport: transport, Address: a})
		}
	}
	return all, listen
}

// enabled says whether there is to be an edge.
func (f *sipFlags) enabled() bool {
	all, _ := f.addresses()
	return len(all) > 0
}

// check refuses flags with which the edge could not work. Its addresses are checked beside those of other listeners.
func (f *sipFlags) check() error {
	all, _ := f.addresses()
	for name, given := range map[string]bool{"--sip-tls-cert": f.Cert != "", "--sip-tls-ca": f.CA != "", "--sip-advertise": f.Advertised != "",
		"--trust": len(f.Trust) > 0, "--trust-cert": len(f.TrustCert) > 0, "--domain": len(f.Domain) > 0, "--profiles": f.Profiles != ""} {
		if given && len(all) == 0 {
			return fmt.Errorf("%w: %s is given, and there is no SIP edge that it could be about: give --sip-udp, --sip-tcp, --sip-tls, --sip-ws or --sip-wss too", errUsage, name)
		}
	}
	for _, a := range all {
		if host, _, err := net.SplitHostPort(a.address); err == nil && f.Advertised == "" && unspecified(host) {
			return fmt.Errorf("%w: %s %s listens on all addresses: say with --sip-advertise at which address phones reach the edge", errUsage, a.flag, a.address)
		}
	}
	secured := len(f.TLS)+len(f.WSS) > 0
	switch {
	case (f.Cert == "") != (f.Key == ""):
		return fmt.Errorf("%w: --sip-tls-cert and --sip-tls-key go together: give both or none", errUsage)
	case secured && f.Cert == "":
		return fmt.Errorf("%w: --sip-tls and --sip-wss need a certificate: give --sip-tls-cert and --sip-tls-key", errUsage)
	case f.Cert != "" && !secured:
		return fmt.Errorf("%w: --sip-tls-cert is given, and the edge listens neither on TLS nor on WSS: give --sip-tls or --sip-wss too", errUsage)
	case len(f.TrustCert) > 0 && (f.CA == "" || !secured):
		return fmt.Errorf("%w: --trust-cert needs --sip-tls or --sip-wss, and --sip-tls-ca with the CA of the client certificates", errUsage)
	case slices.Contains(f.TrustCert, ""):
		return fmt.Errorf("%w: --trust-cert holds an empty name", errUsage)
	}
	if f.Advertised != "" {
		host, wrong := f.Advertised, ""
		if _, _, err := net.SplitHostPort(host); err == nil {
			wrong = badAddress(host)
			host, _, _ = net.SplitHostPort(host)
		}
		if wrong == "" {
			wrong = badHost(host)
		}
		if wrong == "" && unspecified(host) {
			wrong = "it is no address of one machine"
		}
		if wrong != "" {
			return fmt.Errorf("%w: --sip-advertise is %q: %s; it must be HOST or HOST:PORT, as phones reach the edge", errUsage, f.Advertised, wrong)
		}
	}
	if _, err := f.trusted(); err != nil {
		return err
	}
	if _, err := f.profiles(); err != nil {
		return err
	}
	for _, realm := range f.Domain {
		if err := directory.CheckRealm(strings.ToLower(realm)); err != nil {
			return fmt.Errorf("%w: --domain has %q: it must be a realm, such as acme.example.com", errUsage, realm)
		}
	}
	return usage(checkSecret("--sip-tls-key", f.Key))
}

// unspecified says whether a host stands for all addresses of the machine.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// trusted returns the networks of --trust.
func (f *sipFlags) trusted() (all []netip.Prefix, err error) {
	for _, text := range f.Trust {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%w: --trust has %q; it must be a network such as 10.0.0.0/8, or 10.0.0.5/32 for one address", errUsage, text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// profiles returns the table of what kinds of phones need.
func (f *sipFlags) profiles() (*profile.Table, error) {
	if f.Profiles == "" {
		return profile.Default(), nil
	}
	t, err := profile.Load(f.Profiles)
	if err != nil {
		return nil, fmt.Errorf("%w: --profiles: %w", errUsage, err)
	}
	return t, nil
}

// checkEdgeName refuses what can be no name of an edge. flag is where it was given.
func checkEdgeName(flag, name string) error {
	if len(name) == 0 || len(name) > subject.MaxName || name == subject.AnyEdge || strings.ContainsFunc(name, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return fmt.Errorf("%w: %s is %q; it must be 1 to %d printable ASCII characters without spaces, and not %s", errUsage, flag, name, subject.MaxName, subject.AnyEdge)
	}
	return nil
}

// config returns the configuration of the edge but for Version, Log and Registerer. check must have accepted the flags.
func (f *sipFlags) config(name string) (c sip.Config, err error) {
	c = sip.Config{Name: name, Advertise: f.Advertised, TrustCerts: f.TrustCert, NoAuth: f.Auth == "none"}
	_, c.Listen = f.addresses()
	if f.Digest == "sha-256" {
		c.Algorithm = sip.SHA256
	}
	for _, realm := range f.Domain {
		c.Domains = append(c.Domains, strings.ToLower(realm))
	}
	if c.Profiles, err = f.profiles(); err != nil {
		return c, err
	}
	if c.Trust, err = f.trusted(); err != nil || f.Cert == "" {
		return c, err
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return c, fmt.Errorf("--sip-tls-cert and --sip-tls-key: %w", err)
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	var cas *x509.CertPool
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return c, fmt.Errorf("--sip-tls-ca: %w", err)
		}
		if cas = x509.NewCertPool(); !cas.AppendCertsFromPEM(text) {
			return c, fmt.Errorf("--sip-tls-ca: %s holds no certificate in PEM format", f.CA)
		}
		c.TLS.ClientCAs, c.TLS.ClientAuth = cas, tls.VerifyClientCertIfGiven
	}
	c.TLSClient = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, // the check below takes its place
		VerifyConnection: func(s tls.ConnectionState) error { return signedBy(cas, s.PeerCertificates) }}
	return c, nil
}

// signedBy returns an error if a chain of certificates does not lead to one of some CAs; nil: the system's. The name is not checked: the
// edge connects to the address that a phone has named in its Contact.
func signedBy(cas *x509.CertPool, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the other side has no certificate")
	}
	o := x509.VerifyOptions{Roots: cas, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

// warn warns of an edge that believes everybody beyond this machine.
func (f *sipFlags) warn(log *slog.Logger) {
	all, _ := f.addresses()
	for _, a := range all {
		if host, _, _ := net.SplitHostPort(a.address); f.Auth == "none" && !natsd.Loopback(host) {
			log.Warn("the SIP edge listens beyond this machine and authenticates NOBODY (--sip-auth none): whoever reaches it can watch every extension. "+
				"Leave --sip-auth out, or let only proxies that authenticate reach the edge and name them with --trust", "flag", a.flag, "address", a.address)
		}
	}
}
