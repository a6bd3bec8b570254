package sip

import (
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/kazoo"
)

// Hear makes a Told of a NOTIFY message that came over NATS, and sends it.
func (s *Server) Hear(n *kazoo.Notify) {
	p, ok := presence.ParsePackage(n.Package)
	user, realm, at := strings.Cut(n.Presentity, "@")
	if !ok || !at {
		s.metrics.malformed.Inc()
		return
	}
	t := &Told{Node: n.Node, To: presence.Address{Realm: realm, User: user}, Package: p, Shard: int(n.Shard), Epoch: n.Epoch, Sequence: uint32(n.Sequence),
		ContentType: n.ContentType, Body: []byte(n.Body), Cookies: n.PickupCookies, Made: time.Now(), Targets: make([]Target, len(n.Targets))}
	for i := range n.Targets {
		g := &n.Targets[i]
		_, end, _ := strings.Cut(g.SubscriptionState, "terminated;reason=")
		t.Targets[i] = Target{CallID: g.CallID, From: g.From, FromTag: g.FromTag, ToTag: g.ToTag, Contact: g.Contact, Route: g.ProxyRoute,
			Expires: int(g.Expires), End: end}
		if g.MaxRate != "" {
			t.Targets[i].Rates = ";max-rate=" + g.MaxRate
		}
		if g.MinRate != "" {
			t.Targets[i].Rates += ";min-rate=" + g.MinRate
		}
	}
	s.Tell(t)
}
