//go:build !nolinkname

package natsd

import (
	"net"
	"net/url"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
)

// takeRoute has the server take a connection for a route, as the server's own listener would, and does not wait for the end of the
// connection.
func takeRoute(s *server.Server, c net.Conn) { createRoute(s, c, nil, server.Implicit, 0, "") }

// createRoute is an unexported method of the NATS server, which takes no listener of ours. What election_linkname.go says of
// lookupRaftNode holds here too.
//
//go:linkname createRoute github.com/nats-io/nats-server/v2/server.(*Server).createRoute
func createRoute(s *server.Server, c net.Conn, to *url.URL, kind server.RouteType, gossip byte, account string) unsafe.Pointer

// takeClient has the server take a connection for a client, as the server's own listener would, and does not wait for the end of the
// connection.
func takeClient(s *server.Server, c net.Conn) { createClient(s, c) }

// createClient is an unexported method of the NATS server, as createRoute is.
//
//go:linkname createClient github.com/nats-io/nats-server/v2/server.(*Server).createClient
func createClient(s *server.Server, c net.Conn) unsafe.Pointer
