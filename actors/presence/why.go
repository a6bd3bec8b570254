package presence

import (
	"fmt"
	"time"
)

// Finding is one thing that an operator should know about a lamp: why it is lit or dark, or why a phone may show something else.
type Finding struct {
	Kind string // one of the kinds below
	Text string // whole sentences for a person
}

// The kinds of findings (docs/contract/http.md, "Explain").
const (
	FoundManual     = "manual_state"       // a manual state is set, and decides the lamp or is outranked
	FoundSilentCall = "silent_call"        // a call lights the lamp, and nothing was heard of it for long
	FoundLeaseEnded = "lease_ended"        // the lamp went out because a lease ended
	FoundSwitchGone = "switch_gone"        // the lamp went out because a switch was declared gone
	FoundReset      = "reset"              // the last change of the lamp was a reset
	FoundWatcherEnd = "subscription_ended" // a phone's answer ended its subscription, or the phone did not refresh it
	FoundNoAnswer   = "not_answered"       // a phone has not answered its last NOTIFY, or answered with a failure
	FoundEdgeDown   = "edge_down"          // nobody listens for the edge of a watcher, or the edge is silent
	FoundHeldBack   = "held_back"          // a watcher's rate, or the budget of the account, holds a change back
	FoundNoWatchers = "no_watchers"        // no phone watches the extension
	FoundStale      = "stale_owner"        // the node that answers can't reach NATS
)

// After these times without news a call is worth a remark. A phone rings for less than three minutes nearly always.
const (
	longRinging = 3 * time.Minute
	longSilence = time.Hour
	answerTime  = 4 * time.Second // after which a NOTIFY without an answer is worth a remark
)

// EndedWatcher is a subscription that has ended lately (RFC 6665 §4.2.2).
type EndedWatcher struct {
	Package Package
	CallID  string
	From    string // the watcher; "" when it ended the subscription itself
	At      time.Time
	Reply   int // the SIP response that ended it; 0: it lapsed, or was ended in another way
}

// EndedWatchers returns the subscriptions that ended less than Rules.TombstoneLife ago.
func (e *Extension) EndedWatchers() (all []EndedWatcher) {
	if e.more == nil {
		return nil
	}
	for _, t := range e.more.ended {
		if !t.replaced {
			all = append(all, EndedWatcher{Package: Package(t.key[0] - '0'), CallID: t.key[1:], From: t.from, At: moment(t.until - e.tombstoneLife()), Reply: int(t.reply)})
		}
	}
	return all
}

// Findings says what an operator should know about the lamp. edgeState says whether anybody listens for an edge.
func (e *Extension) Findings(now time.Time, edgeState func(edge string) EdgeState) (all []Finding) {
	add := func(kind, format string, args ...any) { all = append(all, Finding{kind, fmt.Sprintf(format, args...)}) }
	e.findManual(add)
	e.findLit(now, add)
	e.findDark(add)
	edges := map[string]EdgeState{}
	for _, s := range e.watchers {
		edge := s.Edge()
		state, known := edges[edge]
		if !known {
			state = edgeState(edge)
			edges[edge] = state
			findEdge(edge, state, add)
		}
		e.findWatcher(s, now, state, add)
	}
	for _, t := range e.EndedWatchers() {
		switch {
		case t.Reply != 0:
			add(FoundWatcherEnd, "%s answered %d to a NOTIFY at %s. That ended its %s subscription %s (RFC 6665 §4.2.2). Its key does not follow the lamp until it subscribes again.", name(t.From), t.Reply, clock(t.At), t.Package, t.CallID)
		case t.From != "":
			add(FoundWatcherEnd, "%s did not refresh its %s subscription %s, which ended at %s. Its key does not follow the lamp until it subscribes again.", name(t.From), t.Package, t.CallID, clock(t.At))
		}
	}
	if len(e.watchers) == 0 {
		add(FoundNoWatchers, "No phone watches this extension now.")
	}
	return all
}

// findManual says who set the manual state, and whether the lamp shows it.
func (e *Extension) findManual(add func(kind, format string, args ...any)) {
	if e.more == nil || e.more.manual.state == None || len(e.view.Dialogs) == 0 {
		return
	}
	state, at, by := e.more.manual.state, moment(e.more.manual.at), ""
	for _, t := range e.Transitions() {
		if t.At.Equal(at) && t.By != "" {
			by = t.Origin.words()
		}
	}
	shown := ""
	switch d := &e.view.Dialogs[0]; {
	case d.Source == "manual" && state == Early:
		shown = "The lamp shows it, and no call outranks it."
	case d.Source == "manual":
		shown = fmt.Sprintf("The lamp shows it. A call that is %s outranks it as long as it rings.", Early)
	case d.State == state:
		shown = fmt.Sprintf("The %s %s is %s too.", d.Source, name(d.CallID), d.State)
	default:
		shown = fmt.Sprintf("The lamp shows %s instead, because the %s %s is %s, which outranks %s.", d.State, d.Source, name(d.CallID), d.State, state)
	}
	add(FoundManual, "The manual state %s was set at %s%s. %s The manual state stays when calls end, until it is set to terminated or the extension is reset.", state, clock(at), by, shown)
}

// findLit says what is remarkable about the call that lights the lamp.
func (e *Extension) findLit(now time.Time, add func(kind, format string, args ...any)) {
	if e.more == nil || e.view.State == Terminated || len(e.view.Dialogs) == 0 {
		return
	}
	d := &e.view.Dialogs[0]
	if d.Source != "call" {
		return
	}
	for _, c := range e.more.calls {
		w := e.whole(c)
		if w.parts == nil || w.dialog().CallID != d.CallID || !w.visible(now.UnixMicro()) {
			continue
		}
		heard := moment(w.heard)
		silent := now.Sub(heard)
		if d.State == Early && silent < longRinging || silent < longSilence && d.State != Early {
			continue
		}
		of := ""
		if d.SwitchURI != "" {
			of = " of the switch " + d.SwitchURI
		}
		add(FoundSilentCall, "The call %s%s is %s, and nothing was heard of it for %s, since %s. If the call is over, its end was lost on the way here. The lamp goes out at %s, when the lease of the call ends, or when the extension is reset.",
			d.CallID, of, d.State, about(silent), clock(heard), clock(d.Expires))
		return
	}
}

// findDark says why a lamp went out, if it was not for the end of a call.
func (e *Extension) findDark(add func(kind, format string, args ...any)) {
	if e.more == nil {
		return
	}
	t, ok := e.more.history.last()
	if !ok || t.State != e.view.State {
		return
	}
	switch {
	case t.Source == "reset":
		add(FoundReset, "The extension was reset at %s%s. What was lit before is forgotten.", clock(t.At), t.Origin.words())
	case t.State != Terminated:
	case t.Source == "lease":
		of := "what lit it"
		if t.CallID != "" {
			of = "the call " + t.CallID
		}
		add(FoundLeaseEnded, "The lamp went out by %s because the lease of %s ended: no news of it came in time.", clock(t.At), of)
	case t.Source == "switch gone":
		add(FoundSwitchGone, "The lamp went out at %s because the switch %s of the call %s was declared gone%s.", clock(t.At), name(t.Switch), t.CallID, t.Origin.words())
	}
}

// findEdge says that nobody listens for an edge, or that it is silent.
func findEdge(edge string, state EdgeState, add func(kind, format string, args ...any)) {
	switch {
	case state.Listens == EdgeNobody:
		add(FoundEdgeDown, "Nobody listens for the edge %s: NATS knew no subscription to take the message that was sent to it at %s. It has never said edge.up to this node.", edgeName(edge), clock(state.At))
	case state.Listens != EdgeDown:
	case state.Silent:
		add(FoundEdgeDown, "The edge %s is silent since %s. An edge says edge.up every 5 s. It hangs, or it has lost NATS; its phones may show an older state.", edgeName(edge), clock(state.At))
	default:
		add(FoundEdgeDown, "Nobody has listened for the edge %s since %s. Other SIP edges send its NOTIFYs to phones that are not tied to a connection; phones on its TCP, TLS and WebSocket connections hear nothing until it is back or they subscribe anew.", edgeName(edge), clock(state.At))
	}
}

// findWatcher says why a phone may show something else than the lamp. edge is the state of its edge: that nobody listens was said already.
func (e *Extension) findWatcher(s *Subscription, now time.Time, edge EdgeState, add func(kind, format string, args ...any)) {
	_, unanswered := s.Lags(now)
	switch {
	case edge.Listens == EdgeDown || edge.Listens == EdgeNobody:
	case s.reply >= 300:
		add(FoundNoAnswer, "%s answered %d to NOTIFY %d of its %s subscription %s. It may show an older state.", name(s.From), s.reply, s.sequence, s.Package, s.CallID)
	case s.held:
		add(FoundHeldBack, "%s is to be told a change of its %s subscription %s that its rate, or the budget of NOTIFYs of the account, holds back.", name(s.From), s.Package, s.CallID)
	case unanswered:
		unknown := ""
		if edge.Listens == EdgeNeverUp {
			unknown = " The edge has never said edge.up to this node, so nobody knows whether it lives."
		}
		add(FoundNoAnswer, "%s behind the edge %s has not answered NOTIFY %d of its %s subscription %s, which was sent %s ago. It may show an older state.%s",
			name(s.From), edgeName(s.Edge()), s.sequence, s.Package, s.CallID, about(now.Sub(moment(s.noticedAt))), unknown)
	}
}

// words is " by X from Y (request Z)", as much of it as is known.
func (o Origin) words() (s string) {
	if o.By != "" {
		s = " by " + o.By
	}
	if o.From != "" {
		s += " from " + o.From
	}
	if o.Request != "" {
		s += " (request " + o.Request + ")"
	}
	return s
}

// name is a name for a sentence.
func name(s string) string {
	if s == "" {
		return "without a name"
	}
	return s
}

// clock is a time for a sentence, to the second.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// about is a duration for a sentence.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}
