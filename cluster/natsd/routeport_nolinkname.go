//go:build nolinkname

package natsd

import (
	"io"
	"net"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// takeRoute connects to the server's own listener and copies what comes on either connection to the other one, until one of them is
// closed. So each route costs two more descriptors and a copy of each byte, and the server takes every node's address for its own.
func takeRoute(s *server.Server, c net.Conn) {
	defer c.Close()
	at := s.ClusterAddr()
	if at == nil {
		return
	}
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
