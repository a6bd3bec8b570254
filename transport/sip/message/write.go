package message

import (
	"net/netip"
	"strconv"
)

// AppendStatus appends the start line of a response.
func AppendStatus(dst []byte, code int, reason string) []byte {
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	return append(append(append(dst, ' '), reason...), "\r\n"...)
}

// AppendField appends a header line.
func AppendField(dst []byte, n Name, value string) []byte {
	return append(append(append(append(dst, fields[n]...), ": "...), value...), "\r\n"...)
}

// AppendNumber appends a header line whose value is a number.
func AppendNumber(dst []byte, n Name, value int64) []byte {
	dst = append(append(dst, fields[n]...), ": "...)
	return append(strconv.AppendInt(dst, value, 10), "\r\n"...)
}

// AppendEnd appends the length of the body and the line that ends the head. The caller appends the body.
func AppendEnd(dst []byte, body int) []byte {
	return append(AppendNumber(dst, ContentLength, int64(body)), "\r\n"...)
}

// AppendEcho appends the lines of a response that repeat the request's: Via, From, To, Call-ID and CSeq (RFC 3261 §8.2.6). source is
// where the request came from, which the topmost Via is told (RFC 3261 §18.2.1, RFC 3581 §4). A tag is added to To when it has none
// and tag is not "". A line that a faulty request lacks is left out.
func (m *Message) AppendEcho(dst []byte, source netip.AddrPort, tag string) []byte {
	top := true
	for value := range m.Headers(Via) {
		dst = append(dst, "Via: "...)
		if top {
			dst = m.appendVia(dst, value, source)
			top = false
		} else {
			dst = append(dst, value...)
		}
		dst = append(dst, "\r\n"...)
	}
	for _, n := range [...]Name{From, To, CallID, CSeq} {
		value := m.Header(n)
		if value == nil {
			continue
		}
		dst = append(append(append(dst, fields[n]...), ": "...), value...)
		if n == To && tag != "" && m.to.Tag() == nil {
			dst = append(append(dst, ";tag="...), tag...)
		}
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendVia appends the line of the topmost Via, with where the request came from.
func (m *Message) appendVia(dst, value []byte, source netip.AddrPort) []byte {
	v := &m.via
	dst = append(append(dst, trim(v.Protocol)...), ' ')
	dst = append(dst, v.Host...)
	if v.Port != 0 {
		dst = strconv.AppendInt(append(dst, ':'), int64(v.Port), 10)
	}
	for params := v.Params; len(params) > 0; {
		var name, text []byte
		if name, text, params = NextParam(params); name == nil {
			break
		}
		if len(name) == 0 || equalFold(name, "rport") || equalFold(name, "received") {
			continue
		}
		dst = append(append(dst, ';'), name...)
		if text != nil {
			dst = append(append(dst, '='), text...)
		}
	}
	if source.IsValid() {
		host := source.Addr().Unmap()
		var text [48]byte
		written := host.AppendTo(text[:0])
		if v.RPort || string(written) != string(v.Host) {
			dst = append(append(dst, ";received="...), written...)
		}
		if v.RPort {
			dst = strconv.AppendUint(append(dst, ";rport="...), uint64(source.Port()), 10)
		}
	}
	return append(dst, value[v.size:]...)
}
