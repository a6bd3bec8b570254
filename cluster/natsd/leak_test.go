package natsd

import (
	"testing"

	"go.uber.org/goleak"
)

// A server that was stopped leaves no goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}
