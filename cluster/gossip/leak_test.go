package gossip

import (
	"testing"

	"go.uber.org/goleak"
)

// A Membership that was stopped leaves no goroutine behind. memberlist's probe of a member that does not answer ends by itself some
// seconds later.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}
