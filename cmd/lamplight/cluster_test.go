package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// ports are free just now: those of a cluster must be known before its nodes start.
func ports(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses
}

// three are three nodes whose embedded servers replicate. They are not ready yet.
func three(t *testing.T, flags ...string) []*process {
	t.Helper()
	addresses := ports(t, 9)
	gossip, routes, clients := addresses[:3], addresses[3:6], addresses[6:]
	dir := t.TempDir()
	var nodes []*process
	for i, name := range []string{"a", "b", "c"} {
		p := start(t, filepath.Join(dir, name), append([]string{"--node", name, "--gossip", gossip[i], "--join", strings.Join(gossip, ","),
			"--nats-cluster", routes[i], "--nats-listen", clients[i]}, flags...)...)
		p.nats = "nats://" + clients[i]
		nodes = append(nodes, p)
	}
	return nodes
}
