package main

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
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
func (f *natsFlags) prefix() subject.Prefix {
	if f.Prefix == "" || strings.HasSuffix(f.Prefix, ".") {
		return subject.Prefix(f.Prefix)
	}
	return subject.Prefix(f.Prefix + ".")
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

// connect opens a connection to NATS under a name that the server's own tools show.
func (f *natsFlags) connect(name string) (*nats.Conn, error) {
	return client.Connect(f.options(), name)
}

// options are the flags as transport/client takes them. embedded is the server of a node on this machine.
func (f *natsFlags) options() client.Options {
	o := client.Options{URL: f.Nats, Creds: f.Creds, InboxPrefix: f.Inbox, CA: f.NatsTLS.CA, Cert: f.NatsTLS.Cert, Key: f.NatsTLS.Key}
	if o.URL == "embedded" {
		o.URL = "nats://127.0.0.1:4222"
	}
	return o
}
