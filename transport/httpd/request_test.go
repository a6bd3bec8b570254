package httpd

import "testing"

// Whatever the path, segments returns at most maxSegments segments or an error.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v2/accounts/a/presence/%2A3101", "/v2//", "/%", "/v2/accounts/x/presence/1?x#y", "/%ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := segments(nil, []byte(raw))
		if err == nil && (len(p) == 0 || len(p) > maxSegments) {
			t.Errorf("%q: %d segments", raw, len(p))
		}
	})
}
