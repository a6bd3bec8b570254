package presence

import (
	"cmp"
	"slices"
	"time"
)

// The descriptive fields of a call; each keeps the rank of the event that set it.
const (
	callFrom = iota
	callTo
	callFromTag
	callToTag
	callTarget
	callSwitch
	callSource
	callFields
)

// fact is one field of a call with the rank of the news that it came with: state, then time. The highest rank
// wins, and of equal ranks the greater value, so that the order of arrival does not matter.
type fact struct {
	value string
	rank  uint64
}

// call is one call of the extension, or, once terminated, its tombstone.
type call struct {
	callID, id, extra string
	facts             [callFields]fact
	since             int64 // Unix ms of the earliest news of its present state
	lease             int64 // Unix ms at which it ends without news
	leaseRank         uint64
	until             int64 // Unix ms until which its tombstone stands; 0 while it lives
	state             State
	direction         Direction
}

func callKey(callID, id string, d Direction) string {
	if id != "" {
		return "p" + callID + "\x00" + id
	}
	return string(rune('0'+d)) + callID
}

func (e *Extension) findCall(ev CallEvent) *call {
	for _, c := range e.calls {
		if c.callID == ev.CallID && c.id == ev.ID && (ev.ID != "" || c.direction == ev.Direction) {
			return c
		}
	}
	return nil
}

// when is the time that news counts from: its own, unless it has none or claims to come from the future.
func when(own, now time.Time) int64 {
	if own.IsZero() || own.After(now.Add(time.Minute)) {
		return millis(now)
	}
	return max(millis(own), 1)
}

func rank(s State, ms int64) uint64 { return uint64(s)<<56 | uint64(ms)&(1<<56-1) }

func (e *Extension) call(ev CallEvent, now time.Time, fx *Effects) error {
	if ev.CallID == "" || ev.State > Terminated || ev.Expires < 0 {
		return ErrInvalid
	}
	at := when(ev.Timestamp, now)
	c := e.findCall(ev)
	if c != nil && c.until > 0 {
		return nil // final
	}
	if c == nil {
		// Expired tombstones can't vouch for news this old any more.
		if ev.State == None || at < millis(now.Add(-e.rules.TombstoneLife)) {
			return nil
		}
		live := 0
		for _, o := range e.calls {
			if o.until == 0 {
				live++
			}
		}
		if live >= e.rules.MaxCalls && ev.State != Terminated {
			return ErrTooManyCalls
		}
		if len(e.calls)-live >= e.rules.MaxTombstones {
			return ErrTooManyTombstones
		}
		c = &call{callID: ev.CallID, id: ev.ID, direction: ev.Direction, since: at}
		e.calls = append(e.calls, c)
	}
	if ev.State == Terminated {
		e.bury(c, now, fx)
		return nil
	}
	lease := e.rules.CallLease.Milliseconds()
	if ev.Expires > 0 {
		lease = int64(ev.Expires) * 1000
	}
	before := *c
	r := rank(ev.State, at)
	if ev.State == None {
		r = rank(c.state, at)
	}
	if r > c.leaseRank || r == c.leaseRank && at+lease > c.lease {
		c.lease, c.leaseRank = at+lease, r
	}
	switch {
	case ev.State > c.state:
		c.state, c.since = ev.State, at
	case ev.State == c.state:
		c.since = min(c.since, at)
	}
	for i, v := range [callFields]string{ev.From, ev.To, ev.FromTag, ev.ToTag, ev.TargetCallID, ev.SwitchURI, ev.Source} {
		if f := &c.facts[i]; v != "" && (r > f.rank || r == f.rank && v > f.value) {
			*f = fact{v, r}
		}
	}
	if *c == before {
		return nil
	}
	e.wakeAt(c.lease)
	fx.Records = append(fx.Records, e.callRecord(c, now))
	return nil
}

// bury ends a call; what remains keeps late news from reviving it.
func (e *Extension) bury(c *call, now time.Time, fx *Effects) {
	c.state, c.until = Terminated, millis(now.Add(e.rules.TombstoneLife))
	c.facts, c.lease, c.leaseRank = [callFields]fact{}, 0, 0
	e.wakeAt(c.until)
	fx.Records = append(fx.Records, e.callRecord(c, now))
}

func (e *Extension) callRecord(c *call, now time.Time) Record {
	enc := e.newRecord(160 + len(c.callID))
	enc.time(fieldTombstone, c.until)
	enc.str(10, c.callID)
	enc.str(11, c.id)
	enc.num(12, uint64(c.direction))
	enc.num(13, uint64(c.state))
	enc.time(14, c.since)
	enc.time(15, c.lease)
	enc.num(16, c.leaseRank)
	for i, f := range c.facts {
		enc.str(20+i, f.value)
		enc.num(40+i, f.rank)
	}
	enc.b = append(enc.b, c.extra...)
	return Record{Kind: KindCall, Key: callKey(c.callID, c.id, c.direction), Data: enc.b,
		TTL: ttl(max(c.lease, c.until), now), Tombstone: c.until > 0}
}

func parseCall(data string) (*call, error) {
	c := new(call)
	unknown, err := decode(data, func(f field) bool {
		switch {
		case f.number == fieldRealm || f.number == fieldUser:
		case f.number == fieldTombstone:
			c.until = stamp(f.num)
		case f.number == 10:
			c.callID = f.str
		case f.number == 11:
			c.id = f.str
		case f.number == 12:
			c.direction = number(f.num, Recipient)
		case f.number == 13:
			c.state = number(f.num, Terminated)
		case f.number == 14:
			c.since = stamp(f.num)
		case f.number == 15:
			c.lease = stamp(f.num)
		case f.number == 16:
			c.leaseRank = f.num
		case f.number >= 20 && f.number < 20+callFields:
			c.facts[f.number-20].value = f.str
		case f.number >= 40 && f.number < 40+callFields:
			c.facts[f.number-40].rank = f.num
		default:
			return false
		}
		return true
	})
	c.extra = unknown
	if err == nil && (c.callID == "" || c.state == None) {
		err = ErrRecord
	}
	if c.state == Terminated && c.until == 0 {
		c.until = 1
	}
	return c, err
}

func (c *call) dialog(e *Extension) DialogView {
	id := c.id
	if id == "" {
		id = hexmd5(callKey(c.callID, "", c.direction))
	}
	return DialogView{ID: id, CallID: c.callID, State: c.state, Direction: c.direction, Source: "call",
		Since: fromMillis(c.since), Expires: fromMillis(c.lease),
		From: cmp.Or(c.facts[callFrom].value, e.address()), To: c.facts[callTo].value,
		FromTag: c.facts[callFromTag].value, ToTag: c.facts[callToTag].value,
		TargetCallID: c.facts[callTarget].value, SwitchURI: c.facts[callSwitch].value}
}

// lapseCalls ends calls whose lease is over and forgets tombstones that stood long enough.
func (e *Extension) lapseCalls(now time.Time, fx *Effects) {
	ms := millis(now)
	for _, c := range e.calls {
		if c.until == 0 && c.lease <= ms {
			e.bury(c, now, fx)
		}
	}
	e.calls = slices.DeleteFunc(e.calls, func(c *call) bool { return c.until > 0 && c.until <= ms })
	if len(e.calls) == 0 {
		e.calls = nil
	}
}
