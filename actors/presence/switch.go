package presence

import (
	"slices"
	"strings"
	"unique"
)

// This file is about the switches that the calls of an extension are on.

// switchCalls is how many calls of the extension are on a switch.
type switchCalls struct {
	name  string
	calls int32
}

// switchURI is the name of the switch that the call is on; "": it is not known, or the call has ended.
func (c *call) switchURI() string {
	if c.state == Terminated {
		return ""
	}
	return c.parts[partSwitch].value
}

// leave notes that the call's switch was declared gone at a moment (µs). It says whether the call is lost by that, and was not before or
// since an earlier moment.
func (c *call) leave(gone int64) bool {
	if gone <= c.gone || gone <= wholeSecond(c.heard) {
		return false
	}
	c.gone = gone
	return true
}

// switchURI is the name of the switch on which the call waits that the register shows; "": it shows none, or its switch is not known.
func (r *register) switchURI() string {
	if r.off() || r.call == nil {
		return ""
	}
	return r.call.SwitchURI
}

// switchGone ends the calls of a switch of which the last news is from before a moment.
func (e *Extension) switchGone(eff *Effects, ev *SwitchGone, now int64) {
	m, gone := e.more, stamp(ev.Before, now)
	eff.origin = ev.Origin
	if m == nil || ev.Switch == "" {
		return
	}
	for _, c := range m.calls {
		if c.switchURI() != ev.Switch {
			continue
		}
		visible := e.whole(c).visible(now)
		if !c.leave(gone) {
			continue
		}
		if visible && !e.whole(c).visible(now) {
			eff.Ended++
		}
		e.keepWithOther(eff, c, now)
	}
	for _, r := range m.registers {
		if r.switchURI() == ev.Switch && r.at < gone {
			if r.visible(now) {
				eff.Ended++
			}
			r.state, r.since, r.lease, r.until, r.call = Terminated, now, 0, now+e.tombstoneLife(), nil
			e.keepRegister(eff, r, now)
		}
	}
	e.changed(eff, "switch gone", now)
}

// countSwitches adds to the effects how the numbers of calls on each switch have changed.
func (e *Extension) countSwitches(eff *Effects) {
	m := e.more
	if m == nil {
		return
	}
	var room [4]switchCalls
	count := room[:0]
	add := func(name string) {
		if name == "" {
			return
		}
		i, found := slices.BinarySearchFunc(count, name, func(s switchCalls, name string) int { return strings.Compare(s.name, name) })
		if found {
			count[i].calls++
			return
		}
		count = slices.Insert(count, i, switchCalls{name, 1})
	}
	for _, c := range m.calls {
		if !c.lost() {
			add(c.switchURI())
		}
	}
	for _, r := range m.registers {
		add(r.switchURI())
	}
	if slices.Equal(count, m.switches) {
		return
	}
	for _, was := range m.switches {
		eff.Switches = append(eff.Switches, CountChange{was.name, -was.calls})
	}
	for i := range count {
		count[i].name = unique.Make(count[i].name).Value()
		eff.Switches = append(eff.Switches, CountChange{count[i].name, count[i].calls})
	}
	m.switches = slices.Clone(count)
}

// Switches returns the number of the extension's calls on each switch.
func (e *Extension) Switches() []CountChange {
	var all []CountChange
	if e.more != nil {
		for _, s := range e.more.switches {
			all = append(all, CountChange{s.name, s.calls})
		}
	}
	return all
}
