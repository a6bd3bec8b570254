package message

import "bytes"

// URI is a SIP, SIPS, tel or pres URI (RFC 3261 §19.1, RFC 3966, RFC 3859), in parts as they came. Escapes are not decoded.
type URI struct {
	Text     []byte // all of it
	Scheme   string // in lower case: "sip", "sips", "tel" or "pres"
	User     []byte // with its parameters; nil: there is none. Of a tel URI, the number
	Host     []byte // an IPv6 address is in brackets
	Port     int    // 0: none came
	Params   []byte // behind the first ";"
	Headers  []byte // behind the "?"
	password bool
}

// schemes are the schemes of URIs that ParseURI knows.
var schemes = [...]string{"sip", "sips", "tel", "pres"}

// ParseURI reads a URI. ok is false for one that is malformed, and for one of another scheme; Scheme is "" then.
func ParseURI(text []byte) (u URI, ok bool) {
	scheme, rest, found := bytes.Cut(text, []byte{':'})
	if !found {
		return u, false
	}
	for _, s := range schemes {
		if equalFold(scheme, s) {
			u.Scheme = s
		}
	}
	if u.Scheme == "" {
		return u, false
	}
	for _, c := range text {
		if c <= ' ' || c > '~' || c == '<' || c == '>' || c == '"' {
			return u, false
		}
	}
	u.Text = text
	rest, u.Headers, _ = bytes.Cut(rest, []byte{'?'})
	if u.Scheme == "tel" {
		u.User, u.Params, _ = bytes.Cut(rest, []byte{';'})
		return u, len(u.User) > 0
	}
	if u.Headers != nil && bytes.IndexByte(u.Headers, '@') >= 0 && bytes.IndexByte(rest, '@') < 0 {
		// The user may hold a "?" (RFC 3261 §25.1, user-unreserved).
		rest, u.Headers = text[len(scheme)+1:], nil
		if at := bytes.IndexByte(rest, '@'); at >= 0 {
			if q := bytes.IndexByte(rest[at:], '?'); q >= 0 {
				rest, u.Headers = rest[:at+q], rest[at+q+1:]
			}
		}
	}
	if at := bytes.IndexByte(rest, '@'); at >= 0 {
		u.User, _, u.password = bytes.Cut(rest[:at], []byte{':'})
		rest = rest[at+1:]
		if len(u.User) == 0 {
			return u, false
		}
	}
	hostport, params, _ := bytes.Cut(rest, []byte{';'})
	u.Params = params
	if u.Host, u.Port, ok = splitHostPort(hostport); !ok {
		return u, false
	}
	return u, true
}

// splitHostPort takes a host and a port apart.
func splitHostPort(text []byte) (host []byte, port int, ok bool) {
	host = text
	var rest []byte
	if len(text) > 0 && text[0] == '[' {
		end := bytes.IndexByte(text, ']')
		if end < 0 {
			return nil, 0, false
		}
		host, rest = text[:end+1], text[end+1:]
		for _, c := range host[1:end] {
			if !hex(c) && c != ':' && c != '.' {
				return nil, 0, false
			}
		}
	} else {
		if i := bytes.IndexByte(text, ':'); i >= 0 {
			host, rest = text[:i], text[i:]
		}
		for _, c := range host {
			if !tokenChars[c] || c == '%' {
				return nil, 0, false
			}
		}
	}
	if len(host) == 0 {
		return nil, 0, false
	}
	if len(rest) == 0 {
		return host, 0, true
	}
	n, numeric := number(trim(rest[1:]), 65535)
	return host, int(n), rest[0] == ':' && numeric
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// Address is the value of From, To, or one of Contact, Route and Record-Route (RFC 3261 §25.1: name-addr or addr-spec).
type Address struct {
	Text    []byte // all of it, with its parameters
	Display []byte // the display name as it came, also with quotes; nil: there is none
	URI     URI
	Params  []byte // of the header field, behind the first ";"
}

// Tag is the tag; nil: there is none.
func (a *Address) Tag() []byte {
	tag, _ := Param(a.Params, "tag")
	return tag
}

// ParseAddress reads the first address of a list. rest is the list behind it. ok is false when the address is malformed.
func ParseAddress(text []byte) (a Address, rest []byte, ok bool) {
	text = trim(text)
	at := 0
	if len(text) > 0 && text[0] == '"' {
		if at = quotedEnd(text); at == 0 {
			return a, nil, false
		}
		for at < len(text) && (text[at] == ' ' || text[at] == '\t') {
			at++
		}
		if at == len(text) || text[at] != '<' {
			return a, nil, false
		}
	} else {
		for at < len(text) && text[at] != '<' && text[at] != ',' && text[at] != ';' {
			at++
		}
	}
	var spec []byte
	if at < len(text) && text[at] == '<' {
		end := bytes.IndexByte(text[at:], '>')
		if end < 0 {
			return a, nil, false
		}
		a.Display = trim(text[:at])
		if len(a.Display) == 0 {
			a.Display = nil
		}
		spec = text[at+1 : at+end]
		at += end + 1
	} else {
		spec = trim(text[:at])
		if bytes.IndexByte(spec, '?') >= 0 { // RFC 3261 §20: such a URI must stand in < and >
			return a, nil, false
		}
	}
	if a.URI, ok = ParseURI(spec); !ok {
		// A URI of a scheme that is not known is an address all the same.
		if s, _, found := bytes.Cut(spec, []byte{':'}); !found || !token(s) || a.URI.Scheme != "" || !printable(spec) {
			return a, nil, false
		}
		a.URI.Text = spec
	}
	end := listEnd(text[at:])
	params := trim(text[at : at+end])
	a.Text, rest = trim(text[:at+end]), text[at+end:]
	if len(rest) > 0 {
		rest = rest[1:]
	}
	if len(params) > 0 {
		if params[0] != ';' {
			return a, nil, false
		}
		a.Params = params[1:]
	}
	return a, rest, true
}

// parseParty reads the value of From or To: one address, whose tag can be written as it is into other messages.
func parseParty(text []byte) (a Address, ok bool) {
	a, rest, ok := ParseAddress(text)
	tag := a.Tag()
	return a, ok && len(rest) == 0 && (tag == nil || printable(tag) && !bytes.ContainsAny(tag, "\"<>,;"))
}

// quotedEnd is the index behind a quoted string that text begins with; 0: it does not end.
func quotedEnd(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// listEnd is the index of the first comma that is in no quoted string and in no < >, or the length of text.
func listEnd(text []byte) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := quotedEnd(text[i:])
			if n == 0 {
				return len(text)
			}
			i += n - 1
		case '<':
			if n := bytes.IndexByte(text[i:], '>'); n > 0 {
				i += n
			}
		case ',':
			return i
		}
	}
	return len(text)
}

// NextParam takes the first parameter off a list of parameters, which stand behind semicolons. value is nil when the parameter has
// none, and has no quotes around it. name is nil at the end.
func NextParam(params []byte) (name, value, rest []byte) {
	params = trim(params)
	for len(params) > 0 && params[0] == ';' {
		params = trim(params[1:])
	}
	if len(params) == 0 {
		return nil, nil, nil
	}
	i := 0
	for i < len(params) && params[i] != '=' && params[i] != ';' {
		i++
	}
	name = trim(params[:i])
	if len(name) == 0 {
		name = params[:0]
	}
	if i == len(params) || params[i] == ';' {
		return name, nil, params[i:]
	}
	params = trim(params[i+1:])
	if len(params) > 0 && params[0] == '"' {
		end := quotedEnd(params)
		if end == 0 {
			return name, params[1:], nil
		}
		return name, params[1 : end-1], params[end:]
	}
	i = bytes.IndexByte(params, ';')
	if i < 0 {
		i = len(params)
	}
	return name, trim(params[:i]), params[i:]
}

// Param finds a parameter by its name, in any case. value is nil when the parameter has none.
func Param(params []byte, name string) (value []byte, found bool) {
	for len(params) > 0 {
		var n, v []byte
		if n, v, params = NextParam(params); n == nil {
			break
		}
		if equalFold(n, name) {
			return v, true
		}
	}
	return nil, false
}

// ViaHop is one Via (RFC 3261 §20.42): where a request came from.
type ViaHop struct {
	Protocol  []byte // up to the host
	Transport []byte
	Host      []byte
	Port      int // 0: none came
	Branch    []byte
	RPort     bool // the sender wants the response on the port that it sent from (RFC 3581)
	Params    []byte
	size      int // bytes of this Via in its line
}

// ParseVia reads the first Via of a line.
func ParseVia(text []byte) (v ViaHop, ok bool) {
	v.size = listEnd(text)
	text = text[:v.size]
	first, rest, a := bytes.Cut(text, []byte{'/'})
	version, rest, b := bytes.Cut(rest, []byte{'/'})
	if !a || !b || !equalFold(trim(first), "SIP") || !bytes.Equal(trim(version), []byte("2.0")) {
		return v, false
	}
	rest = trim(rest)
	i := bytes.IndexAny(rest, " \t")
	if i < 0 || !token(rest[:i]) {
		return v, false
	}
	v.Transport = rest[:i]
	rest = rest[i:]
	v.Protocol = text[:len(text)-len(rest)]
	rest = trim(rest)
	hostport, params, _ := bytes.Cut(rest, []byte{';'})
	hostport = trim(hostport)
	if i := bytes.IndexByte(hostport, ':'); i > 0 && hostport[0] != '[' { // white space may stand around the colon
		hostport = bytes.Join([][]byte{trim(hostport[:i]), trim(hostport[i+1:])}, []byte{':'})
	}
	v.Params = params
	host, port, ok := splitHostPort(hostport)
	if !ok {
		return v, false
	}
	v.Host, v.Port = host, port
	for first := true; len(params) > 0; first = false {
		if params = trim(params); !first && len(params) > 0 { // a semicolon
			params = trim(params[1:])
		}
		if len(params) > 0 && params[0] == ';' { // RFC 4475 §3.1.2.1
			return v, false
		}
		var name, value []byte
		name, value, params = NextParam(params)
		switch {
		case v.Branch == nil && equalFold(name, "branch"):
			v.Branch = value
		case equalFold(name, "rport"):
			v.RPort = true
		}
	}
	return v, true
}
