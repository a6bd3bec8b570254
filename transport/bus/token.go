package bus

import (
	"errors"
	"strings"
)

// maxName bounds an outside name before it becomes part of a subject: over 4 KiB of subject, NATS cuts the connection.
const maxName = 256

var errToken = errors.New("not a token of this contract: [A-Za-z0-9-~_], + for a space, %HH in upper case for all else, 1 to 256 bytes")

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '~' || c == '_'
}

// Token encodes an outside name as one token of a subject.
func Token(name string) string {
	const hex = "0123456789ABCDEF"
	clean := true
	for i := 0; i < len(name) && clean; i++ {
		clean = plain(name[i])
	}
	if clean {
		return name
	}
	b := make([]byte, 0, len(name)+16)
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case plain(c):
			b = append(b, c)
		case c == ' ':
			b = append(b, '+')
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// ParseToken is the inverse of Token.
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
	if len(b) == 0 || len(b) > maxName || strings.ContainsRune(token, '.') {
		return "", errToken
	}
	return string(b), nil
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
