package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// call is a call of the extension, or its tombstone.
//
// It is the merge of all news of it, and the merge is a least upper bound: each part takes the
// greatest of what was said, in an order that does not depend on arrival. So any order and any
// repetition of the same news ends the same. One thing stands outside of it: news older than a
// tombstone's life counts only if it moves a known call forward (a call that it could begin would
// have outlived the tombstone that ends it).
//
// When its lease lapses a call is no longer visible, but stays for a tombstone's life, so that
// news with a longer lease finds what was known. Its record, which lives a minute longer than the
// lease, does the same after a restart.
type call struct {
	key      string
	state    State
	at       int64 // µs, the newest news of this state
	since    int64 // µs, the oldest news of this state
	lease    int64 // µs, the end of the lease that the newest news of this state gave
	extended int64 // µs, the end of the lease that news without a state gave
	until    int64 // µs; a tombstone's end
	sweptAt  int64 // µs, until when any of its records may be found; beyond swept(ends()) it is part of the record
	parts    []part
	unknown  string
	schema   uint8
}

// part is one value of a call, and the rank of the news that it came with.
type part struct {
	value string
	at    int64
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
	partCount
)

func (c *call) ends() int64 { return max(c.lease, c.extended) }

func (c *call) visible(now int64) bool { return c.state != Terminated && c.ends() > now }

// forgetAt is when nothing needs to be known of it any more.
func (c *call) forgetAt(life int64) int64 {
	if c.state == Terminated {
		return c.until
	}
	return c.ends() + life
}

// callKey names a call: by its id when it was published (forks share a Call-ID), else by Call-ID
// and direction.
func callKey(ev *CallEvent) string {
	if ev.ID != "" {
		return "i" + ev.ID
	}
	return "c" + direction(ev.Direction) + ev.CallID
}

func direction(d Direction) string {
	if d == Recipient {
		return "1"
	}
	return "0"
}

func (e *Extension) callEvent(eff *Effects, ev *CallEvent, now int64) error {
	if ev.State > Terminated || ev.Direction > Recipient || ev.CallID == "" && ev.ID == "" {
		return fmt.Errorf("%w: a call needs a Call-ID or id, a state and a direction", ErrInvalid)
	}
	if err := fits(ev.Expires, LongestLease, ev.CallID, ev.ID, ev.From, ev.To, ev.FromTag, ev.ToTag,
		ev.TargetCallID, ev.SwitchURI, ev.Source); err != nil {
		return err
	}
	key, at := callKey(ev), stamp(ev.Timestamp, now)
	lease := at + e.rules.CallLease.Microseconds()
	if ev.Expires > 0 {
		lease = at + int64(ev.Expires)*second
	}
	stale := at < now-e.tombstoneLife()
	var c *call
	i, found := 0, false
	if e.more != nil {
		if i, found = searchCall(e.more.calls, key); found {
			c = e.more.calls[i]
		}
	}
	switch {
	case found && c.state == Terminated,
		found && stale && ev.State <= c.state && ev.State != None,
		!found && (stale || ev.State == None):
		return nil
	case !found || !c.visible(now) && ev.State != Terminated:
		if err := e.roomForCall(ev.State != Terminated && lease > now, found, now); err != nil {
			return err
		}
	}
	if !found {
		c = &call{key: strings.Clone(key), schema: e.rules.writes()}
		m := e.open()
		m.calls = slices.Insert(m.calls, i, c)
	}
	if !c.merge(ev, at, lease) {
		return nil
	}
	if c.state == Terminated {
		c.until = now + e.tombstoneLife()
	}
	e.keepCall(eff, c, now)
	e.changed(eff, cause(ev.Source, "call"), now)
	return nil
}

// roomForCall refuses what would be new, or newly visible, past a bound.
func (e *Extension) roomForCall(visible, known bool, now int64) error {
	if m, most := e.more, e.rules.MaxCalls; visible && most > 0 && m != nil && len(m.calls)+len(m.registers) >= most {
		n := 0
		for _, c := range m.calls {
			if c.visible(now) {
				n++
			}
		}
		if n >= most {
			return fmt.Errorf("%w: %d", ErrTooManyCalls, n)
		}
	}
	if known {
		return nil
	}
	return e.roomForNew(now)
}

// merge takes news in, and says whether it changed anything.
func (c *call) merge(ev *CallEvent, at, lease int64) bool {
	switch {
	case ev.State == None:
		if lease <= c.extended {
			return false
		}
		c.extended = lease
		return true
	case ev.State == Terminated:
		c.end()
		return true
	}
	change := false
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
	if c.parts == nil {
		c.parts = make([]part, partCount)
	}
	for i, v := range [partCount]string{ev.CallID, direction(ev.Direction), ev.From, ev.To, ev.FromTag,
		ev.ToTag, ev.TargetCallID, ev.SwitchURI, ev.Source} {
		if v != "" && c.parts[i].less(v, ev.State, at) {
			if v != c.parts[i].value {
				c.parts[i].value = strings.Clone(v)
			}
			c.parts[i].state, c.parts[i].at = ev.State, at
			change = true
		}
	}
	return change
}

// less says that a value of this rank takes the part's place.
func (p *part) less(v string, state State, at int64) bool {
	if c := cmp.Or(cmp.Compare(p.state, state), cmp.Compare(p.at, at)); c != 0 {
		return c < 0
	}
	return p.value < v
}

// end makes it a tombstone. When each of its ends was does not matter.
func (c *call) end() {
	c.state, c.at, c.since, c.lease, c.extended, c.parts = Terminated, 0, 0, 0, 0, nil
}

func searchCall(calls []*call, key string) (int, bool) {
	return slices.BinarySearchFunc(calls, key, func(c *call, key string) int { return strings.Compare(c.key, key) })
}

func (e *Extension) keepCall(eff *Effects, c *call, now int64) {
	e.due(c.forgetAt(e.tombstoneLife()))
	if c.state == Terminated {
		e.bury(eff, KindCall, c.key, e.encodeCall(c), max(c.sweptAt, c.until), now)
		return
	}
	e.due(c.ends())
	c.sweptAt = max(c.sweptAt, swept(c.ends()))
	e.keep(eff, KindCall, c.key, e.encodeCall(c), c.sweptAt, now)
}

func cause(source, otherwise string) string {
	if source == "" {
		return otherwise
	}
	return source
}
