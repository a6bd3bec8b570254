package sip

import (
	"slices"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/kazoo"
)

// StandsIn says whether the edge sends NOTIFYs in the place of edges that are down. It needs a UDP socket for most of them.
func (s *Server) StandsIn() bool {
	return slices.ContainsFunc(s.cfg.Listen, func(l Listen) bool { return l.Transport == UDP })
}

// Hear makes a Told of a NOTIFY message that came over NATS, and sends it. Of a message for another edge, which is down, it leaves out the
// watchers that are tied to that edge.
func (s *Server) Hear(n *kazoo.Notify) {
	p, ok := presence.ParsePackage(n.Package)
	user, realm, at := strings.Cut(n.Presentity, "@")
	if !ok || !at {
		s.metrics.malformed.Inc()
		return
	}
	t := &Told{Node: n.Node, To: presence.Address{Realm: realm, User: user}, Package: p, Shard: int(n.Shard), Epoch: n.Epoch, Sequence: uint32(n.Sequence),
		ContentType: n.ContentType, Body: []byte(n.Body), Cookies: n.PickupCookies, Made: time.Now(), Targets: make([]Target, 0, len(n.Targets))}
	if n.Edge != s.cfg.Name {
		t.For = n.Edge
	}
	for i := range n.Targets {
		g := &n.Targets[i]
		if tied, own := presence.Tied(g.ProxyRoute); t.For != "" && (tied || !own) {
			continue
		}
		_, end, _ := strings.Cut(g.SubscriptionState, "terminated;reason=")
		one := Target{CallID: g.CallID, From: g.From, FromTag: g.FromTag, ToTag: g.ToTag, Contact: g.Contact, Route: g.ProxyRoute,
			Expires: int(g.Expires), End: end}
		if g.MaxRate != "" {
			one.Rates = ";max-rate=" + g.MaxRate
		}
		if g.MinRate != "" {
			one.Rates += ";min-rate=" + g.MinRate
		}
		t.Targets = append(t.Targets, one)
	}
	s.Tell(t)
}
