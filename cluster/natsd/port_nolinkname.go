//go:build nolinkname

package natsd

import (
	"io"
	"net"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// takeRoute gives the server a connection for a route through the server's own listener.
func takeRoute(s *server.Server, c net.Conn) {
	if at := s.ClusterAddr(); at != nil {
		relay(c, at)
	}
}

// takeClient gives the server a connection for a client through the server's own listener.
func takeClient(s *server.Server, c net.Conn) {
	if at := s.Addr(); at != nil {
		relay(c, at)
	}
}

// relay connects to an address and copies what comes on either connection to the other one, until one of them is closed. So each
// connection costs two more descriptors and a copy of each byte, and the server takes every client's address for its own.
func relay(c net.Conn, at net.Addr) {
	defer c.Close()
	n, err := net.Dial("tcp", at.String())
	if err != nil {
		return
	}
	defer n.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, n)
		_ = c.Close() // which ends the other copy
	})
	_, _ = io.Copy(n, c)
	_ = n.Close()
	back.Wait()
}
