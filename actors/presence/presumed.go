package presence

import (
	"cmp"
	"slices"
	"strings"
)

// This file is about news of calls that does not say its direction.

// endBoth ends the calls of both directions of a Call-ID. initiator and recipient are those that are known. It leaves the
// tombstones of both, so that later news of either direction finds one. What is known ends even if there is no room for the
// tombstone of the other one.
func (e *Extension) endBoth(eff *Effects, ev *CallEvent, initiator, recipient *call, stale bool, now int64) error {
	if initiator == nil && recipient == nil && stale {
		eff.Ignored = IgnoredOld
		return nil
	}
	noRoom := e.roomForNew(now)
	if initiator == nil && recipient == nil && noRoom != nil {
		return noRoom
	}
	for _, prefix := range []string{keyInitiator, keyRecipient} {
		i, c := e.findCall(prefix, ev.CallID)
		if c == nil && noRoom != nil {
			continue
		}
		if c == nil {
			c = &call{key: prefix + ev.CallID, schema: e.rules.writes()}
			m := e.open()
			m.calls = slices.Insert(m.calls, i, c)
		}
		if c.state != Terminated {
			c.end()
			c.until = now + e.tombstoneLife()
			e.keepCall(eff, c, now)
		}
	}
	e.changed(eff, cause(ev.Source, "call"), now)
	return nil
}

// presumedOf returns the presumed call whose news is shown as a part of c, the recipient's call; nil: there is none.
func (e *Extension) presumedOf(c *call) *call {
	if !strings.HasPrefix(c.key, keyRecipient) {
		return nil
	}
	if _, p := e.findCall(keyInitiator, c.key[len(keyRecipient):]); p != nil && p.presumed {
		return p
	}
	return nil
}

// whole is the call with what is known of its presumed call. Mostly there is none, and whole is the call itself.
func (e *Extension) whole(c *call) *call {
	p := e.presumedOf(c)
	if p == nil || c.state == Terminated {
		return c
	}
	w := *c
	w.parts = slices.Clone(c.parts)
	w.parts[partDirection].value = direction(Recipient) // c has none while it has no state
	w.absorb(p)
	return &w
}

// forgetCallAt is when a call need not be known any more, in µs.
func (e *Extension) forgetCallAt(c *call) int64 {
	if c.known != 0 {
		return c.known
	}
	return c.forgetAt(e.tombstoneLife())
}

// absorb merges another call into the call, as if all of its news had come here. The direction stays.
func (c *call) absorb(o *call) {
	switch cmp.Compare(o.state, c.state) {
	case 1:
		c.state, c.at, c.since, c.lease = o.state, o.at, o.since, o.lease
	case 0:
		c.since = min(c.since, o.since)
		if o.at > c.at || o.at == c.at && o.lease > c.lease {
			c.at, c.lease = o.at, o.lease
		}
	}
	c.extended, c.heard, c.gone = max(c.extended, o.extended), max(c.heard, o.heard), max(c.gone, o.gone)
	for i, p := range o.parts {
		if i != partDirection && p.value != "" && c.parts[i].less(p.value, p.state, p.at) {
			c.parts[i] = p
		}
	}
}

// keepWithOther keeps a call that has changed. If one of the two calls of its Call-ID is presumed, both depend on each other, and
// it keeps the other one too.
func (e *Extension) keepWithOther(eff *Effects, c *call, now int64) {
	var p, of *call // the presumed call, and the one that it is a part of
	switch {
	case c.presumed:
		p = c
		_, of = e.findCall(keyRecipient, c.key[len(keyInitiator):])
	default:
		p, of = e.presumedOf(c), c
	}
	switch {
	case p != nil && of != nil:
		if of.known = 0; of.state != Terminated { // with p it may end before its own lease does; it stays, because its record does
			of.known = max(e.whole(of).forgetAt(e.tombstoneLife()), of.forgetAt(e.tombstoneLife()))
		}
		p.until = e.forgetCallAt(of)
		e.keepCall(eff, p, now)
		e.keepCall(eff, of, now)
		return
	case strings.HasPrefix(c.key, keyInitiator): // it may have been presumed, and a part of another one, until now
		if c.state != Terminated {
			c.until = 0
		}
		if _, of = e.findCall(keyRecipient, c.key[len(keyInitiator):]); of != nil && of.known != 0 {
			of.known = 0
			e.keepCall(eff, of, now)
		}
	}
	e.keepCall(eff, c, now)
}
