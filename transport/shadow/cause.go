package shadow

import (
	"fmt"
	"slices"
	"time"

	"lamplight/actors/presence"
)

// The likely causes of a difference. Each but Unknown is named only with its evidence, which Difference.Because has.
const (
	LostHangup          = "lost hang-up"
	LostAnswer          = "lost answer"
	EarlyAfterEnd       = "early after terminated"
	EarlyAfterAnswer    = "early after confirmed"
	WithoutWatchers     = "event without watchers"
	DeadSwitch          = "dead switch"
	Dropped             = "subscription dropped after one failure"
	AnotherCall         = "another of several calls"
	SetByHand           = "set by hand at Lamplight"
	LostBeforeLamplight = "event lost on the way to Lamplight"
	Unknown             = "unknown"
)

// Causes lists all causes.
var Causes = []string{LostHangup, LostAnswer, EarlyAfterEnd, EarlyAfterAnswer, WithoutWatchers, DeadSwitch, Dropped, AnotherCall, SetByHand, LostBeforeLamplight, Unknown}

// explanation is why Lamplight's lamp is as it is.
type explanation struct {
	asked       time.Time
	err         error // Lamplight did not answer
	state       presence.State
	dialogs     []dialog
	transitions []transition // oldest first
	silent      []silent
}

// dialog is one of those that a lamp adds up.
type dialog struct {
	state  presence.State
	source string
}

// transition is a change of Lamplight's lamp.
type transition struct {
	state, source string
	at            time.Time
}

// silent is a switch whose source Lamplight took for gone at a time.
type silent struct {
	uri string
	at  time.Time
}

// The sources of a transition, as docs/contract/nats.md, "Show" has them, that are no news of a call.
const (
	bySwitch = "switch gone"
	byHand   = "manual"
	byLease  = "lease"
)

func isLit(s presence.State) bool { return s == presence.Early || s == presence.Confirmed }

// likely returns the likely cause of a difference of lamps, and its evidence.
func (b *book) likely(e *extension, x *explanation) (cause, because string) {
	ours, theirs := e.lamps[lamplight], e.lamps[running]
	said := fmt.Sprintf("the running system told %s at %s", theirs.state, clockTime(theirs.since))
	if theirs.since.IsZero() {
		said = "the running system does not say since when it tells " + theirs.state.String()
	}
	var last *transition // that has made Lamplight's lamp what it is
	if n := len(x.transitions); n > 0 && x.transitions[n-1].state == ours.state.String() {
		last = &x.transitions[n-1]
	}
	switch {
	case last == nil && !isLit(ours.state):
		return Unknown, "Lamplight remembers no change of this lamp; " + said
	case last == nil:
		last = &transition{state: ours.state.String(), source: "unknown", at: ours.since}
	}
	saw := fmt.Sprintf("Lamplight's lamp became %s at %s (%s)", last.state, clockTime(last.at), last.source)
	soon := theirs.since.IsZero() || theirs.since.Before(last.at.Add(b.grace)) // the running system has told nothing since
	switch late := e.wentBack(); {
	case last.source == byHand:
		return SetByHand, saw + ", which no call has done; " + said
	case !isLit(ours.state) && last.source == bySwitch:
		return DeadSwitch, b.dead(e, last, x.silent) + "; " + said
	case theirs.state == presence.Early && late != nil:
		if isLit(ours.state) {
			return EarlyAfterAnswer, late.text + "; " + saw
		}
		return EarlyAfterEnd, late.text + "; " + saw
	case !isLit(ours.state) && last.source == byLease:
		return Unknown, saw + " because its time was over: Lamplight did not hear of its end either; " + said
	case !isLit(ours.state) && soon:
		return LostHangup, saw + "; " + said + " and nothing since" + e.sent(presence.Terminated, last.at.Add(-b.grace))
	case !isLit(ours.state):
		return Unknown, saw + "; " + said + ", which may be another call, of which Lamplight was not told"
	case !isLit(theirs.state) && e.unwatchedAt(last.at):
		return WithoutWatchers, fmt.Sprintf("%s; the running system listed no watcher at %s, has one since %s, and has not told of the call: it forgets what happens while nobody watches",
			saw, clockTime(e.lastAbsent), clockTime(e.present))
	case slices.ContainsFunc(x.dialogs, func(d dialog) bool { return d.state == theirs.state }) && isLit(theirs.state):
		return AnotherCall, fmt.Sprintf("Lamplight knows %d dialogs and shows the most important one; the running system shows another one (%s)", len(x.dialogs), theirs.state)
	case ours.state == presence.Confirmed && theirs.state == presence.Early && soon:
		return LostAnswer, saw + "; " + said + " and nothing since" + e.sent(presence.Confirmed, last.at.Add(-b.grace))
	}
	if at, ok := e.toldAfter(theirs.state, last.at); ok {
		return LostBeforeLamplight, fmt.Sprintf("%s, and nothing has come since; the running system told of a call of its own, and then %s at %s%s", saw, theirs.state, clockTime(at), e.sent(theirs.state, last.at))
	}
	return Unknown, saw + "; " + said
}

// dead says which switch is dead, and how many lamps of it are lit.
func (b *book) dead(e *extension, last *transition, all []silent) string {
	uri := e.uri
	nearest := time.Minute
	for _, s := range all {
		if d := last.at.Sub(s.at).Abs(); uri == "" && d < nearest {
			uri, nearest = s.uri, d
		}
	}
	name := "a switch"
	if uri != "" {
		name = "the switch " + uri
	}
	e.dead = last.at
	n := 0
	for other := range b.unequal {
		if !other.dead.IsZero() && other.uri == e.uri && other.dead.Sub(last.at).Abs() < time.Minute {
			n++
		}
	}
	return fmt.Sprintf("Lamplight took %s for gone at %s and ended its calls; lamps of it that are known to be lit still at the running system: %d", name, clockTime(last.at), n)
}

// lateEarly is the evidence that a call went back.
type lateEarly struct{ text string }

// wentBack returns the evidence that the running system has taken an early of a call after its end or its answer; nil: there is none. The
// dialogs in its NOTIFYs say so, or the documents that it was sent.
func (e *extension) wentBack() *lateEarly {
	for _, k := range []kind{document, told} {
		last := map[string]event{} // what came last of each call, but early
		var found *lateEarly
		for _, ev := range e.events {
			if ev.kind != k {
				continue
			}
			before, was := last[ev.call]
			switch {
			case ev.state != presence.Early:
				last[ev.call] = ev
				if k == told && !isLit(ev.state) { // a NOTIFY without a lit dialog ends them all
					for call, one := range last {
						one.state, one.at = ev.state, ev.at
						last[call] = one
					}
				}
				found = nil
			case k == told && !was && ev.call != "":
				last[ev.call] = ev
			case was && before.state != presence.Early && ev.call != "":
				verb := "told"
				if k == document {
					verb = "was sent"
				}
				found = &lateEarly{fmt.Sprintf("the running system %s %s at %s and then early of the same call %s at %s, and stays there", verb, before.state, clockTime(before.at), ev.call, clockTime(ev.at))}
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// unwatchedAt says whether a listing of the running system had no watcher after something had happened at a time, and has one now, which was told
// nothing of it.
func (e *extension) unwatchedAt(t time.Time) bool {
	if e.lastAbsent.IsZero() || e.lastAbsent.Before(t) || e.present.IsZero() {
		return false
	}
	for _, ev := range e.events {
		if ev.kind == told && isLit(ev.state) && ev.at.After(t) {
			return false
		}
	}
	return true
}

// toldAfter says when the running system told of a state after a time, having told of a lit lamp before; false: it was not seen to.
func (e *extension) toldAfter(state presence.State, after time.Time) (at time.Time, ok bool) {
	lit := false
	for _, ev := range e.events {
		switch {
		case ev.kind == told && lit && ev.state == state && ev.at.After(after):
			return ev.at, true
		case ev.kind == told && isLit(ev.state):
			lit = true
		}
	}
	return at, false
}

// sent says that the running system was sent a document with a state after a time; "": that was not seen.
func (e *extension) sent(state presence.State, after time.Time) string {
	for _, ev := range e.events {
		if ev.kind == document && ev.state == state && !ev.at.Before(after) {
			return fmt.Sprintf("; it was sent %s of call %s at %s", state, ev.call, clockTime(ev.at))
		}
	}
	return ""
}
