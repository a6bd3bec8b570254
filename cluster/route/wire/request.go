package wire

import (
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Window asks a node for one stretch of a listing (actors.System.Window).
type Window struct {
	Query actors.Query
	Until string // the first extension that is not wanted; "": all up to the end
	Only  actors.ShardSet
}

// WideCommand asks a node to carry out a command in some shards: on every extension of a realm (actors.System.CommandRealm), or
// on every call of a switch (actors.System.EndSwitch).
type WideCommand struct {
	Realm  string
	Only   actors.ShardSet
	Reset  bool                // the command is presence.Reset; else presence.End
	Reason string              // of presence.End
	Gone   presence.SwitchGone // of a switch; without one the command is about a realm
	Origin presence.Origin
}

// Call is one request to another node. It is either to one extension (Request.Message) or about a realm (Window or
// Command): exactly one of the three is set. When none is set after reading, this release does not know what was asked.
type Call struct {
	ID       uint64 // chosen by the sender; the answer carries it
	Deadline uint64 // in ms, by the same clock as Batch.Now
	Request  actors.Request
	Window   *Window
	Command  *WideCommand
}

// The fields of a call that say what it asks, one of which is there.
const (
	callShow = 10 + iota
	callSubscribe
	callCall
	callRegister
	callMailbox
	callNotified
	callManual
	callReset
	callEnd
	callWindow
	callRealmCommand
	callLitWindow // a Window with Query.Lit; a node of a release without it refuses the call, and does not list subscriptions instead
	callPublish
	callSwitchGone // a WideCommand about a switch; a node of a release without it refuses the call
	callSourceUp
	callRegistration
)

func callFields(c *coder, q *Call) {
	num(c, 1, &q.ID)
	num(c, 2, &q.Deadline)
	str(c, 3, &q.Request.To.Realm)
	str(c, 4, &q.Request.To.User)
	wait := uint64(q.Request.Wait / time.Millisecond)
	num(c, 5, &wait)
	q.Request.Wait = time.Duration(min(wait, maxWait)) * time.Millisecond
	originFields(c, 6, &q.Request.Origin)
	str(c, 7, &q.Request.Trace)
	if c.reading {
		readAsked(c, q)
	} else {
		writeAsked(c, q)
	}
}

// maxWait bounds how long a caller may wait for watchers, in ms.
const maxWait = 60_000

// writeAsked writes the field that says what the call asks.
func writeAsked(c *coder, q *Call) {
	switch {
	case q.Window != nil && q.Window.Query.Lit:
		nested(c, callLitWindow, q.Window, windowFields)
		return
	case q.Window != nil:
		nested(c, callWindow, q.Window, windowFields)
		return
	case q.Command != nil && q.Command.Gone.Switch != "":
		nested(c, callSwitchGone, q.Command, wideCommandFields)
		return
	case q.Command != nil:
		nested(c, callRealmCommand, q.Command, wideCommandFields)
		return
	}
	switch m := q.Request.Message.(type) {
	case actors.Show:
		nested(c, callShow, &m, showFields)
	case presence.Subscribe:
		nested(c, callSubscribe, &m, subscribeFields)
	case presence.CallEvent:
		nested(c, callCall, &m, callEventFields)
	case presence.RegisterEvent:
		nested(c, callRegister, &m, registerFields)
	case presence.MailboxEvent:
		nested(c, callMailbox, &m, mailboxFields)
	case presence.Publish:
		nested(c, callPublish, &m, publishFields)
	case presence.SourceUp:
		nested(c, callSourceUp, &m, sourceUpFields)
	case presence.Registration:
		nested(c, callRegistration, &m, registrationFields)
	case presence.Notified:
		nested(c, callNotified, &m, notifiedFields)
	case presence.SetManual:
		nested(c, callManual, &m, manualFields)
	case presence.Reset:
		nested(c, callReset, &m, resetFields)
	case presence.End:
		nested(c, callEnd, &m, endFields)
	}
}

// readAsked reads the field that says what the call asks. It passes over fields that this release does not know.
func readAsked(c *coder, q *Call) {
	m := &q.Request.Message
	for *m == nil && q.Window == nil && q.Command == nil {
		switch c.peek() {
		case 0:
			return
		case callShow:
			*m = read(c, callShow, showFields)
		case callSubscribe:
			*m = read(c, callSubscribe, subscribeFields)
		case callCall:
			*m = read(c, callCall, callEventFields)
		case callRegister:
			*m = read(c, callRegister, registerFields)
		case callMailbox:
			*m = read(c, callMailbox, mailboxFields)
		case callNotified:
			*m = read(c, callNotified, notifiedFields)
		case callManual:
			*m = read(c, callManual, manualFields)
		case callReset:
			*m = read(c, callReset, resetFields)
		case callEnd:
			*m = read(c, callEnd, endFields)
		case callWindow:
			w := read(c, callWindow, windowFields)
			q.Window = &w
		case callRealmCommand, callSwitchGone:
			w := read(c, c.peek(), wideCommandFields)
			q.Command = &w
		case callLitWindow:
			w := read(c, callLitWindow, windowFields)
			w.Query.Lit = true
			q.Window = &w
		case callRegistration:
			*m = read(c, callRegistration, registrationFields)
		case callSourceUp:
			*m = read(c, callSourceUp, sourceUpFields)
		case callPublish:
			*m = read(c, callPublish, publishFields)
		default:
			c.skip()
		}
	}
}

// read reads a nested message.
func read[T any](c *coder, field uint64, fields func(*coder, *T)) (v T) {
	nested(c, field, &v, fields)
	return v
}

func showFields(c *coder, v *actors.Show) { flag(c, 1, &v.Explain) }

func subscribeFields(c *coder, v *presence.Subscribe) {
	num(c, 1, &v.Package)
	str(c, 2, &v.CallID)
	str(c, 3, &v.From)
	str(c, 4, &v.FromTag)
	str(c, 5, &v.ToTag)
	str(c, 6, &v.Contact)
	str(c, 7, &v.ProxyRoute)
	str(c, 8, &v.UserAgent)
	str(c, 9, &v.SubscriptionID)
	str(c, 10, &v.ServerID)
	str(c, 11, &v.Queue)
	num(c, 12, &v.CSeq)
	flag(c, 13, &v.HasCSeq)
	num(c, 14, &v.Expires)
	num(c, 15, &v.MaxRate)
	num(c, 16, &v.MinRate)
	flag(c, 17, &v.InDialog)
}

func callEventFields(c *coder, v *presence.CallEvent) {
	str(c, 1, &v.CallID)
	str(c, 2, &v.ID)
	num(c, 3, &v.Direction)
	num(c, 4, &v.State)
	timestamp(c, 5, &v.Timestamp)
	num(c, 6, &v.Expires)
	str(c, 7, &v.From)
	str(c, 8, &v.To)
	str(c, 9, &v.FromTag)
	str(c, 10, &v.ToTag)
	str(c, 11, &v.TargetCallID)
	str(c, 12, &v.SwitchURI)
	str(c, 13, &v.Source)
	flag(c, 14, &v.Undirected)
	str(c, 15, &v.FromName)
	str(c, 16, &v.ToName)
	str(c, 17, &v.FromURI)
	str(c, 18, &v.ToURI)
	str(c, 19, (*string)(&v.Rendering))
}

func registerFields(c *coder, v *presence.RegisterEvent) {
	str(c, 1, &v.Name)
	num(c, 2, &v.State)
	timestamp(c, 3, &v.Timestamp)
	num(c, 4, &v.Expires)
	str(c, 5, &v.From)
	str(c, 6, &v.To)
	str(c, 7, &v.Source)
	str(c, 8, &v.Call.CallID)
	num(c, 9, &v.Call.Direction)
	str(c, 10, &v.Call.FromTag)
	str(c, 11, &v.Call.ToTag)
	str(c, 12, &v.Call.FromName)
	str(c, 13, &v.Call.ToName)
	str(c, 14, &v.Call.FromURI)
	str(c, 15, &v.Call.ToURI)
	str(c, 16, &v.Call.TargetCallID)
	str(c, 17, &v.Call.SwitchURI)
	str(c, 18, (*string)(&v.Call.Rendering))
}

func mailboxFields(c *coder, v *presence.MailboxEvent) {
	str(c, 1, &v.Source)
	flag(c, 2, &v.Lamp)
	num(c, 3, &v.New)
	num(c, 4, &v.Saved)
	num(c, 5, &v.UrgentNew)
	num(c, 6, &v.UrgentSaved)
	str(c, 7, &v.Account)
	str(c, 8, &v.Extended)
	timestamp(c, 9, &v.Timestamp)
}

func publishFields(c *coder, v *presence.Publish) {
	num(c, 1, &v.Package)
	str(c, 2, &v.Publisher)
	str(c, 3, &v.IfMatch)
	str(c, 4, &v.Tag)
	num(c, 5, &v.Expires)
	flag(c, 6, &v.HasBody)
	flag(c, 7, &v.Partial)
	list(c, 8, &v.Dialogs, maxDialogs, callEventFields)
	num(c, 9, &v.Basic)
	optional(c, 10, &v.Messages, messagesFields)
}

func messagesFields(c *coder, v *presence.Messages) {
	num(c, 1, &v.New)
	num(c, 2, &v.Saved)
	num(c, 3, &v.UrgentNew)
	num(c, 4, &v.UrgentSaved)
	str(c, 5, &v.Account)
}

func notifiedFields(c *coder, v *presence.Notified) {
	num(c, 1, &v.Package)
	flag(c, 2, &v.HasPackage)
	str(c, 3, &v.CallID)
	num(c, 4, &v.Sequence)
	num(c, 5, &v.Reply)
	str(c, 6, &v.Edge)
	num(c, 7, &v.RetryAfter)
}

func manualFields(c *coder, v *presence.SetManual) { num(c, 1, &v.State) }

func resetFields(c *coder, v *presence.Reset) { num(c, 1, &v.Then) }

func endFields(c *coder, v *presence.End) { str(c, 1, &v.Reason) }

func windowFields(c *coder, v *Window) {
	str(c, 1, &v.Query.Realm)
	num(c, 2, &v.Query.Package)
	flag(c, 3, &v.Query.HasPackage)
	str(c, 4, &v.Query.From)
	num(c, 5, &v.Query.Limit)
	flag(c, 6, &v.Query.Bodies)
	str(c, 7, &v.Until)
	shards(c, 8, &v.Only)
	upTo(c, 9, &v.Query.State, presence.Offline)
	str(c, 10, &v.Query.Source)
	timestamp(c, 11, &v.Query.Until)
}

func wideCommandFields(c *coder, v *WideCommand) {
	str(c, 1, &v.Realm)
	shards(c, 2, &v.Only)
	flag(c, 3, &v.Reset)
	str(c, 4, &v.Reason)
	str(c, 5, &v.Gone.Switch)
	timestamp(c, 6, &v.Gone.Before)
	originFields(c, 7, &v.Origin)
}

// originFields carries an origin in three fields from first on.
func originFields(c *coder, first uint64, v *presence.Origin) {
	str(c, first, &v.By)
	str(c, first+1, &v.From)
	str(c, first+2, &v.Request)
}

func registrationFields(c *coder, v *presence.Registration) {
	str(c, 1, &v.Contact)
	num(c, 2, &v.Expires)
	timestamp(c, 3, &v.Timestamp)
}

func sourceUpFields(c *coder, v *presence.SourceUp) {
	str(c, 1, &v.Source)
	str(c, 2, &v.Switch)
	str(c, 3, &v.Incarnation)
	num(c, 4, &v.Expires)
	timestamp(c, 5, &v.Timestamp)
}

// shards carries a set of shards as one bit each, the lowest shards in the first byte. It is always there.
func shards(c *coder, field uint64, v *actors.ShardSet) {
	if !c.reading {
		c.head(field, bytes)
		c.out = append(c.out, actors.Shards/8&0x7f|0x80, actors.Shards/8>>7)
		for _, word := range v {
			for shift := 0; shift < 64; shift += 8 {
				c.out = append(c.out, byte(word>>shift))
			}
		}
		return
	}
	if !c.find(field, bytes) {
		return
	}
	text := c.text()
	if len(text) != actors.Shards/8 {
		c.fail()
		return
	}
	for i := range text {
		v[i/8] |= uint64(text[i]) << (i % 8 * 8)
	}
}
