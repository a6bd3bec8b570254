package sip

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"lamplight/actors/presence"
	"lamplight/transport/sip/message"
)

// A subscription's Proxy-Route is what the edge needs to send its NOTIFYs, beside the Contact. It is a route set (RFC 3261 §12.1.1)
// whose first entry is the edge's own:
//
//	<sip:udp.0.192.0.2.9:5062@lamplight;profile=default;id=7;lr>,<sip:10.0.0.1;lr>
//
// The user of that entry names the flow on which the SUBSCRIBE came: the transport; on UDP the number of the edge's socket and the
// address of the other side, else the edge's incarnation and the number of the connection. The parameters are the name of the phone's
// profile and the id of the Event header.

// appendRoute appends the Proxy-Route of a subscription.
func appendRoute(dst []byte, f flow, incarnation, profile string, m *message.Message) []byte {
	dst = append(f.appendToken(append(dst, presence.EdgeBegin...), incarnation), presence.EdgeHost...)
	dst = append(append(dst, ";profile="...), profile...)
	if id, _ := message.Param(m.Header(message.Event), "id"); len(id) > 0 && len(id) <= maxEventID && !bytes.ContainsAny(id, "<>,;\"") {
		dst = append(append(dst, ";id="...), id...)
	}
	dst = append(dst, presence.EdgeEnd...)
	for value := range m.Headers(message.RecordRoute) {
		dst = append(append(dst, ','), value...)
	}
	return dst
}

const maxEventID = 128 // bytes of the id of an Event header

// way is what a Proxy-Route says.
type way struct {
	flow, profile, id string
	routes            string // the route set behind the edge's own entry, as a Route header has it; "": there is none
}

// readRoute takes a Proxy-Route apart. A Proxy-Route that no SIP edge wrote is a route set without an entry of ours.
func readRoute(text string) (w way) {
	var params string
	w.flow, params, w.routes, _ = presence.CutRoute(text)
	for params != "" {
		var one string
		one, params, _ = strings.Cut(strings.TrimPrefix(params, ";"), ";")
		name, value, _ := strings.Cut(one, "=")
		switch name {
		case "profile":
			w.profile = value
		case "id":
			w.id = value
		}
	}
	return w
}

// Way says in words what the Proxy-Route of a subscription says: the flow on which its SUBSCRIBE came, such as "udp 10.0.0.9:5062" or
// "tcp connection 17 of process 4f2a91c0", and the route set. ok is false when no SIP edge of Lamplight's wrote it.
func Way(proxyRoute string) (flow, routes string, ok bool) {
	w := readRoute(proxyRoute)
	kind, rest, _ := strings.Cut(w.flow, ".")
	one, rest, _ := strings.Cut(rest, ".")
	switch {
	case w.flow == "":
		return "", "", false
	case kind == transportNames[UDP]:
		return kind + " " + rest, w.routes, true
	}
	return kind + " connection " + rest + " of process " + one, w.routes, true
}

// The reasons why a NOTIFY can't be sent.
var (
	errNoFlow    = errors.New("the connection of the watcher is closed, and its Contact can't be reached otherwise")
	errNoAddress = errors.New("the address of the next hop is no IP address")
)

// nextHop is where a request goes: a flow that is there, or an address to which a connection must be made first.
type nextHop struct {
	flow      flow
	transport Transport
	dial      netip.AddrPort // valid: make a connection
}

// find finds out where a NOTIFY goes, by the Proxy-Route and the Contact of its subscription. A connection on which the SUBSCRIBE came is
// used as long as it is open (RFC 5626 §5.3). On UDP a route set decides, else the address that the SUBSCRIBE came from. Host names are
// not looked up: with one in the route set, the request goes to where the SUBSCRIBE came from, which is that proxy.
func (s *Server) find(proxyRoute, contact string) (nextHop, error) {
	w := readRoute(proxyRoute)
	kind, rest, _ := strings.Cut(w.flow, ".")
	one, rest, _ := strings.Cut(rest, ".")
	var from netip.AddrPort // where the SUBSCRIBE came from, on UDP
	socket := s.socket(0)
	if kind == transportNames[UDP] {
		index, _ := strconv.Atoi(one)
		if l := s.socket(index); l != nil {
			socket = l
		}
		if from, _ = netip.ParseAddrPort(rest); from.IsValid() && w.routes == "" && socket != nil {
			return nextHop{flow: flow{listener: socket, remote: from}}, nil
		}
	} else if one == s.incarnation {
		number, _ := strconv.ParseUint(rest, 10, 64)
		if c := s.flows.get(number); c != nil {
			return nextHop{flow: flow{c.listener, c.remote, c}}, nil
		}
	}
	target := contact
	if w.routes != "" {
		target = w.routes
	}
	a, _, ok := message.ParseAddress([]byte(target))
	if !ok {
		return nextHop{}, errNoAddress
	}
	t := UDP
	if param, _ := message.Param(a.URI.Params, "transport"); param != nil {
		t = transportOf(strings.ToLower(string(param)))
	}
	if a.URI.Scheme == "sips" {
		t = TLS
	}
	to, ok := addressOf(&a.URI, t)
	if !ok {
		if !from.IsValid() {
			return nextHop{}, errNoAddress
		}
		t, to = UDP, from
	}
	switch t {
	case UDP:
		if socket == nil {
			return nextHop{}, errNoFlow
		}
		return nextHop{flow: flow{listener: socket, remote: to}}, nil
	case TCP, TLS:
		if c := s.flows.at(to); c != nil && c.listener.transport == t {
			return nextHop{flow: flow{c.listener, c.remote, c}}, nil
		}
		return nextHop{transport: t, dial: to}, nil
	}
	return nextHop{}, errNoFlow
}

// transportOf finds a transport by its name in lower case; any other name is UDP.
func transportOf(name string) Transport {
	for t, n := range transportNames {
		if n == name {
			return Transport(t)
		}
	}
	return UDP
}

// addressOf returns the address that a URI names; ok is false when its host is no IP address.
func addressOf(u *message.URI, t Transport) (netip.AddrPort, bool) {
	host := string(bytes.Trim(u.Host, "[]"))
	if maddr, found := message.Param(u.Params, "maddr"); found {
		host = string(bytes.Trim(maddr, "[]"))
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	port := u.Port
	if port == 0 {
		if port = 5060; t == TLS {
			port = 5061
		}
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), true
}

// socket returns a UDP socket of the edge; nil: there is none of this number.
func (s *Server) socket(index int) *listener {
	if index < 0 || index >= len(s.sockets) {
		return nil
	}
	return s.sockets[index]
}
