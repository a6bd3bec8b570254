package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
)

// natsFlags are the flags of every command that talks to NATS.
type natsFlags struct {
	Nats    string `default:"embedded" placeholder:"embedded|URL[,URL]" help:"The NATS servers. For serve, embedded starts a server inside of the node; for all other commands it means nats://127.0.0.1:4222. A user and password may stand in the URL."`
	Creds   string `type:"existingfile" placeholder:"FILE" help:"A NATS credentials file."`
	Prefix  string `placeholder:"P" help:"What all NATS subjects begin with: one or more subject tokens. It separates several installations on one NATS."`
	Inbox   string `name:"nats-inbox" placeholder:"P" help:"Answers come to NATS subjects below P, whose first token is _INBOX or begins with _INBOX_ (default: _INBOX). A NATS user who may listen only on inboxes of his own needs it."`
	NatsTLS struct {
		CA   string `type:"existingfile" placeholder:"FILE" help:"The certificate of the CA that signed the NATS servers' certificates (default: the system's CAs)."`
		Cert string `type:"existingfile" placeholder:"FILE" help:"A client certificate for the NATS servers. Needs --nats-tls-key."`
		Key  string `type:"existingfile" placeholder:"FILE" help:"The private key of the client certificate."`
	} `embed:"" prefix:"nats-tls-"`
}

// prefix returns --prefix with the dot at its end.
func (f *natsFlags) prefix() subject.Prefix {
	if f.Prefix == "" || strings.HasSuffix(f.Prefix, ".") {
		return subject.Prefix(f.Prefix)
	}
	return subject.Prefix(f.Prefix + ".")
}

// check refuses values that can't work.
func (f *natsFlags) check() error {
	if wrong := badServers(f.Nats); wrong != "" {
		return fmt.Errorf("%w: --nats is %q: %s; it must be embedded, or URLs such as nats://127.0.0.1:4222, separated by commas", errUsage, client.Redacted(f.Nats), wrong)
	}
	if wrong := subject.CheckPrefix(f.Prefix); wrong != "" {
		return fmt.Errorf("%w: --prefix is %q; %s", errUsage, f.Prefix, wrong)
	}
	if f.Inbox != "" && (strings.ContainsAny(f.Inbox, " *>\t\r\n$") || strings.Contains("."+f.Inbox+".", "..") || !subject.IsInbox(f.Inbox)) {
		return fmt.Errorf("%w: --nats-inbox is %q; it must be NATS subject tokens without wildcards, the first of them _INBOX or one that begins "+
			"with _INBOX_, such as _INBOX_control, because nodes answer nowhere else", errUsage, f.Inbox)
	}
	if (f.NatsTLS.Cert == "") != (f.NatsTLS.Key == "") {
		return fmt.Errorf("%w: --nats-tls-cert and --nats-tls-key go together: give both or none", errUsage)
	}
	if err := checkSecret("--nats-tls-key", f.NatsTLS.Key); err != nil {
		return usage(err)
	}
	if err := checkSecret("--creds", f.Creds); err != nil {
		return usage(err)
	}
	return usage(f.options().Check())
}

// badServers says what is wrong with a value of --nats; "" if nothing is. It names no part of a URL that may be a password.
func badServers(list string) string {
	if list == "embedded" {
		return ""
	}
	web := 0
	all := strings.Split(list, ",")
	for _, text := range all {
		if text = strings.TrimSpace(text); text == "embedded" {
			return "embedded stands alone"
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return "it holds something that is no URL with a host"
		}
		switch u.Scheme {
		case "ws", "wss":
			web++
		case "nats", "tls":
		default:
			return "NATS servers are not asked with " + u.Scheme + ", but with nats, tls, ws or wss"
		}
		wrong := badHost(u.Hostname())
		if u.Port() != "" {
			wrong = badAddress(u.Host)
		}
		if wrong != "" {
			return wrong
		}
	}
	if web > 0 && web < len(all) {
		return "ws and wss don't go together with nats and tls"
	}
	return ""
}

// connect opens a connection to NATS. name is what NATS's own tools show for it.
func (f *natsFlags) connect(name string) (*nats.Conn, error) {
	return client.Connect(f.options(), name)
}

// options returns the flags as transport/client wants them. embedded means the server of a node on this machine.
func (f *natsFlags) options() client.Options {
	o := client.Options{URL: f.Nats, Creds: f.Creds, InboxPrefix: f.Inbox, CA: f.NatsTLS.CA, Cert: f.NatsTLS.Cert, Key: f.NatsTLS.Key}
	if o.URL == "embedded" {
		o.URL = "nats://127.0.0.1:4222"
	}
	return o
}
