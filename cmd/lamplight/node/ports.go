package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"syscall"

	"lamplight/cluster/natsd"
	"lamplight/transport/sip"
)

// checkPorts returns an error that names every address on which the node could not listen. It runs before anything starts: HTTP
// listens last, perhaps minutes later, and the NATS server says only that it did not start.
func (n *Node) checkPorts(context.Context) error { return errors.Join(n.cfg.TryPorts()) }

// Port is an address on which a node is to listen.
type Port struct {
	Network string // tcp or udp
	Flag    string // that gives the address
	Address string // HOST:PORT
}

// Ports returns every address on which the node is to listen.
func (c *Config) Ports() []Port {
	all := []Port{{"tcp", "--http", c.HTTP}}
	if e := c.Embedded; e != nil {
		all = append(all, Port{"tcp", "--nats-listen", e.Listen})
		if e.Cluster != "" {
			all = append(all, Port{"tcp", "--nats-cluster", e.Cluster})
		}
		ports := natsd.Ports(e.Config)
		for _, setting := range slices.Sorted(maps.Keys(ports)) {
			all = append(all, Port{"tcp", "--nats-config, " + setting, ports[setting]})
		}
	}
	if c.SIP != nil {
		for _, l := range c.SIP.Listen {
			network := "tcp"
			if l.Transport == sip.UDP {
				network = "udp"
			}
			all = append(all, Port{network, "--sip-" + l.Transport.String(), l.Address})
		}
	}
	return append(all, Port{"tcp", "--gossip", c.Gossip}, Port{"udp", "--gossip", c.Gossip})
}

// TryPorts tries every address on which the node is to listen, for a moment only, and names with their flags those that it can't
// have. wrong are those that it can't have on this machine: another machine's addresses, and ports for which it lacks the rights.
// passing are those that it may get later: ports that another process uses, and names that can't be looked up now.
func (c *Config) TryPorts() (passing, wrong error) {
	for _, p := range c.Ports() {
		later, never := p.Try()
		passing, wrong = errors.Join(passing, later), errors.Join(wrong, never)
	}
	return passing, wrong
}

// Try listens on the address for a moment. It returns an error as TryPorts does, or nil.
func (p Port) Try() (passing, wrong error) {
	var closer interface{ Close() error }
	var err error
	if p.Network == "udp" {
		closer, err = net.ListenPacket(p.Network, p.Address)
	} else {
		closer, err = net.Listen(p.Network, p.Address)
	}
	switch {
	case err == nil:
		return closer.Close(), nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: the port is in use by another process (%s): stop that one, or give another port with %s", p.Flag, p.Address, p.Network, p.Flag), nil
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("%s %s: %w; give another address with %s", p.Flag, p.Address, errors.Unwrap(err), p.Flag)
	}
	return fmt.Errorf("%s %s: %w", p.Flag, p.Address, errors.Unwrap(err)), nil
}
