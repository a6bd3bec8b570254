package presence

import (
	"errors"
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) { // RFC 3261 §25.1, §19.1.4
	for text, want := range map[string]string{
		"1001@acme.test":     "1001@acme.test",
		"sip:1001@Acme.Test": "1001@acme.test",
		"SIPS:1001@acme.test:5061;transport=tls?Subject=x":     "1001@acme.test",
		"pres:1001@acme.test":                                  "1001@acme.test",
		"im:1001@acme.test":                                    "1001@acme.test",
		"sip:1001:secret@acme.test":                            "1001@acme.test",
		"sip:1001;phone-context=+49;x=y@acme.test;user=phone":  "1001@acme.test",
		"1001@acme.test:5060":                                  "1001@acme.test",
		"sip:1001@[2001:DB8:0::10]:5060;lr":                    "1001@[2001:db8::10]",
		`"Ada \"the\" <Countess>" <sip:1001@acme.test>;tag=7`:  "1001@acme.test",
		"Ada Lovelace <sip:1001@acme.test>":                    "1001@acme.test",
		"<sip:1001@acme.test:5060;transport=tcp>;expires=1800": "1001@acme.test",
		"sip:%2A3107@acme.test":                                "*3107@acme.test",
		"%2a3107@acme.test":                                    "*3107@acme.test",
		"sip:%23%31@acme.test":                                 "#1@acme.test",
		"sip:%2B49%40%3b@acme.test":                            "%2b49%40%3b@acme.test",
		"sip:+49@acme.test":                                    "+49@acme.test",
		"sip:a%252A@acme.test":                                 "a%252a@acme.test",
		"sip:%C3%A9@acme.test":                                 "é@acme.test",
		"sip:%C3%20@acme.test":                                 "%c3%20@acme.test",
		" \tsip:1001@acme.test ":                               "1001@acme.test",
	} {
		if a, err := ParsePresenceID(text); err != nil || a.String() != want {
			t.Errorf("%q: %v %v, want %s", text, a, err, want)
		}
	}
	for text, words := range map[string]string{
		"tel:+12125550100": "telephone number", "tel:1@acme.test": "telephone number", "": "no realm", "1001": "no realm", "sip:acme.test": "no realm",
		"@acme.test": "no user", "sip:;x=y@acme.test": "no user", "1001@": "host", "h323:1001@acme.test": "scheme", "two\twords@acme.test": "write %09 for it, and %2509 in the path of a URL",
		"100%@acme.test": "%25", "*@acme.test": "bare *", "sip:%2A@acme.test": "bare *", "a@b@acme.test": "host", "a@acme.test:x": "host", "a@[::1": "host", "a@[1.2.3.4]": "host",
		`"Ada <sip:1001@acme.test>`: "not closed", "<sip:1001@acme.test": "not closed", "<sip:1@a> x": "not closed", "a\x00b@acme.test": "write %00 for it", "\xff@acme.test": "UTF-8",
		strings.Repeat("x", 257) + "@acme.test": "256", "1@" + strings.Repeat("x", 257): "256",
	} {
		_, err := ParsePresenceID(text)
		var wrong *AddressError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Wrong, words) {
			t.Errorf("%q: %v, want words about %q", text, err, words)
		}
	}
}

func TestNamesOfARealm(t *testing.T) {
	for text, want := range map[string]string{
		"1001": "1001@acme.test", "%2A3107": "*3107@acme.test", "1001@other.test": "1001@other.test", "sip:1001@acme.test": "1001@acme.test",
		"Front": "front@acme.test", " 7 ": "7@acme.test", "front desk": "front%20desk@acme.test", "Front%20Desk": "front%20desk@acme.test", `>"`: "%3e%22@acme.test", "1001;x=y": "1001@acme.test",
	} {
		if a, err := ParseName(text, "Acme.test"); err != nil || a.String() != want {
			t.Errorf("%q: %v %v, want %s", text, a, err, want)
		}
	}
	for _, text := range []string{"", "*", "%2A", "sip:1001", "tel:5", "a\nb", "x:y", "\xff", "<1001>", strings.Repeat("é", 129)} {
		if a, err := ParseName(text, "acme.test"); err == nil {
			t.Errorf("%q names %v", text, a)
		}
	}
}

func TestDisplayNames(t *testing.T) {
	for text, want := range map[string]string{
		`"Ada \"L\" \\" <sip:Bob@Acme.test>`: `Ada "L" \|Bob@acme.test`, "Ada Love <sip:1@a>": "Ada Love|1@a", "<sip:1@a>": "|1@a", `"" <sip:1@a>`: "|1@a", "1@a": "|1@a",
	} {
		if p, err := ParseParty(text); err != nil || p.Name+"|"+p.String() != want {
			t.Errorf("%q: %+v %v", text, p, err)
		}
	}
}

// Whatever comes in, an address that is read has its bounds and reads as itself again.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{`"A" <sip:%2A1:p@[::1]:5060;x?y>;tag=1`, "tel:1", "a%C3%A9%25@b", "\u0130@\u212a", "sip:a;b@c", "%", "@", "<", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Address, error){ParsePresenceID, func(s string) (Address, error) { return ParseName(s, "acme.test") }} {
			a, err := parse(text)
			if err != nil {
				continue
			}
			if a.User == "" || a.User == "*" || a.Realm == "" || len(a.User) > MaxName || len(a.Realm) > MaxName || strings.ContainsAny(a.User, "@ <>\"\r\n") {
				t.Fatalf("%q names %q", text, a)
			}
			if again, err := ParsePresenceID(a.String()); err != nil || again != a {
				t.Fatalf("%q names %q, which names %q: %v", text, a, again, err)
			}
			if again, err := ParseName(a.User, a.Realm); err != nil || again != a {
				t.Fatalf("%q names %q, whose user names %q: %v", text, a, again, err)
			}
		}
	})
}
