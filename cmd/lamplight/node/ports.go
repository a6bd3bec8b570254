package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"lamplight/cluster/natsd"
	"lamplight/transport/sip"
)

// checkPorts returns an error that names every address on which the node could not listen. It runs before anything starts: HTTP
// listens last, perhaps minutes later, and the NATS server says only that it did not start.
func (n *Node) checkPorts(context.Context) error { return errors.Join(n.cfg.TryPorts()) }

// TryPorts tries every address on which the node is to listen, for a moment only, and names with their flags those that it can't
// have. wrong are those that it can't have on this machine: another machine's addresses, and ports for which it lacks the rights.
// passing are those that it may get later: ports that another process uses, and names that can't be looked up now.
func (c *Config) TryPorts() (passing, wrong error) {
	try := func(network, flag, address string) bool {
		later, never := tryPort(network, flag, address)
		passing, wrong = errors.Join(passing, later), errors.Join(wrong, never)
		return later == nil && never == nil
	}
	try("tcp", "--http", c.HTTP)
	if e := c.Embedded; e != nil {
		try("tcp", "--nats-listen", e.Listen)
		if e.Cluster != "" {
			try("tcp", "--nats-cluster", e.Cluster)
		}
		for setting, address := range natsd.Ports(e.Config) {
			try("tcp", "--nats-config, "+setting, address)
		}
	}
	if c.SIP != nil {
		for _, l := range c.SIP.Listen {
			network := "tcp"
			if l.Transport == sip.UDP {
				network = "udp"
			}
			try(network, "--sip-"+l.Transport.String(), l.Address)
		}
	}
	if try("tcp", "--gossip", c.Gossip) {
		try("udp", "--gossip", c.Gossip)
	}
	return passing, wrong
}

// tryPort listens on an address for a moment.
func tryPort(network, flag, address string) (passing, wrong error) {
	var closer interface{ Close() error }
	var err error
	if network == "udp" {
		closer, err = net.ListenPacket(network, address)
	} else {
		closer, err = net.Listen(network, address)
	}
	switch {
	case err == nil:
		return closer.Close(), nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: the port is in use by another process (%s): stop that one, or give another port with %s", flag, address, network, flag), nil
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("%s %s: %w; give another address with %s", flag, address, errors.Unwrap(err), flag)
	}
	return fmt.Errorf("%s %s: %w", flag, address, errors.Unwrap(err)), nil
}
