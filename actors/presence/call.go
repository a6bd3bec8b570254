package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unique"
)

// call is a call of the extension, or its tombstone.
//
// A call is the merge of all news of it. The merge is a least upper bound: each part takes the greatest value that was
// said, in an order that does not depend on arrival. So any order and any repetition of the same news has the same end.
// There is one exception: news older than a tombstone's life counts only if it moves a known call forward. It must not
// begin a call, because the tombstone that ended that call may have been forgotten.
//
// A call also ends when its switch is declared gone (SwitchGone) at a moment after all news of it. News from that moment on shows the
// call again: its switch tells again which calls live. A moment is merged like news, so their order makes no difference.
//
// When its lease ends, a call is no longer visible. It stays for a tombstone's life, so that news with a longer lease
// finds what was known of it. After a restart its record does the same.
//
// News without a state only lengthens the lease. When it comes first it begins a call that has no state yet: the call is
// remembered and not shown, and lends its lease to the news that is to come.
//
// News without a direction is merged into the initiator's call. That call is only presumed until news with a state says that
// it is the initiator's. News without a state never says so: it tells nothing of the direction of other news. While the recipient's call of the same Call-ID is known, a presumed call is not shown itself: what is known of it
// is shown as a part of the recipient's. It lives as long as the recipient's call and its tombstone. So news without a
// direction is about whichever call is known, in whatever order the news comes.
type call struct {
	key      string
	state    State // None: only news without a state came
	at       int64 // µs, the time of the newest news of this state
	since    int64 // µs, the time of the oldest news of this state
	lease    int64 // µs, the end of the lease that the newest news of this state gave
	extended int64 // µs, the end of the latest lease that news without a state gave
	until    int64 // µs, the end of the tombstone; 0: the call is none
	heard    int64 // µs, the time of the newest news of any state
	gone     int64 // µs, the latest moment after all news of the call at which its switch was declared gone; 0: it was not
	parts    []part
	unknown  string // the record's fields of a newer release
	schema   uint8  // of the record
	presumed bool   // no news with a state said that the call is the initiator's
	known    int64  // µs, of a call that has a presumed one: until when both are known; else 0
}

// part is one value of a call, with the state and time of the news that brought it: they decide which news wins.
type part struct {
	value string
	at    int64 // µs
	state State
}

// The parts of a call.
const (
	partCallID = iota
	partDirection
	partFrom
	partTo
	partFromTag
	partToTag
	partTarget
	partSwitch
	partSource
	partFromName
	partToName
	partToURI
	partFromURI
	partRendering // only news that says Confirmed brings it
	partCount
)

// values are the values of the parts that news brings, in the order of the parts.
func (ev *CallEvent) values() [partCount]string {
	rendering := ev.Rendering
	if ev.State != Confirmed {
		rendering = RenderingUnknown
	}
	return [partCount]string{ev.CallID, direction(ev.Direction), ev.From, ev.To, ev.FromTag, ev.ToTag, ev.TargetCallID, ev.SwitchURI,
		ev.Source, ev.FromName, ev.ToName, ev.ToURI, ev.FromURI, string(rendering)}
}

// ends is when the call's lease ends, in µs.
func (c *call) ends() int64 { return max(c.lease, c.extended) }

// visible says whether the call counts for the lamp.
func (c *call) visible(now int64) bool {
	return c.state != None && c.state != Terminated && c.until == 0 && c.ends() > now && !c.lost()
}

// lost says whether the call's switch was declared gone after all news of the call.
func (c *call) lost() bool { return wholeSecond(c.heard) < c.gone }

// wholeSecond is the last moment that a time may mean: the end of its second if it is in whole seconds, as Kazoo's are.
func wholeSecond(at int64) int64 {
	if at%second == 0 {
		return at + second - 1
	}
	return at
}

// forgetAt is when the call need not be known any more, in µs. life is a tombstone's.
func (c *call) forgetAt(life int64) int64 {
	if c.until != 0 {
		return c.until
	}
	if c.lost() {
		return min(c.ends(), c.gone) + life
	}
	return c.ends() + life
}

// The key of a call. A published call has an id of its own, because forks share a Call-ID; any other is named by its Call-ID and
// direction.
const (
	keyPublished = "i"
	keyInitiator = "c0"
	keyRecipient = "c1"
)

// key is the prefix of the call's key, and what follows it.
func (ev *CallEvent) key() (prefix, id string) {
	switch {
	case ev.ID != "":
		return keyPublished, ev.ID
	case ev.Direction == Recipient:
		return keyRecipient, ev.CallID
	}
	return keyInitiator, ev.CallID
}

// direction is the direction as keys and parts write it.
func direction(d Direction) string {
	if d == Recipient {
		return "1"
	}
	return "0"
}

// callEvent merges news of a call into the call, or begins one.
func (e *Extension) callEvent(eff *Effects, ev *CallEvent, now int64) error {
	if ev.State > Terminated || ev.Direction > Recipient || ev.Undirected && ev.Direction != Initiator || ev.CallID == "" && ev.ID == "" {
		return fmt.Errorf("%w: a call needs a Call-ID or id, a state and a direction", ErrInvalid)
	}
	if !ev.Rendering.Valid() {
		return fmt.Errorf("%w: the rendering is %.40q; it must be yes or no", ErrInvalid, ev.Rendering)
	}
	values := ev.values()
	if err := cmp.Or(fits(ev.Expires, LongestLease, values[:]...), fits(0, 0, ev.ID)); err != nil {
		return err
	}
	at := stamp(ev.Timestamp, now)
	lease := at + e.rules.CallLease.Microseconds()
	if ev.Expires > 0 {
		lease = at + int64(ev.Expires)*second
	}
	stale := at < now-e.tombstoneLife()
	prefix, id := ev.key()
	i, c := e.findCall(prefix, id)
	undirected := (ev.Undirected || ev.State == None) && prefix == keyInitiator
	var other *call // the recipient's call of the Call-ID, when the direction is not said
	if undirected {
		_, other = e.findCall(keyRecipient, id)
		if ev.State == Terminated {
			return e.endBoth(eff, ev, c, other, stale, now)
		}
	}
	known, ends := None, lease // ends is when the call's lease will end at the earliest
	for _, k := range []*call{c, other} {
		if k != nil {
			known, ends = max(known, k.state), max(ends, k.ends())
		}
	}
	switch {
	case c != nil && c.state == Terminated:
		if ev.State != Terminated {
			eff.Ignored = IgnoredEnded
		}
		return nil
	case stale && (known == None || ev.State <= known && ev.State != None):
		eff.Ignored = IgnoredOld
		return nil
	case c == nil || !c.visible(now) && ev.State != Terminated:
		visible := ev.State != None && ev.State != Terminated && ends > now && (other == nil || other.state == None)
		if err := e.roomForCall(visible, c != nil, now); err != nil {
			return err
		}
	}
	presumed := c != nil && c.presumed
	if c == nil {
		c = &call{key: prefix + id, schema: e.rules.writes(), presumed: undirected, parts: make([]part, partCount)}
		m := e.open()
		m.calls = slices.Insert(m.calls, i, c)
	}
	c.presumed = c.presumed && undirected
	changed := c.merge(ev, at, lease)
	changed = c.leave(e.rules.gone(c.switchURI())) || changed
	if !changed && c.presumed == presumed {
		return nil
	}
	if c.lost() {
		eff.Ignored = IgnoredEnded
	}
	if c.state == Terminated {
		c.until = now + e.tombstoneLife()
	}
	e.keepWithOther(eff, c, now)
	e.changed(eff, cause(ev.Source, "call"), now)
	return nil
}

// findCall finds a call by the prefix of its key and what follows it. Without one, c is nil and i the place where it belongs.
func (e *Extension) findCall(prefix, id string) (i int, c *call) {
	if e.more == nil {
		return 0, nil
	}
	i, found := slices.BinarySearchFunc(e.more.calls, id, func(c *call, id string) int {
		n := min(len(prefix), len(c.key))
		return cmp.Or(strings.Compare(c.key[:n], prefix), strings.Compare(c.key[n:], id))
	})
	if found {
		c = e.more.calls[i]
	}
	return i, c
}

// roomForCall refuses a call that would be new, or visible again, when a bound is reached. known says that the call exists.
func (e *Extension) roomForCall(visible, known bool, now int64) error {
	if m, most := e.more, e.rules.MaxCalls; visible && most > 0 && m != nil && len(m.calls)+len(m.registers) >= most {
		n := 0
		for _, c := range m.calls {
			if e.whole(c).visible(now) {
				n++
			}
		}
		if n >= most {
			return fmt.Errorf("%w: it has %d, at most %d are allowed", ErrTooManyCalls, n, most)
		}
	}
	if known {
		return nil
	}
	return e.roomForNew(now)
}

// merge merges news into the call, and says whether that changed it. at and lease are when the news happened and when its
// lease ends, in µs.
func (c *call) merge(ev *CallEvent, at, lease int64) bool {
	if ev.State == Terminated {
		c.end()
		return true
	}
	change := at > c.heard
	if c.heard = max(c.heard, at); !c.lost() {
		c.gone = 0
	}
	if ev.State == None {
		if lease <= c.extended {
			return change
		}
		c.extended = lease
		return true
	}
	switch cmp.Compare(ev.State, c.state) {
	case 1:
		c.state, c.at, c.since, c.lease = ev.State, at, at, lease
		change = true
	case 0:
		if at < c.since {
			c.since, change = at, true
		}
		if at > c.at || at == c.at && lease > c.lease {
			c.at, c.lease, change = at, lease, true
		}
	}
	for i, v := range ev.values() {
		if v != "" && c.parts[i].less(v, ev.State, at) {
			if v != c.parts[i].value {
				c.parts[i].value = keptPart(i, v)
			}
			c.parts[i].state, c.parts[i].at = ev.State, at
			change = true
		}
	}
	return change
}

// keptPart is a copy of a part's value that keeps nothing else in memory. All calls of a switch share the copy of its name.
func keptPart(i int, v string) string {
	if i == partSwitch {
		return unique.Make(v).Value()
	}
	return strings.Clone(v)
}

// less says whether a value of news with this state and time takes the part's place.
func (p *part) less(v string, state State, at int64) bool {
	if c := cmp.Or(cmp.Compare(p.state, state), cmp.Compare(p.at, at)); c != 0 {
		return c < 0
	}
	return p.value < v
}

// end makes the call a tombstone. It drops all times, so that ends that came at different times leave the same.
func (c *call) end() {
	c.state, c.at, c.since, c.lease, c.extended, c.parts, c.presumed, c.known, c.heard, c.gone = Terminated, 0, 0, 0, 0, nil, false, 0, 0, 0
}

// keepCall adds the call's record to the effects and asks for the Ticks that the call needs.
func (e *Extension) keepCall(eff *Effects, c *call, now int64) {
	forget := e.forgetCallAt(c)
	e.due(forget)
	if c.until != 0 {
		e.bury(eff, KindCall, c.key, e.encodeCall(c), forget, now)
		return
	}
	if ends := e.whole(c).ends(); ends > now {
		e.due(ends)
	}
	e.keep(eff, KindCall, c.key, e.encodeCall(c), forget, now)
}

// cause is the source of a change for the log of the lamp: the one that news names, else otherwise.
func cause(source, otherwise string) string {
	if source == "" {
		return otherwise
	}
	return source
}
