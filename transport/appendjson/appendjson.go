// Package appendjson appends JSON to a slice of the caller. The hot paths write their documents with it: answers over
// HTTP, replies over NATS, NOTIFY messages. It uses no reflection, and it allocates only when the slice has no room left.
//
// Its functions keep no state and may be called from any goroutine. Those that append a member of an object put a comma
// before it, unless the last byte of the slice is the { that opens the object. Like append, they return the slice.
package appendjson

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// String appends s as a JSON string. Each byte of s that is no valid UTF-8 becomes U+FFFD.
func String(dst []byte, s string) []byte { return append(Escape(append(dst, '"'), s), '"') }

// Escape appends s as it stands between the quotes of a JSON string; it appends no quotes. Each byte of s that is no valid
// UTF-8 becomes U+FFFD.
func Escape[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		if c < utf8.RuneSelf {
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, "\ufffd"...)
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
		start = i
	}
	return append(dst, s[start:]...)
}

// plain says which bytes stand for themselves in a JSON string: ASCII, but for control characters, quotes and backslashes.
var plain = func() (p [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

// Literal is the name of a member as it stands in the code of the program. Constants of Go are Literals by themselves, and a
// string is not: a name that came from outside the program goes through OutsideKey, which escapes it.
type Literal string

// Field appends the member `"name":"value"`.
func Field(dst []byte, name Literal, value string) []byte { return String(Key(dst, name), value) }

// Key appends `"name":`, so that the caller can append the value.
func Key(dst []byte, name Literal) []byte {
	return append(append(append(comma(dst), '"'), name...), `":`...)
}

// OutsideKey is Key for a name that came from outside the program. It escapes the name.
func OutsideKey(dst []byte, name string) []byte {
	return append(String(comma(dst), name), ':')
}

// comma appends a comma, unless the object has just been opened.
func comma(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' {
		dst = append(dst, ',')
	}
	return dst
}

// Number appends the member `"name":n`.
func Number(dst []byte, name Literal, n int64) []byte {
	return strconv.AppendInt(Key(dst, name), n, 10)
}

// Time appends the member `"name":"t"`, with t in UTC as RFC 3339 writes it. For the zero time it appends nothing.
func Time(dst []byte, name Literal, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = append(Key(dst, name), '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// True appends the member `"name":true`.
func True(dst []byte, name Literal) []byte { return append(Key(dst, name), "true"...) }
