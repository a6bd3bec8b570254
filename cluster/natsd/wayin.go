package natsd

import (
	"errors"
	"net"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ownUser is the NATS user of the node itself, when Config.Config demands that clients authenticate.
const ownUser = "lamplight-node"

// makeWayIn lets the node itself in, whatever the configuration file demands of clients: it adds a user whose password only this
// process knows, and has the node connect within the process where the file demands TLS. Elsewhere the node connects to the port of
// the loopback address on which the server itself listens. makeWayIn returns how the node connects.
func (s *Server) makeWayIn(opts *server.Options) (wayIn []nats.Option, err error) {
	if opts.TLSConfig != nil {
		wayIn = append(wayIn, nats.InProcessServer(s))
	} else {
		wayIn = append(wayIn, nats.SetCustomDialer(ownPort{s}))
	}
	switch {
	case opts.Users != nil || opts.Nkeys != nil || opts.Username != "":
		var accounts []*server.Account
		add := func(a *server.Account) {
			if system := a != nil && a.Name == opts.SystemAccount; !system && !slices.Contains(accounts, a) {
				accounts = append(accounts, a)
			}
		}
		for _, u := range opts.Users {
			add(u.Account)
		}
		for _, u := range opts.Nkeys {
			add(u.Account)
		}
		if len(accounts) > 1 {
			return nil, errors.New("--nats-config has users in several accounts, so the node can't know which is its own: put the " +
				"users of Lamplight into one account, or run NATS servers of your own and give --nats")
		}
		own := &server.User{Username: ownUser, Password: s.password}
		if len(accounts) == 1 {
			own.Account = accounts[0]
			if own.Account != nil { // users of the authorization block are in none of the file's
				if err := checkAccount(s.cfg.Config, own.Account.Name); err != nil {
					return nil, err
				}
			}
		}
		if opts.Username != "" { // NATS takes a single user or several
			opts.Users = append(opts.Users, &server.User{Username: opts.Username, Password: opts.Password})
			opts.Username, opts.Password = "", ""
		}
		opts.Users = append(opts.Users, own)
		wayIn = append(wayIn, nats.UserInfo(own.Username, own.Password))
	case opts.Authorization != "":
		wayIn = append(wayIn, nats.Token(opts.Authorization))
	}
	return wayIn, nil
}

// WayIn returns the options with which the node itself connects to URL.
func (s *Server) WayIn() []nats.Option { return s.wayIn }

// ownPort connects to the port on which the server itself listens, whatever the address.
type ownPort struct{ server *Server }

// Dial implements nats.CustomDialer.
func (o ownPort) Dial(network, _ string) (net.Conn, error) {
	at := o.server.nats.Load().Addr()
	if at == nil {
		return nil, errors.New("the embedded NATS server is being started again")
	}
	return net.Dial(network, at.String())
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) { return s.nats.Load().InProcessConn() }
