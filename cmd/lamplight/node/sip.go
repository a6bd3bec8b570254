package node

import (
	"context"

	"lamplight/actors/presence"
	"lamplight/transport/edge"
	"lamplight/transport/kazoo"
	"lamplight/transport/sip"
)

// prepareSIP makes the SIP edge inside the node. The fan-out must know it before it starts.
func (n *Node) prepareSIP(ctx context.Context) error {
	c := n.cfg.SIP
	if c == nil {
		return nil
	}
	secret, err := n.directory.EdgeSecret(ctx)
	if err != nil {
		return err
	}
	c.Version, c.Log, c.Registerer = n.cfg.Version, n.log, n.registry
	if c.MaxConnections == 0 {
		c.MaxConnections = min(Descriptors()/4, 64<<10)
	}
	n.sip = sip.New(*c, &sip.Local{Router: n.router, News: n.budgets.News, EdgeSecret: secret, Lookup: n.lookUp, Shard: n.system.Notified,
		ToNode: func(node string, to presence.Address, r presence.Notified) {
			n.edge.Reply(node, kazoo.Reply{Presentity: to.String(), Package: r.Package, CallID: r.CallID, Sequence: r.Sequence, Code: r.Reply, RetryAfter: r.RetryAfter, For: r.Edge})
		}, Draining: func(connected bool) { n.edge.Drain(connected) }})
	n.fanout.LocalName, n.fanout.Local = c.Name, n.sip.Deliver
	return nil
}

// startSIP starts the SIP edge and, before it, its half that hears other nodes.
func (n *Node) startSIP(ctx context.Context) error {
	if n.sip == nil {
		return nil
	}
	n.edge = edge.New(edge.Config{Conn: n.conn, Prefix: n.cfg.Prefix, Name: n.cfg.SIP.Name, StandIn: n.sip.StandsIn(), PickupCookies: n.cfg.SIP.Profiles.PickupCookies(),
		Handle: func(m edge.Message) { n.sip.Hear(m.Notify) }})
	if err := n.teardown.start(ctx, "hearing other nodes for the SIP edge", n.edge); err != nil {
		return err
	}
	return n.teardown.start(ctx, "SIP edge", n.sip)
}

// lookUp looks a phone's user up.
func (n *Node) lookUp(realm, user string) (c sip.Credentials) {
	password, known, ok := n.directory.Password(realm, user)
	c.Realm, c.User = known, ok
	if ok {
		c.HA1 = sip.HashPassword(user, realm, password)
		c.Extensions = n.directory.PresenceIDs(realm, user)
	}
	return c
}

// credentials looks a phone's user up for an edge that runs alone.
func (n *Node) credentials(realm, user string) kazoo.Credentials {
	c := n.lookUp(realm, user)
	return kazoo.Credentials{Realm: c.Realm, User: c.User, MD5: c.HA1[sip.MD5], SHA256: c.HA1[sip.SHA256], Extensions: c.Extensions}
}
