package body

import (
	"strings"
	"unicode/utf8"
)

// maxText is where an outside string is cut. Call-IDs, tags and addresses are far shorter.
const maxText = 1024

// text is an outside string, cut on a rune's boundary.
func text(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// appendEscaped appends s as XML character data or attribute value, without what XML 1.0 §2.2 forbids
// and without what is not UTF-8. White space is escaped, because an attribute would lose it.
func appendEscaped(dst []byte, s string) []byte {
	s = text(s)
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '&':
				dst = append(dst, "&amp;"...)
			case c == '<':
				dst = append(dst, "&lt;"...)
			case c == '>':
				dst = append(dst, "&gt;"...)
			case c == '"':
				dst = append(dst, "&quot;"...)
			case c == '\'':
				dst = append(dst, "&apos;"...)
			case c == '\t':
				dst = append(dst, "&#9;"...)
			case c == '\n':
				dst = append(dst, "&#10;"...)
			case c == '\r':
				dst = append(dst, "&#13;"...)
			case c >= ' ':
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if (r != utf8.RuneError || n > 1) && r != 0xFFFE && r != 0xFFFF {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// appendURI appends an address as a SIP URI, still to be read as XML: what RFC 3261 §25.1 does not
// allow in a user part or host is percent-encoded, so nothing in it needs an XML escape but & and '.
func appendURI(dst []byte, s string) []byte {
	s = text(s)
	if !hasScheme(s) {
		dst = append(dst, "sip:"...)
	}
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '\'':
			dst = append(dst, "&apos;"...)
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-_.!~*()=+$,;?/%@:[]", c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

func hasScheme(s string) bool {
	scheme, _, found := strings.Cut(s, ":")
	return found && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") || strings.EqualFold(scheme, "tel") || strings.EqualFold(scheme, "pres"))
}

// appendAttr appends an attribute; an empty one is left out.
func appendAttr(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '"')
	dst = appendEscaped(dst, value)
	return append(dst, '"')
}
