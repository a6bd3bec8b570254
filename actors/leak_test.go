package actors_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine is left behind by a system that was closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
