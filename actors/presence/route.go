package presence

import "strings"

// The first entry of the Proxy-Route that Lamplight's SIP edge gives a subscription is its own: EdgeBegin, the name of the flow on which
// the SUBSCRIBE came, EdgeHost, parameters, EdgeEnd. transport/sip/route.go says what they hold. A comma and the route set follow, if
// there is one.
const (
	EdgeBegin = "<sip:"
	EdgeHost  = "@lamplight"
	EdgeEnd   = ";lr>"

	flowUDP = "udp." // what the names of flows on UDP begin with
)

// CutRoute takes a Proxy-Route apart: the name of the flow, the parameters of the edge's own entry, and the route set. own is false when
// no SIP edge of Lamplight's wrote it; all of it is a route set then.
func CutRoute(proxyRoute string) (flow, params, routes string, own bool) {
	entry, ok := strings.CutPrefix(proxyRoute, EdgeBegin)
	entry, routes, found := strings.Cut(entry, EdgeEnd)
	flow, params, host := strings.Cut(entry, EdgeHost)
	if !ok || !found || !host {
		return "", "", proxyRoute, false
	}
	return flow, params, strings.TrimPrefix(routes, ","), true
}

// Tied says whether the NOTIFYs of a subscription need the connection on which its SUBSCRIBE came: a phone on TCP, TLS or WebSocket, with
// no proxy that recorded itself. Only the edge that has the connection can send them. Every edge can send those of other subscriptions.
// own is false when no SIP edge of Lamplight's wrote the Proxy-Route: such a subscription is not tied.
func Tied(proxyRoute string) (tied, own bool) {
	flow, _, routes, own := CutRoute(proxyRoute)
	return own && routes == "" && !strings.HasPrefix(flow, flowUDP), own
}

// refreshed is the Proxy-Route of a subscription after a SUBSCRIBE in its SIP dialog. Such a request does not carry the route set, which
// stays as it was (RFC 3261 §12.2). Its Proxy-Route has one entry, the SIP edge's own, and replaces that one. A Proxy-Route of another
// program is kept as it comes.
func refreshed(old, now string) string {
	own, routes, found := strings.Cut(old, ",")
	if !found || !strings.Contains(own, EdgeHost) || strings.Contains(now, ",") || !strings.Contains(now, EdgeHost) {
		return now
	}
	return now + "," + routes
}
