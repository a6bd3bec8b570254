package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// natsFlags are shared by every command that talks to NATS.
type natsFlags struct {
	Nats    string `default:"embedded" placeholder:"embedded|URL[,URL]" help:"NATS servers."`
	Creds   string `type:"existingfile" placeholder:"FILE" help:"NATS credentials file."`
	Prefix  string `placeholder:"P" help:"Prefix of all subjects; separates installations on one NATS."`
	Inbox   string `name:"nats-inbox" placeholder:"P" help:"Prefix of the subjects that answers come to (default _INBOX), where the NATS user has its own."`
	NatsTLS struct {
		CA   string `type:"existingfile" placeholder:"FILE" help:"CA that signed the NATS servers' certificates."`
		Cert string `type:"existingfile" placeholder:"FILE" help:"Client certificate."`
		Key  string `type:"existingfile" placeholder:"FILE" help:"Client key."`
	} `embed:"" prefix:"nats-tls-"`
}

// prefix is --prefix as subjects begin with it.
func (f *natsFlags) prefix() string {
	if f.Prefix == "" || strings.HasSuffix(f.Prefix, ".") {
		return f.Prefix
	}
	return f.Prefix + "."
}

func (f *natsFlags) check() error {
	if strings.ContainsAny(f.Prefix, " *>\t\r\n") || strings.Contains(f.Prefix, "..") || strings.HasPrefix(f.Prefix, ".") {
		return fmt.Errorf("%w: --prefix %q must be NATS subject tokens without wildcards", errUsage, f.Prefix)
	}
	if f.Inbox != "" && (strings.ContainsAny(f.Inbox, " *>\t\r\n$") || strings.Contains("."+f.Inbox+".", "..")) {
		return fmt.Errorf("%w: --nats-inbox %q must be NATS subject tokens without wildcards, such as _INBOX_control", errUsage, f.Inbox)
	}
	if (f.NatsTLS.Cert == "") != (f.NatsTLS.Key == "") {
		return fmt.Errorf("%w: --nats-tls-cert and --nats-tls-key go together", errUsage)
	}
	return nil
}

// connect opens a connection whose publishes are never repeated or kept back (JOURNAL.md rule 4), and that finds out within
// seconds that the server is gone without a word (the library takes minutes).
func (f *natsFlags) connect(servers, name string, more ...nats.Option) (*nats.Conn, error) {
	if servers == "embedded" {
		servers = "nats://127.0.0.1:4222"
	}
	o := append([]nats.Option{nats.Name(name), nats.ReconnectBufSize(-1), nats.ReconnectWait(100 * time.Millisecond), nats.MaxReconnects(-1), nats.Timeout(5 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(2 * time.Second)}, more...)
	if f.Inbox != "" {
		o = append(o, nats.CustomInboxPrefix(f.Inbox))
	}
	if f.Creds != "" {
		o = append(o, nats.UserCredentials(f.Creds))
	}
	if f.NatsTLS.CA != "" || f.NatsTLS.Cert != "" {
		o = append(o, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if f.NatsTLS.CA != "" {
		o = append(o, nats.RootCAs(f.NatsTLS.CA))
	}
	if f.NatsTLS.Cert != "" {
		o = append(o, nats.ClientCert(f.NatsTLS.Cert, f.NatsTLS.Key))
	}
	conn, err := nats.Connect(servers, o...)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w; %s", redacted(servers), err, advice(err))
	}
	return conn, nil
}

// redacted is a list of URLs without their passwords.
func redacted(list string) string {
	urls := strings.Split(list, ",")
	for i, u := range urls {
		if p, err := url.Parse(strings.TrimSpace(u)); err == nil {
			urls[i] = p.Redacted()
		}
	}
	return strings.Join(urls, ",")
}

// advice says what to do about a connection that was not made.
func advice(err error) string {
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verify):
		return "give the CA that signed the server's certificate with --nats-tls-ca, and a name in --nats that the certificate holds"
	case strings.Contains(err.Error(), "tls"): // the server's refusal, or the connection that it cut
		return "the server wants a certificate that it trusts: give one with --nats-tls-cert and --nats-tls-key"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "one side speaks TLS and the other does not: see --nats-tls-ca"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return "give the user and password in --nats nats://USER:PASSWORD@HOST:PORT, or --creds"
	}
	return "does a node run there, or a NATS server of your own? give its address with --nats"
}
