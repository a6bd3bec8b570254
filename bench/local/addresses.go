package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are the ports of a node, its NATS server and its SIP edge, the same on every machine.
type Ports struct{ HTTP, NATS, Routes, Gossip, SIP int }

// DefaultPorts are those that `lamplight serve` has when nobody says otherwise.
var DefaultPorts = Ports{HTTP: 8000, NATS: 4222, Routes: 6222, Gossip: 7946, SIP: 5060}

// At returns HOST:PORT.
func At(host string, port int) string { return net.JoinHostPort(host, fmt.Sprint(port)) }

// free says whether nobody listens on any of the ports of a host.
func (p Ports) free(host string) bool {
	for _, port := range []int{p.HTTP, p.NATS, p.Routes, p.Gossip, p.SIP} {
		l, err := net.Listen("tcp", At(host, port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	for _, port := range []int{p.Gossip, p.SIP} {
		c, err := net.ListenPacket("udp", At(host, port))
		if err != nil {
			return false
		}
		_ = c.Close()
	}
	return true
}

// Prefix finds a prefix of loopback addresses, such as "127.70.3.", for so many machines, and ports for them. Machine n, from 1
// on, has the address that ends in n. Nobody listens there on any of the ports. A program that listens on one of the default ports
// of all addresses (0.0.0.0:8000) has that port of every loopback address; then Prefix takes others, below those that the system
// gives to connections.
func Prefix(r *rand.Rand, machines int) (string, Ports, error) {
	ports := DefaultPorts
	for range 100 {
		prefix := fmt.Sprintf("127.%d.%d.", 64+r.IntN(128), r.IntN(256))
		free := true
		for machine := 1; machine <= machines && free; machine++ {
			free = ports.free(fmt.Sprint(prefix, machine))
		}
		if free {
			return prefix, ports, nil
		}
		base := 10_000 + r.IntN(20_000)
		ports = Ports{HTTP: base, NATS: base + 1, Routes: base + 2, Gossip: base + 3, SIP: base + 4}
	}
	return "", ports, fmt.Errorf("100 random prefixes of loopback addresses were tried, and a port of each is in use")
}
