package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Options say how to reach NATS.
type Options struct {
	URL         string // of one server, or of several, separated by commas
	Creds       string // a file with NATS credentials; "": none
	InboxPrefix string // the first tokens of the subjects on which answers arrive; "": _INBOX
	CA          string // a file with the CA that signed the servers' certificates; "": the system's CAs
	Cert, Key   string // files with a client certificate and its key; "": none
}

// Connect opens a connection to NATS. It fails when no server can be reached now; afterwards the connection reconnects for
// ever. name is what NATS's own tools show for the connection. more are further options of NATS's client.
//
// What is published while the connection is broken fails at once. It is not kept to be sent later: a document that leaves
// late could arrive behind a newer one (docs/contract/journal.md, rule 4). The client pings the server every 2 s and takes the
// connection for broken after two pings without an answer. With its defaults it would take minutes to notice that a server's
// machine is gone.
func Connect(o Options, name string, more ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{nats.Name(name), nats.ReconnectBufSize(-1), nats.ReconnectWait(100 * time.Millisecond), nats.MaxReconnects(-1), nats.Timeout(5 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(2 * time.Second)}, more...)
	all = append(all, o.options()...)
	conn, err := nats.Connect(o.URL, all...)
	if err != nil {
		return nil, fmt.Errorf("can't connect to NATS at %s: %w; %s", Redacted(o.URL), redactedError{err, o.URL}, advice(err))
	}
	return conn, nil
}

// Check returns an error if a file of the options can't be read or holds something else than it should. It does not connect.
func (o Options) Check() error {
	var c nats.Options
	for _, set := range o.options() {
		if err := set(&c); err != nil {
			return fmt.Errorf("a certificate or key for NATS can't be used: %w", err)
		}
	}
	if c.UserJWT == nil {
		return nil
	}
	_, err := c.UserJWT()
	if err == nil {
		_, err = c.SignatureCB(nil)
	}
	if err != nil {
		return fmt.Errorf("%s holds no NATS credentials: %w", o.Creds, err)
	}
	return nil
}

// options returns what the Options are to NATS's client.
func (o Options) options() (all []nats.Option) {
	if o.InboxPrefix != "" {
		all = append(all, nats.CustomInboxPrefix(o.InboxPrefix))
	}
	if o.Creds != "" {
		all = append(all, nats.UserCredentials(o.Creds))
	}
	if o.CA != "" || o.Cert != "" {
		all = append(all, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if o.CA != "" {
		all = append(all, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		all = append(all, nats.ClientCert(o.Cert, o.Key))
	}
	return all
}

// Redacted returns a list of NATS URLs as it may be printed: what stands before the @ of a URL, a user and password or a token, is
// replaced.
func Redacted(list string) string {
	urls := strings.Split(list, ",")
	for i, u := range urls {
		scheme, rest, found := strings.Cut(u, "://")
		if !found {
			scheme, rest = "", u
		} else {
			scheme += "://"
		}
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			urls[i] = scheme + "***" + rest[at:]
		}
	}
	return strings.Join(urls, ",")
}

// redactedError is an error of NATS's client whose text may hold the URL.
type redactedError struct {
	error
	list string
}

func (e redactedError) Error() string {
	text := e.error.Error()
	for u := range strings.SplitSeq(e.list, ",") {
		text = strings.ReplaceAll(text, u, Redacted(u))
		if _, rest, ok := strings.Cut(u, "://"); ok {
			text = strings.ReplaceAll(text, rest, Redacted(rest))
		}
	}
	return text
}

func (e redactedError) Unwrap() error { return e.error }

// advice says what an operator should do about an error of nats.Connect.
func advice(err error) string {
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verify):
		return "give the CA that signed the server's certificate with --nats-tls-ca, and a name in --nats that the certificate holds"
	case strings.Contains(err.Error(), "tls"): // the server refused the client's certificate, or wanted one
		return "the server wants a certificate that it trusts: give one with --nats-tls-cert and --nats-tls-key"
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return "one side speaks TLS and the other does not: see --nats-tls-ca"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return "give the user and password in --nats nats://USER:PASSWORD@HOST:PORT, or --creds"
	}
	return "does a node run there, or a NATS server of your own? give its address with --nats"
}
