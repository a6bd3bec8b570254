package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/actors/presence"
	"lamplight/transport/sip"
	"lamplight/transport/sip/message"
	"lamplight/transport/sip/phone"
)

// watchSIPFlags are the flags of presence watch --sip.
type watchSIPFlags struct {
	SIP   string       `name:"sip" placeholder:"URI" help:"Watch as a phone does: subscribe to this extension over SIP, such as sip:1001@acme.example.com, and print each NOTIFY."`
	Event eventPackage `default:"dialog" placeholder:"PACKAGE" help:"With --sip: the event package. ${packages}."`
	phoneFlags
}

// phoneFlags are the flags of every command that subscribes as a phone does.
type phoneFlags struct {
	Transport    string `enum:"udp,tcp,tls,ws,wss" default:"udp" help:"Over SIP: the transport. udp, tcp, tls, ws or wss."`
	Server       string `placeholder:"HOST:PORT" default:"127.0.0.1:5060" help:"Over SIP: the address of the edge, of a proxy in front of it, or of another presence server."`
	As           string `placeholder:"USER" help:"Over SIP: the user that subscribes, and that authenticates (default: the extension's)."`
	PasswordFile string `type:"existingfile" placeholder:"FILE" help:"Over SIP: a file with the password of that user, which only its owner may read (default: none; it is needed when the server asks for one)."`
	Expires      int    `default:"600" placeholder:"SECONDS" help:"Over SIP: how long a subscription is to last until it is refreshed, 60 to 3600."`
	ServerCA     string `name:"server-ca" type:"existingfile" placeholder:"FILE" help:"Over SIP with tls or wss: the CAs (PEM) of the server's certificate (default: the system's)."`
}

// onlySIP are the names of the flags that mean nothing without --sip.
var onlySIP = []string{"transport", "server", "as", "password-file", "event", "expires", "server-ca"}

// notified is a NOTIFY as presence watch --sip prints it.
type notified struct {
	At     time.Time `json:"at"`
	CSeq   uint32    `json:"cseq"`
	Event  string    `json:"event"`
	State  string    `json:"subscription_state"`
	Lamp   string    `json:"lamp,omitzero"`
	Body   string    `json:"body"`
	Reason string    `json:"reason,omitzero"`
}

// transports are the transports by their names.
var transports = map[string]sip.Transport{"udp": sip.UDP, "tcp": sip.TCP, "tls": sip.TLS, "ws": sip.WS, "wss": sip.WSS}

// watch subscribes to an extension as a phone does, and prints each NOTIFY until ctx ends. It then ends the subscription.
func (f *watchSIPFlags) watch(ctx context.Context, out io.Writer, output string, patience time.Duration) error {
	uri, ok := message.ParseURI([]byte(f.SIP))
	target, err := presence.ParsePresenceID(f.SIP)
	if !ok || uri.Scheme != "sip" && uri.Scheme != "sips" || err != nil {
		return fmt.Errorf("%w: --sip is %q; it must be an extension, such as sip:1001@acme.example.com", errUsage, f.SIP)
	}
	dial, ask, err := f.phone(target.Realm)
	if err != nil {
		return err
	}
	ask.Target, ask.Package = target.String(), string(f.Event)
	ask.Watcher = cmp.Or(ask.Watcher, ask.Target)
	notifies := make(chan *phone.Notify, 1000)
	ask.Handle = func(n *phone.Notify) {
		select {
		case notifies <- n:
		default: // whoever reads the output is far behind
		}
	}
	open, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := phone.Dial(open, dial)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	s, err := p.Subscribe(open, ask)
	if err != nil {
		return explainRefusal(err)
	}
	fmt.Fprintf(os.Stderr, "subscribed to %s of %s over %s for %d s; press Ctrl-C to end\n", ask.Package, target, f.Transport, s.Granted())
	kept := make(chan error, 1)
	go func() { kept <- s.Keep(ctx) }()
	for {
		select {
		case n := <-notifies:
			if err := printNotify(out, output, n); err != nil {
				return err
			}
			if n.State == "terminated" {
				return fmt.Errorf("the server ended the subscription: %s", n.Reason)
			}
		case err := <-kept:
			if ctx.Err() == nil {
				return fmt.Errorf("the subscription could not be refreshed: %w", explainRefusal(err))
			}
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.Refresh(last, 0)
		case <-p.Done():
			return errors.New("the connection to the server has ended")
		}
	}
}

// phone returns how the server is reached, and as whom the command subscribes in a realm. Without --as, it leaves the Watcher out.
func (f *phoneFlags) phone(realm string) (dial phone.Config, ask phone.Subscribe, err error) {
	if wrong := badAddress(f.Server); wrong != "" {
		return dial, ask, fmt.Errorf("%w: --server is %q: %s", errUsage, f.Server, wrong)
	}
	if f.Expires < 60 || f.Expires > 3600 {
		return dial, ask, fmt.Errorf("%w: --expires is %d; it must be 60 to 3600", errUsage, f.Expires)
	}
	ask.Expires = f.Expires
	if f.As != "" {
		ask.Watcher = f.As + "@" + realm
	}
	if f.PasswordFile != "" {
		if err := usage(checkSecret("--password-file", f.PasswordFile)); err != nil {
			return dial, ask, err
		}
		text, err := os.ReadFile(f.PasswordFile)
		if err != nil {
			return dial, ask, err
		}
		ask.Password = strings.TrimRight(string(text), "\r\n")
	}
	dial = phone.Config{Server: f.Server, Transport: transports[f.Transport], UserAgent: "lamplight/" + version}
	dial.TLS, err = f.tls()
	return dial, ask, err
}

// explainRefusal says what to do about a refusal.
func explainRefusal(err error) error {
	refused, ok := errors.AsType[*phone.Refused](err)
	switch {
	case !ok:
		return err
	case refused.Code == 401 || refused.Code == 407:
		return fmt.Errorf("%w: give the user with --as, and its password with --password-file", err)
	case refused.Code == 403:
		return fmt.Errorf("%w: the user may not watch this extension", err)
	case refused.Code == 404:
		return fmt.Errorf("%w: no account has the realm, or the edge does not serve it", err)
	}
	return err
}

// tls returns how the phone checks the server's certificate; nil: as the system does.
func (f *phoneFlags) tls() (*tls.Config, error) {
	if f.ServerCA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(f.ServerCA)
	if err != nil {
		return nil, err
	}
	cas := x509.NewCertPool()
	if !cas.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%w: --server-ca: %s holds no certificate in PEM format", errUsage, f.ServerCA)
	}
	return &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12}, nil
}

// printNotify prints one NOTIFY.
func printNotify(out io.Writer, output string, n *phone.Notify) error {
	shown := notified{At: n.At.UTC(), CSeq: n.CSeq, Event: n.Event, State: n.State, Lamp: lampOf(n), Body: n.Body, Reason: n.Reason}
	if n.State == "active" {
		shown.State = fmt.Sprintf("active;expires=%d", n.Expires)
	}
	if output == "json" {
		b, err := json.Marshal(shown)
		return errors.Join(err, writeLine(out, string(b)))
	}
	_, err := fmt.Fprintf(out, "%s  NOTIFY %d  %s  %s  %s\n%s\n", shown.At.Format(time.RFC3339Nano), n.CSeq, n.Event, shown.State, shown.Lamp, strings.TrimRight(n.Body, "\r\n"))
	return err
}

// lampOf is what a NOTIFY says in a word: the state of the most important dialog, the basic status, or the waiting messages.
func lampOf(n *phone.Notify) string {
	between := func(from, to string) string {
		_, rest, found := strings.Cut(n.Body, from)
		text, _, ended := strings.Cut(rest, to)
		if !found || !ended {
			return ""
		}
		return text
	}
	switch {
	case strings.HasPrefix(n.ContentType, "application/dialog-info+xml"):
		if state := between("<state>", "</state>"); state != "" {
			return state
		}
		return "terminated"
	case strings.HasPrefix(n.ContentType, "application/pidf+xml"):
		return between("<basic>", "</basic>")
	}
	return strings.TrimSpace(between("Voice-Message:", "\r\n"))
}
