package natsd

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine is left behind by a node that was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}
