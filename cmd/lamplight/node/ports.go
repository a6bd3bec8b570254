package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// checkPorts returns an error that names every address on which the node could not listen. It runs before anything starts: HTTP
// listens last, perhaps minutes later, and the NATS server says only that it did not start.
func (n *Node) checkPorts(context.Context) error { return n.cfg.PortsInUse() }

// PortsInUse tries every address on which the node is to listen, and returns an error that names those that it can't have, with
// their flags. It listens for a moment only. An address that can't be looked up is left to the part that listens on it.
func (c *Config) PortsInUse() error {
	errs := []error{tryPort("tcp", "--http", c.HTTP)}
	if e := c.Embedded; e != nil {
		errs = append(errs, tryPort("tcp", "--nats-listen", e.Listen))
		if e.Cluster != "" {
			errs = append(errs, tryPort("tcp", "--nats-cluster", e.Cluster))
		}
	}
	gossip := tryPort("tcp", "--gossip", c.Gossip)
	if gossip == nil {
		gossip = tryPort("udp", "--gossip", c.Gossip)
	}
	return errors.Join(append(errs, gossip)...)
}

// tryPort listens on an address for a moment.
func tryPort(network, flag, address string) error {
	var closer interface{ Close() error }
	var err error
	if network == "udp" {
		closer, err = net.ListenPacket(network, address)
	} else {
		closer, err = net.Listen(network, address)
	}
	switch {
	case err == nil:
		return closer.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s: the port is in use by another process (%s): stop that one, or give another port with %s", flag, address, network, flag)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s: %w; give another address with %s", flag, address, errors.Unwrap(err), flag)
	}
	return nil
}
