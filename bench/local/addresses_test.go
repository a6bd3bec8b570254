package local

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// A program that listens on the default ports of all addresses leaves room for nodes: they get other ports.
func TestBesideOtherPrograms(t *testing.T) {
	for _, port := range []int{DefaultPorts.HTTP, DefaultPorts.NATS, DefaultPorts.Routes, DefaultPorts.Gossip} {
		l, err := net.Listen("tcp", At("0.0.0.0", port))
		if err != nil {
			continue // another program has the port, which is just what the test wants
		}
		defer l.Close()
	}
	prefix, ports, err := Prefix(rand.New(rand.NewPCG(1, 2)), 4)
	if err != nil {
		t.Fatal(err)
	}
	for machine := 1; machine <= 4; machine++ {
		if host := fmt.Sprint(prefix, machine); !ports.free(host) {
			t.Errorf("a port of %+v is in use on %s", ports, host)
		}
	}
}
