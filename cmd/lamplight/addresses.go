package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// listener is an address on which a node or edge listens, and its flag.
type listener struct {
	flag, address string
	udp, tcp      bool // what it listens on
}

// listeners returns the addresses on which the node listens.
func (f *serveFlags) listeners() []listener {
	all := []listener{{"--http", f.HTTP, false, true}, {"--gossip", f.Gossip, true, true}}
	if f.Nats == "embedded" {
		all = append(all, listener{"--nats-listen", f.NatsListen, false, true})
		if f.NatsCluster != "" {
			all = append(all, listener{"--nats-cluster", f.NatsCluster, false, true})
		}
	}
	phones, _ := f.sipFlags.addresses()
	return append(all, phones...)
}

// checkListeners refuses what is no address, and an address that is given twice.
func checkListeners(all []listener) error {
	for i, a := range all {
		if wrong := badAddress(a.address); wrong != "" {
			return fmt.Errorf("%w: %s is %q: %s; it must be HOST:PORT, such as 127.0.0.1:8000", errUsage, a.flag, a.address, wrong)
		}
		for _, b := range all[:i] {
			if (a.udp && b.udp || a.tcp && b.tcp) && collide(a.address, b.address) {
				return fmt.Errorf("%w: %s %s and %s %s are the same port; give each a port of its own", errUsage, b.flag, b.address, a.flag, a.address)
			}
		}
	}
	return nil
}

// checkAddresses checks the addresses on which the node listens, and those of other nodes.
func (f *serveFlags) checkAddresses() error {
	if err := checkListeners(f.listeners()); err != nil {
		return err
	}
	for i, a := range f.Join {
		_, port, _ := net.SplitHostPort(a)
		wrong := badAddress(a)
		switch {
		case wrong == "" && port == "0":
			wrong = "nobody listens on the port 0"
		case wrong == "" && strings.HasPrefix(a, ":"):
			wrong = "the host is missing"
		case wrong == "" && slices.Contains(f.Join[:i], a):
			wrong = "it is there twice"
		}
		if wrong != "" {
			return fmt.Errorf("%w: --join has %q: %s; it must be HOST:PORT[,HOST:PORT], the gossip address of each node once", errUsage, a, wrong)
		}
	}
	if f.Advertise == "" {
		return nil
	}
	wrong := badHost(f.Advertise)
	if ip := net.ParseIP(f.Advertise); ip != nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		wrong = "it is no address of one machine"
	}
	if wrong != "" {
		return fmt.Errorf("%w: --advertise is %q: %s; it must be a host name or an address, without a port", errUsage, f.Advertise, wrong)
	}
	return nil
}

// badAddress says what is wrong with HOST:PORT; "" if nothing is. The host may be empty.
func badAddress(a string) string {
	host, port, err := net.SplitHostPort(a)
	if wrong, ok := errors.AsType[*net.AddrError](err); ok {
		return wrong.Err
	}
	if port == "" {
		return "the port is missing"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil { // not the name of a service: gossip and SIP know none
		return fmt.Sprintf("%s is no port, which is a number up to 65535", port)
	}
	if host == "" {
		return ""
	}
	return badHost(host)
}

// badHost says what is wrong with a host name or IP address; "" if nothing is.
func badHost(h string) string {
	if ip, _, _ := strings.Cut(h, "%"); net.ParseIP(ip) != nil {
		return ""
	}
	labels := strings.Split(strings.TrimSuffix(h, "."), ".")
	last := labels[len(labels)-1]
	switch odd := strings.IndexFunc(h, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}); {
	case h == "" || len(h) > 253 || slices.Contains(labels, ""):
		return "a host name has 1 to 253 characters, and no label of it is empty"
	case odd >= 0:
		return fmt.Sprintf("no host name has the character %q", []rune(h[odd:])[0])
	case strings.Trim(last, "0123456789") == "":
		return h + " is no IP address, which has four numbers up to 255"
	}
	return ""
}

// collide says whether a node could not listen on both addresses.
func collide(a, b string) bool {
	x, err := net.ResolveTCPAddr("tcp", a)
	if err != nil {
		return false
	}
	y, err := net.ResolveTCPAddr("tcp", b)
	if err != nil || x.Port != y.Port || x.Port == 0 {
		return false
	}
	all := func(one, other net.IP) bool { // one stands for all addresses, other among them
		return one == nil || one.IsUnspecified() && (one.To4() == nil || other.To4() != nil)
	}
	return all(x.IP, y.IP) || all(y.IP, x.IP) || x.IP.Equal(y.IP)
}

// lookUp returns an error if the host of --advertise can't be looked up now.
func (f *serveFlags) lookUp() error {
	if f.Advertise == "" {
		return nil
	}
	if _, err := net.ResolveIPAddr("ip", f.Advertise); err != nil {
		return fmt.Errorf("--advertise %s: %w", f.Advertise, err)
	}
	return nil
}

// checkReach refuses a loopback address of this node when it is to join nodes on other machines: they could not answer. It happens
// easily, because many systems resolve a machine's own name to the loopback address. Names that can't be resolved are not checked:
// they may be resolved later.
func (f *serveFlags) checkReach() error {
	far := slices.IndexFunc(f.Join, func(a string) bool {
		host, _, _ := net.SplitHostPort(a)
		ip, err := net.ResolveIPAddr("ip", host)
		return err == nil && !ip.IP.IsLoopback() && !ip.IP.IsUnspecified()
	})
	if far < 0 {
		return nil
	}
	if f.Advertise != "" {
		if ip, err := net.ResolveIPAddr("ip", f.Advertise); err == nil && ip.IP.IsLoopback() {
			return fmt.Errorf("%w: --advertise %s is the loopback address here, which %s can't answer to: give this machine's own address", errUsage, f.Advertise, f.Join[far])
		}
		return nil
	}
	for name, a := range map[string]string{"--gossip": f.Gossip, "--nats-cluster": f.NatsCluster} {
		host, port, _ := net.SplitHostPort(a)
		if ip, err := net.ResolveIPAddr("ip", host); host != "" && err == nil && ip.IP.IsLoopback() {
			return fmt.Errorf("%w: %s %s is the loopback address here, which %s can't answer to: give this machine's own address, %s ADDRESS:%s", errUsage, name, a, f.Join[far], name, port)
		}
	}
	return nil
}
