// Package need decides what a test does on a machine that lacks a tool or a right which the test needs. The rule is the same for all
// tests: if the environment variable CI is set, the test fails; on a developer's machine it is skipped. In CI nobody would notice a
// skipped test, because go test names it only with -v.
package need

import (
	"fmt"
	"os"
	"testing"
)

// Met does nothing if ok is true. Otherwise it fails the test in CI, and skips it elsewhere. The format says what the test needs.
func Met(t testing.TB, ok bool, format string, args ...any) {
	t.Helper()
	if !Has(t, ok, format, args...) {
		t.SkipNow() //nolint:forbidigo // the only place where a test may be skipped for lack of something
	}
}

// Has is for a part of a test. If ok is false it fails the test in CI. Elsewhere it logs the need and returns false, and the caller
// leaves that part out.
func Has(t testing.TB, ok bool, format string, args ...any) bool {
	t.Helper()
	if ok {
		return true
	}
	what := fmt.Sprintf(format, args...)
	if os.Getenv("CI") != "" {
		t.Fatalf("this test needs %s; where CI is set, the machine must provide it", what)
	}
	t.Logf("NOT TESTED: this needs %s", what)
	return false
}
