package appendjson

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is written is JSON, and reads back as what it was; invalid UTF-8 as U+FFFD.
func TestStringReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		var got string
		if err := json.Unmarshal(String(nil, s), &got); err != nil {
			t.Fatalf("%v: %s", err, String(nil, s))
		}
		if want := strings.ToValidUTF8(s, "\x00"); strings.Map(invalid, got) != strings.Map(invalid, want) {
			t.Fatalf("%q reads back as %q", s, got)
		}
	})
}

// invalid leaves out what stands for invalid bytes: how many they become is not said.
func invalid(r rune) rune {
	if r == '\ufffd' || r == 0 {
		return -1
	}
	return r
}

// Eight bytes are looked at together; each value of a byte is escaped right in each place.
func TestEachByteInEachPlace(t *testing.T) {
	for size := 1; size <= 17; size++ {
		for at := range size {
			for c := range 256 {
				b := []byte(strings.Repeat("a", size))
				b[at] = byte(c)
				var got string
				if err := json.Unmarshal(String(nil, string(b)), &got); err != nil {
					t.Fatalf("%v: %s", err, String(nil, string(b)))
				}
				if want := strings.ToValidUTF8(string(b), "\ufffd"); got != want {
					t.Fatalf("%q reads back as %q", b, got)
				}
			}
		}
	}
}
