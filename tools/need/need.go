// Package need says what a test does on a machine that lacks a tool or a right that the test needs. One rule holds for
// all tests: where the environment variable CI is set, the test fails; on a developer's machine it may skip. go test
// shows why a test was skipped only with -v, so that nobody would notice it in CI.
package need

import (
	"fmt"
	"os"
	"testing"
)

// Met fails the test in CI, and skips it elsewhere, if ok is false. The format names the need.
func Met(t testing.TB, ok bool, format string, args ...any) {
	t.Helper()
	if !Has(t, ok, format, args...) {
		t.SkipNow() //nolint:forbidigo // the one place
	}
}

// Has is Met for a part of a test: outside CI it returns ok, and the test goes on without that part.
func Has(t testing.TB, ok bool, format string, args ...any) bool {
	t.Helper()
	if ok {
		return true
	}
	what := fmt.Sprintf(format, args...)
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s; CI must provide it, only a developer's machine may do without", what)
	}
	t.Logf("NOT TESTED: this needs %s", what)
	return false
}
