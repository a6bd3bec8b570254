package body

import (
	"strings"
	"unicode/utf8"
)

// MaxText is how many bytes of a text from outside are shown. Call-IDs, tags and addresses are far shorter.
const MaxText = 1024

// text cuts a text from outside to MaxText, at the start of a rune.
func text(s string) string {
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// appendEscaped appends s as XML character data or as an attribute value. It leaves out characters that XML 1.0 §2.2 forbids
// and bytes that are not UTF-8. It escapes tabs and line ends, because an XML reader makes them spaces in an attribute.
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

// appendURI appends an address as a SIP URI for use in XML. Bytes that RFC 3261 §25.1 does not allow in a user part or a host
// are percent-encoded, so that only & and ' need an XML escape.
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

// hasScheme says whether an address begins with the scheme of a SIP, tel, pres or im URI, in any case.
func hasScheme(s string) bool {
	scheme, _, found := strings.Cut(s, ":")
	return found && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") || strings.EqualFold(scheme, "tel") ||
		strings.EqualFold(scheme, "pres") || strings.EqualFold(scheme, "im"))
}

// appendAttr appends an attribute, unless its value is empty.
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
