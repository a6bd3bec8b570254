package subject

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestToken(t *testing.T) {
	for name, want := range map[string]string{"*3101": "%2A3101", "acme.example.com": "acme%2Eexample%2Ecom", "a b": "a+b", "1001": "1001", "x>y~_-": "x%3Ey~_-", "é": "%C3%A9"} {
		if got := Token(name); got != want {
			t.Errorf("Token(%q) = %q, want %q", name, got, want)
		}
	}
	for token, want := range map[string]string{"%61bc": "abc", "front%20desk": "front desk", "%7E1": "~1"} {
		if got, err := ParseToken(token); got != want || err != nil {
			t.Errorf("ParseToken(%q) = %q, %v, want %q", token, got, err, want)
		}
	}
	for _, bad := range []string{"", "%2a", "%", "%4", "a.b", "a*", ">", strings.Repeat("a", 257), strings.Repeat("%2A", 257)} {
		if got, err := ParseToken(bad); err == nil {
			t.Errorf("ParseToken(%.20q) = %q", bad, got)
		}
	}
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		name := string(rapid.SliceOfN(rapid.Byte(), 1, MaxName).Draw(r, "name"))
		token := Token(name)
		back, err := ParseToken(token)
		if err != nil || back != name || strings.ContainsAny(token, ".*> ") {
			r.Fatalf("%q → %q → %q, %v", name, token, back, err)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("%2A3101")
	f.Fuzz(func(t *testing.T, token string) {
		name, err := ParseToken(token)
		if err != nil {
			return
		}
		if again, err := ParseToken(Token(name)); err != nil || again != name {
			t.Errorf("%q → %q → %q, %v", token, name, again, err)
		}
	})
}
