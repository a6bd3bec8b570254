package presence

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Address names one extension, or a mailbox of one. Both parts are in lower case.
type Address struct{ Realm, User string }

// String is user@realm, the presence id.
func (a Address) String() string { return a.User + "@" + a.Realm }

// Addressed is one Message and the extension that it goes to.
type Addressed struct {
	To      Address
	Message Message
}

// MaxName is the number of bytes that a user and a realm may have.
const MaxName = 256

// AddressError is the error for a text that names no extension. Its words fit behind the name of the field that the text came in.
type AddressError struct {
	Text  string // as it came
	Wrong string // what is wrong with it, and what would be right
}

// Error implements error.
func (e *AddressError) Error() string { return fmt.Sprintf("is %.60q, %s", e.Text, e.Wrong) }

// Party is one side of a call: an address in the case in which it came, and the name that is shown for it.
type Party struct {
	Name string // the display name; "": none came
	User string // percent-escapes that need not be are decoded
	Host string // in lower case, without a port
}

// String is user@host.
func (p Party) String() string { return p.User + "@" + p.Host }

// ParseParty reads an address of the form name-addr or addr-spec (RFC 3261 §25.1), or user@host without a scheme. The schemes
// sip, sips, pres and im are known. It drops a password, user parameters, the port, URI parameters and headers. Of the
// percent-escapes it decodes those that stand for a character that is not reserved (§19.1.4); all others stay. A space, a
// quotation mark, < and > in the user are escaped. Its error is an *AddressError.
func ParseParty(text string) (Party, error) {
	wrong := func(words string) (Party, error) { return Party{}, &AddressError{text, words} }
	if !utf8.ValidString(text) {
		return wrong("which is not UTF-8")
	}
	name, spec, ok := nameAddr(text)
	if !ok {
		return wrong("which is no address: a quoted name or the < is not closed")
	}
	rest, scheme := cutScheme(spec)
	if scheme == "tel" {
		return wrong("a telephone number, which has no realm; write user@realm or sip:user@realm")
	}
	user, host, found := strings.Cut(rest, "@")
	if !found {
		return wrong("which has no realm; write user@realm or sip:user@realm")
	}
	p := Party{Name: name}
	var words string
	if p.User, words = cleanUser(user, scheme != ""); words != "" {
		return wrong(words)
	}
	if p.Host, ok = cleanHost(host); !ok {
		return wrong("whose host is no host name and no [IPv6 address]; write user@realm or sip:user@realm")
	}
	if len(p.User) > MaxName || len(p.Host) > MaxName {
		return wrong(fmt.Sprintf("whose user or realm has more than %d bytes", MaxName))
	}
	return p, nil
}

// ParsePresenceID reads the address of an extension. It takes what ParseParty takes. The String of its result reads as the same
// Address again. Its error is an *AddressError.
func ParsePresenceID(text string) (Address, error) {
	p, err := ParseParty(text)
	if err != nil {
		return Address{}, err
	}
	return p.address(text)
}

// ParseName reads the name of an extension: a user of the realm, or an address as ParsePresenceID reads it, which may be in
// another realm. All that names extensions is read by it or by ParsePresenceID: documents, subjects, HTTP paths, and the
// presence ids of the directory. So they name the same extension if they look the same to a phone (RFC 3261 §19.1.4). Its
// error is an *AddressError.
func ParseName(text, realm string) (Address, error) {
	if _, scheme := cutScheme(strings.TrimSpace(text)); scheme != "" || strings.ContainsAny(text, "@<") {
		return ParsePresenceID(text)
	}
	if !utf8.ValidString(text) {
		return Address{}, &AddressError{text, "which is not UTF-8"}
	}
	user, words := cleanUser(strings.TrimSpace(text), false)
	if words != "" {
		return Address{}, &AddressError{text, words}
	}
	return Party{User: user, Host: strings.ToLower(realm)}.address(text)
}

// address is the party as an extension. text is what it was read from.
func (p Party) address(text string) (Address, error) {
	a := Address{Realm: p.Host, User: strings.ToLower(p.User)}
	switch {
	case a.User == "*":
		return Address{}, &AddressError{text, "a bare *, which is no extension"}
	case len(a.User) > MaxName:
		return Address{}, &AddressError{text, fmt.Sprintf("whose user has more than %d bytes", MaxName)}
	}
	return a, nil
}

// nameAddr takes a name-addr apart: the display name, and the addr-spec between < and >. Without <, all of the text is the
// addr-spec.
func nameAddr(text string) (name, spec string, ok bool) {
	text = strings.TrimSpace(text)
	rest := text
	if strings.HasPrefix(text, `"`) {
		var b strings.Builder
		i := 1
		for ; i < len(text) && text[i] != '"'; i++ {
			if text[i] == '\\' && i+1 < len(text) { // RFC 3261 §25.1, quoted-pair
				i++
			}
			b.WriteByte(text[i])
		}
		if i >= len(text) {
			return "", "", false
		}
		if name, rest = b.String(), strings.TrimSpace(text[i+1:]); !strings.HasPrefix(rest, "<") {
			return "", "", false
		}
	} else if i := strings.IndexByte(text, '<'); i >= 0 {
		name, rest = strings.TrimSpace(text[:i]), text[i:]
	} else {
		return "", text, true
	}
	spec, after, closed := strings.Cut(rest[1:], ">")
	after = strings.TrimSpace(after)
	return name, strings.TrimSpace(spec), closed && (after == "" || after[0] == ';')
}

// cutScheme takes the scheme off a URI, if it is one of those that are known; scheme is in lower case.
func cutScheme(spec string) (rest, scheme string) {
	if before, after, found := strings.Cut(spec, ":"); found {
		switch scheme = strings.ToLower(before); scheme {
		case "sip", "sips", "pres", "im", "tel":
			return after, scheme
		}
	}
	return spec, ""
}

// cleanUser reads the part before the @. uri says that a scheme came before it, so that it may have a password. words says
// what is wrong with it; "": nothing is.
func cleanUser(user string, uri bool) (clean, words string) {
	if uri {
		user, _, _ = strings.Cut(user, ":")
	}
	user, _, _ = strings.Cut(user, ";")
	if i := strings.IndexByte(user, ':'); i >= 0 {
		return "", "whose scheme is not known; write user@realm or sip:user@realm"
	}
	if user = decodeEscapes(strings.TrimSpace(user)); user == "" {
		return "", "which has no user; write user@realm or sip:user@realm"
	}
	for i, r := range user {
		switch {
		case r == '%' && !(i+2 < len(user) && isHex(user[i+1]) && isHex(user[i+2])):
			return "", "in whose user a % stands alone; write %25 for it"
		case r != ' ' && unicode.IsSpace(r) || !unicode.IsPrint(r):
			escape := url.PathEscape(string(r))
			return "", fmt.Sprintf("in whose user the character %q stands; write %s for it, and %s in the path of a URL", r, escape, url.PathEscape(escape))
		}
	}
	return unprotected.Replace(user), ""
}

// unprotected writes the escapes of the characters that come without one and need it. A phone sends them so.
var unprotected = strings.NewReplacer(" ", "%20", `"`, "%22", "<", "%3C", ">", "%3E")

// cleanHost reads the part behind the @, and drops port, parameters and headers.
func cleanHost(host string) (clean string, ok bool) {
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host = host[:i]
	}
	port := ""
	if strings.HasPrefix(host, "[") {
		address, after, closed := strings.Cut(host[1:], "]")
		ip, err := netip.ParseAddr(address)
		if !closed || err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", false
		}
		clean, port = "["+ip.String()+"]", after
	} else {
		i := strings.IndexByte(host+":", ':')
		clean, port = strings.ToLower(host[:i]), host[i:]
		for _, r := range clean {
			if !(r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) {
				return "", false
			}
		}
	}
	if port != "" && (port[0] != ':' || strings.Trim(port[1:], "0123456789") != "") {
		return "", false
	}
	return clean, clean != ""
}

// keptEscapes are the characters of ASCII whose percent-escapes stay: the reserved ones (RFC 3261 §25.1), and those that would
// make another name or none at all if they stood there themselves.
const keptEscapes = `;/?:@&=+$,%<>"`

// decodeEscapes decodes the percent-escapes of printable characters, but for keptEscapes.
func decodeEscapes(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		var run [utf8.UTFMax]byte // what the escapes from here on stand for
		n := 0
		for at := i; n < len(run) && at+2 < len(s) && s[at] == '%' && isHex(s[at+1]) && isHex(s[at+2]); at += 3 {
			run[n] = unhex(s[at+1])<<4 | unhex(s[at+2])
			n++
		}
		switch r, size := utf8.DecodeRune(run[:n]); {
		case n == 0:
			out = append(out, s[i])
			i++
		case r == utf8.RuneError || !unicode.IsPrint(r) || unicode.IsSpace(r) || r < utf8.RuneSelf && strings.IndexByte(keptEscapes, byte(r)) >= 0:
			out = append(out, s[i:i+3]...)
			i += 3
		default:
			out = append(out, run[:size]...)
			i += 3 * size
		}
	}
	return string(out)
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
