package presence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Load takes one record from the journal. Records may come in any order; of several with one key the last one counts. On an
// error, which wraps ErrRecord, the bytes are no record of this kind and extension, and nothing has changed. Call Loaded
// after the last record.
func (e *Extension) Load(kind Kind, data []byte) error {
	var err error
	switch kind {
	case KindSubscription:
		return e.loadSubscription(data)
	case KindPublication:
		return e.loadPublication(data)
	case KindCall:
		err = e.loadCall(data)
	case KindRegister:
		err = e.loadRegister(data)
	case KindManual:
		err = e.loadManual(data)
	case KindMailbox:
		err = e.loadMailbox(data)
	default:
		err = fmt.Errorf("%w: kind %q", ErrRecord, byte(kind))
	}
	if err == nil {
		e.loadHistory(kind, data)
	}
	return err
}

// Loaded ends the loading. It drops tombstones that are over. Leases that ended while no node held the extension are left to
// the next Tick, which is due at once: it ends subscriptions with a last NOTIFY and tells watchers of the calls that are
// gone.
func (e *Extension) Loaded(now time.Time) {
	us := now.UnixMicro()
	e.next = 0
	gone := false
	if m := e.more; m != nil {
		for _, c := range m.calls {
			w := e.whole(c)
			gone = gone || c.until == 0 && w.state != None && !w.visible(us)
		}
		for _, r := range m.registers {
			gone = gone || !r.off() && !r.visible(us)
		}
		for _, p := range m.published {
			gone = gone || p.open && p.until <= us
		}
	}
	e.bound(us)
	e.forgetOver(us)
	e.countSwitches(&Effects{})
	e.shed()
	e.view = e.build(us)
	e.loadedHistory(us)
	for _, s := range e.watchers {
		e.due(e.lapse(s))
		if gone && packages[s.Package].shows {
			s.held, s.behind = true, us
			e.due(us)
		}
		if s.MinRate() != 0 {
			e.due(max(s.noticedAt, s.renewed) + e.period(s))
		}
	}
}

// bound cuts times that are too far in the future, so that a record that is damaged, or was written by a node whose clock is
// ahead, does not stay for ever.
func (e *Extension) bound(now int64) {
	for _, s := range e.watchers {
		s.renewed = min(s.renewed, now)
	}
	if e.more == nil {
		return
	}
	last, newest := now+e.tombstoneLife(), now+minute+second
	lease := newest + max(LongestLease*second, e.rules.CallLease.Microseconds())
	forget := lease + e.tombstoneLife()
	for _, c := range e.more.calls {
		c.at = min(c.at, newest)
		if c.state == Terminated {
			c.until = min(c.until, last)
		}
		c.until, c.known, c.heard, c.gone = min(c.until, forget), min(c.known, forget), min(c.heard, newest), min(c.gone, newest)
		c.lease, c.extended = min(c.lease, lease), min(c.extended, lease)
	}
	for _, r := range e.more.registers {
		r.until, r.at, r.lease = min(r.until, last), min(r.at, newest), min(r.lease, lease)
	}
	for _, b := range e.more.mailboxes {
		b.at, b.until = min(b.at, newest), min(b.until, last)
	}
	for _, p := range e.more.published {
		p.until = min(p.until, lease)
	}
	for i := range e.more.ended {
		e.more.ended[i].until = min(e.more.ended[i].until, last)
	}
}

// read parses a record and checks that it is this extension's. num and str are the masks of the known fields.
func (e *Extension) read(r *record, data []byte, num, str uint64) error {
	if err := r.parse(data, num, str); err != nil {
		return err
	}
	if r.str[recRealm] != e.realm || r.str[recUser] != e.user {
		return fmt.Errorf("%w: it is of the extension %.100q, not of %.100q", ErrRecord, r.str[recUser]+"@"+r.str[recRealm], e.Address())
	}
	return nil
}

// loadSubscription takes the record of a subscription or of its tombstone.
func (e *Extension) loadSubscription(data []byte) error {
	var r record
	if err := e.read(&r, data, subscriptionNum, subscriptionStr); err != nil {
		return err
	}
	key := r.str[recKey]
	pkg := Package(key[0] - '0') // one digit: LastPackage is at most 9
	if pkg > LastPackage || len(key) < 2 {
		return fmt.Errorf("%w: key %q", ErrRecord, key)
	}
	cseq, err := r.number(subscriptionCSeq, math.MaxUint32+1)
	if err != nil {
		return err
	}
	i, found := e.find(pkg, key[1:])
	if r.num[recGone] != 0 {
		if found {
			e.watchers = append(e.watchers[:i], e.watchers[i+1:]...)
		}
		e.entomb(ended{key: strings.Clone(key), until: int64(r.num[recGone]), cseq: uint32(max(cseq, 1) - 1), replaced: r.num[subscriptionReplaced] != 0,
			from: strings.Clone(r.str[subscriptionFrom]), reply: uint16(min(r.num[subscriptionReply], 699))})
		return nil
	}
	ev := Subscribe{
		Package: pkg, CallID: key[1:], From: r.str[subscriptionFrom], FromTag: r.str[subscriptionFromTag], ToTag: r.str[subscriptionToTag],
		Contact: r.str[subscriptionContact], ProxyRoute: r.str[subscriptionProxyRoute], SubscriptionID: r.str[subscriptionSubscriptionID],
		ServerID: r.str[subscriptionServerID], Queue: r.str[subscriptionQueue], UserAgent: r.str[subscriptionUserAgent],
	}
	s := &Subscription{Package: pkg, schema: uint8(r.num[recSchema])}
	if err := s.numbers(&r, &ev, cseq); err != nil {
		return err
	}
	s.take(&ev, e.near(i))
	s.setRare(rare{maxRate: ev.MaxRate, minRate: ev.MinRate, extra: r.unknown})
	if found {
		e.watchers[i] = s
	} else {
		e.watchers = slices.Insert(e.watchers, i, s)
	}
	return nil
}

// numbers takes the numbers of a subscription's record into s and ev.
func (s *Subscription) numbers(r *record, ev *Subscribe, cseq uint64) error {
	renewed, err := r.moment(subscriptionRenewed)
	expires, err2 := r.number(subscriptionExpires, LongestSubscription)
	most, err3 := r.number(subscriptionMaxRate, math.MaxUint32)
	least, err4 := r.number(subscriptionMinRate, math.MaxUint32)
	if err := cmp.Or(err, err2, err3, err4); err != nil {
		return err
	}
	s.renewed, ev.Expires, ev.MaxRate, ev.MinRate = renewed, int(expires), uint32(most), uint32(least)
	if cseq > 0 {
		s.setCSeq(uint32(cseq - 1))
	}
	return nil
}

// loadCall takes the record of a call or of its tombstone.
func (e *Extension) loadCall(data []byte) error {
	var r record
	if err := e.read(&r, data, callNum, callStr); err != nil {
		return err
	}
	state, err := r.number(callState, uint64(Terminated))
	key := r.str[recKey]
	presumed := r.num[callPresumed] != 0 && strings.HasPrefix(key, keyInitiator)
	shadow := presumed && r.num[callShadow] != 0
	if shadow && err == nil {
		state, err = r.number(callShadow, uint64(Confirmed))
	}
	bare := r.num[callBare] != 0
	if bare {
		state = uint64(None)
	}
	if err != nil || state == 0 && !bare || !(len(key) > 1 && key[0] == 'i' || len(key) > 2 && key[0] == 'c') {
		return fmt.Errorf("%w: call %q in state %d", ErrRecord, key, state)
	}
	c := &call{key: strings.Clone(key), state: State(state), unknown: r.unknown, schema: uint8(r.num[recSchema])}
	for _, t := range []struct {
		field int
		to    *int64
	}{{recGone, &c.until}, {callAt, &c.at}, {callSince, &c.since}, {callLease, &c.lease}, {callExtended, &c.extended}, {callKnown, &c.known},
		{callHeard, &c.heard}, {callGone, &c.gone}} {
		if *t.to, err = r.moment(t.field); err != nil {
			return err
		}
	}
	if c.state != Terminated {
		c.presumed, c.heard = presumed, max(c.heard, c.at)
		if c.until = max(c.until, 1); !shadow && (!bare || c.until == 1) {
			c.until = 0
		}
		c.parts = make([]part, partCount)
		for i := range c.parts {
			if err := c.parts[i].decode(&r, i, c); err != nil {
				return err
			}
		}
	} else {
		c.end()
		c.until = max(c.until, 1) // not 0, so that a Tick forgets it
	}
	m := e.open()
	if i, known := e.findCall(c.key, ""); known != nil {
		m.calls[i] = c
	} else {
		m.calls = slices.Insert(m.calls, i, c)
	}
	return nil
}

// decode takes the ith part of a call's record.
func (p *part) decode(r *record, i int, c *call) error {
	value, at, state := partFields(i)
	if r.str[value] == "" {
		return nil
	}
	rank, err := r.number(state, uint64(Terminated))
	if err != nil {
		return err
	}
	p.value, p.at, p.state = keptPart(i, r.str[value]), c.at, c.state
	if rank != 0 {
		p.state = State(rank)
	}
	if r.num[at] != 0 {
		p.at, err = r.moment(at)
	}
	return err
}

// loadRegister takes the record of a register or of its tombstone.
func (e *Extension) loadRegister(data []byte) error {
	var r record
	if err := e.read(&r, data, regNum, regStr); err != nil {
		return err
	}
	state, err := r.number(regState, uint64(Offline))
	key := r.str[recKey]
	slot := "l"
	if State(state) == Online || State(state) == Offline {
		slot = "b"
	}
	if err != nil || state == 0 || len(key) < 2 || !strings.HasPrefix(key, slot) {
		return fmt.Errorf("%w: register %q in state %d", ErrRecord, key, state)
	}
	g := &register{
		key: strings.Clone(key), state: State(state), from: strings.Clone(r.str[regFrom]), to: strings.Clone(r.str[regTo]),
		source: strings.Clone(r.str[regSource]), unknown: r.unknown, schema: uint8(r.num[recSchema]),
	}
	h := HeldCall{CallID: r.str[regCallID], FromTag: r.str[regFromTag], ToTag: r.str[regToTag], FromName: r.str[regFromName], ToName: r.str[regToName],
		FromURI: r.str[regFromURI], ToURI: r.str[regToURI], TargetCallID: r.str[regTarget], SwitchURI: r.str[regSwitch], Rendering: Rendering(r.str[regRendering])}
	if r.num[regDirection] != 0 {
		h.Direction = Recipient
	}
	g.call = h.kept()
	for _, t := range []struct {
		field int
		to    *int64
	}{{recGone, &g.until}, {regAt, &g.at}, {regSince, &g.since}, {regLease, &g.lease}} {
		if *t.to, err = r.moment(t.field); err != nil {
			return err
		}
	}
	if g.off() {
		g.lease, g.until = 0, max(g.until, 1)
	} else {
		g.until = 0
	}
	m := e.open()
	if i, found := searchRegister(m.registers, g.key); found {
		m.registers[i] = g
	} else {
		m.registers = slices.Insert(m.registers, i, g)
	}
	return nil
}

// loadManual takes the record of the manual state, or of its removal.
func (e *Extension) loadManual(data []byte) error {
	var r record
	if err := e.read(&r, data, manNum, 0); err != nil {
		return err
	}
	if r.num[recGone] != 0 {
		if e.more != nil {
			e.more.manual = manual{}
		}
		return nil
	}
	at, err := r.moment(manAt)
	if state := State(r.num[manState]); err != nil || r.num[manState] > uint64(Confirmed) || state < Early {
		return fmt.Errorf("%w: manual state %d", ErrRecord, r.num[manState])
	}
	e.open().manual = manual{state: State(r.num[manState]), at: at, unknown: r.unknown, schema: uint8(r.num[recSchema])}
	return nil
}

// loadMailbox takes the record of a mailbox, or of its end.
func (e *Extension) loadMailbox(data []byte) error {
	var r record
	if err := e.read(&r, data, boxNum, boxStr); err != nil {
		return err
	}
	key := r.str[recKey]
	if key != ownCounts && key[0] != 'l' {
		return fmt.Errorf("%w: mailbox %q", ErrRecord, key)
	}
	b := &mailbox{key: strings.Clone(key), unknown: r.unknown, schema: uint8(r.num[recSchema])}
	for _, n := range []struct {
		field int
		to    *uint32
	}{{boxNew, &b.messages.New}, {boxSaved, &b.messages.Saved}, {boxUrgentNew, &b.messages.UrgentNew}, {boxUrgentSaved, &b.messages.UrgentSaved}} {
		v, err := r.number(n.field, math.MaxUint32)
		if err != nil {
			return err
		}
		*n.to = uint32(v)
	}
	var err error
	if b.since, err = r.moment(boxSince); err != nil {
		return err
	}
	if b.at, err = r.moment(boxAt); err != nil {
		return err
	}
	b.until = int64(r.num[recGone])
	b.messages.Account = strings.Clone(r.str[boxAccount])
	b.extended = strings.Clone(r.str[boxExtended])
	b.former = strings.Fields(strings.Clone(r.str[boxFormer]))
	m := e.open()
	i, found := searchMailbox(m.mailboxes, b.key)
	switch {
	case r.num[recGone] != 0 && b.at == 0:
		if found {
			m.mailboxes = append(m.mailboxes[:i], m.mailboxes[i+1:]...)
		}
	case found:
		m.mailboxes[i] = b
	default:
		m.mailboxes = slices.Insert(m.mailboxes, i, b)
	}
	return nil
}
