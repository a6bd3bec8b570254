//go:build !nolinkname

package natsd

import (
	_ "unsafe" // for go:linkname

	"github.com/nats-io/nats-server/v2/server"
)

// canStand says whether an embedded server can stand for election before NATS itself would: here it can.
const canStand = true

// lookupRaftNode returns the server's member of a raft group, or nil. It is an unexported method of the NATS server:
// nothing that the server exports leads to its raft groups. The linker checks the name but not the parameters, so a
// NATS version in which they differ would crash the process. TestReviewedServer fails for a new version of NATS until
// somebody has read the method there. `go build -tags nolinkname` makes a binary that does not use the method.
//
//go:linkname lookupRaftNode github.com/nats-io/nats-server/v2/server.(*Server).lookupRaftNode
func lookupRaftNode(s *server.Server, group string) server.RaftNode
