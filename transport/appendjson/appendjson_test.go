package appendjson

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A JSON decoder reads a string back as it was. Bytes that are no valid UTF-8 it reads as U+FFFD.
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

// invalid removes the characters that stand for invalid bytes. Our encoder and strings.ToValidUTF8 may write a different
// number of them.
func invalid(r rune) rune {
	if r == '\ufffd' || r == 0 {
		return -1
	}
	return r
}

// The encoder checks eight bytes at a time. It escapes each value of a byte correctly at each place of strings of up to 17
// bytes.
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
