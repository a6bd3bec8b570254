package subject

import (
	"errors"
	"strings"
)

// MaxName is the number of bytes that an outside name may have before it is encoded. Without a bound, a long name could
// make a subject of more than 4 KiB, and for such a subject a NATS server closes the whole connection.
const MaxName = 256

var errToken = errors.New("not a token of this contract: [A-Za-z0-9-~_], + for a space, %HH in upper case for all " +
	"else, 1 to 256 bytes")

// plain says whether a byte stands for itself in a token.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '~' || c == '_'
}

// Token encodes an outside name as one token of a subject.
func Token(name string) string {
	for i := 0; i < len(name); i++ {
		if !plain(name[i]) {
			return string(AppendToken(make([]byte, 0, len(name)+16), name))
		}
	}
	return name
}

// AppendToken appends an outside name to dst, encoded as one token of a subject.
func AppendToken(dst []byte, name string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case plain(c):
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, '+')
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// ParseToken decodes a token and returns the outside name. It reads escapes that Token does not make, of bytes that need none, because
// some libraries write them. It refuses any other token that Token does not make, and names that are empty or longer than MaxName
// bytes.
func ParseToken(token string) (string, error) {
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		switch c := token[i]; {
		case plain(c):
			b = append(b, c)
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(token) && unhex(token[i+1]) < 16 && unhex(token[i+2]) < 16:
			b = append(b, unhex(token[i+1])<<4|unhex(token[i+2]))
			i += 2
		default:
			return "", errToken
		}
	}
	if len(b) == 0 || len(b) > MaxName || strings.ContainsRune(token, '.') {
		return "", errToken
	}
	return string(b), nil
}

// unhex returns the value of an upper-case hexadecimal digit, and 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
