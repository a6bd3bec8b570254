//go:build nolinkname

package natsd

import "github.com/nats-io/nats-server/v2/server"

// canStand is false in a build with the tag nolinkname: the embedded servers wait for NATS's own elections, which come 4
// to 9 s after a leader is lost.
const canStand = false

func lookupRaftNode(*server.Server, string) server.RaftNode { return nil }
