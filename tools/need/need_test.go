package need

import (
	"runtime"
	"testing"
)

// recorder is a testing.TB that only notes how the test would have ended.
type recorder struct {
	testing.TB
	failed, skipped bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Fatalf(string, ...any) { r.failed = true; runtime.Goexit() }
func (r *recorder) SkipNow()              { r.skipped = true; runtime.Goexit() }

func TestRule(t *testing.T) {
	for _, c := range []struct {
		ci                      string
		ok                      bool
		failed, skipped, wentOn bool
	}{
		{ci: "", ok: true, wentOn: true},
		{ci: "1", ok: true, wentOn: true},
		{ci: "", ok: false, skipped: true},
		{ci: "1", ok: false, failed: true},
	} {
		t.Setenv("CI", c.ci)
		r, wentOn := &recorder{}, false
		done := make(chan struct{})
		go func() {
			defer close(done)
			Met(r, c.ok, "a tool named %q", "x")
			wentOn = true
		}()
		<-done
		if r.failed != c.failed || r.skipped != c.skipped || wentOn != c.wentOn {
			t.Errorf("CI=%q, the need is met: %v: failed %v, skipped %v, went on %v", c.ci, c.ok, r.failed, r.skipped, wentOn)
		}
	}
}

func TestHas(t *testing.T) {
	t.Setenv("CI", "")
	r := &recorder{}
	if !Has(r, true, "x") || Has(r, false, "x") || r.failed || r.skipped {
		t.Errorf("outside CI Has must only return whether the need is met: failed %v, skipped %v", r.failed, r.skipped)
	}
}
