package presence

import (
	"cmp"
	"slices"
	"strconv"
)

// rank orders states by importance: the lamp shows the highest of early, confirmed and terminated
// (docs/contract/sip.md, "dialog").
func rank(s State) int {
	switch s {
	case Early:
		return 3
	case Confirmed:
		return 2
	case Trying:
		return 1
	}
	return 0
}

// heldLast orders a dialog that is held behind one that is not: whoever sees one dialog alone sees what the extension does now.
func heldLast(a, b DialogView) int {
	switch {
	case a.Held == b.Held:
		return 0
	case a.Held:
		return 1
	}
	return -1
}

// build makes the View of the extension at now (µs).
func (e *Extension) build(now int64) *View {
	m := e.more
	if m == nil {
		return Idle
	}
	v := &View{State: Terminated}
	for _, c := range m.calls {
		if w := e.whole(c); w.visible(now) && !e.lostFork(c, now) {
			v.Dialogs = append(v.Dialogs, w.dialog())
		}
	}
	e.addStates(v, now)
	v.Registered = m.registered(now)
	slices.SortStableFunc(v.Dialogs, func(a, b DialogView) int {
		return cmp.Or(cmp.Compare(rank(b.State), rank(a.State)), heldLast(a, b), a.Since.Compare(b.Since),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Source, b.Source))
	})
	v.distinguish()
	if len(v.Dialogs) > 0 && rank(v.Dialogs[0].State) > rank(Trying) {
		v.State = v.Dialogs[0].State
	}
	if i, found := searchMailbox(m.mailboxes, ownCounts); found {
		v.Messages, v.HasMessages = m.mailboxes[i].messages, true
	}
	if v.State == Terminated && len(v.Dialogs) == 0 && !v.Closed && !v.Registered && !v.HasMessages {
		return Idle
	}
	return v
}

// dialog is the call as a View shows it.
func (c *call) dialog() DialogView {
	d := DialogView{
		ID: c.key[1:], CallID: c.parts[partCallID].value, State: c.state, Source: "call",
		Since: moment(c.since), Expires: moment(c.ends()),
		From: c.parts[partFrom].value, To: c.parts[partTo].value,
		FromTag: c.parts[partFromTag].value, ToTag: c.parts[partToTag].value,
		FromName: c.parts[partFromName].value, ToName: c.parts[partToName].value,
		FromURI: c.parts[partFromURI].value, ToURI: c.parts[partToURI].value,
		TargetCallID: c.parts[partTarget].value, SwitchURI: c.parts[partSwitch].value,
		Held: c.parts[partRendering].value == string(NotRendered),
	}
	if c.key[0] == 'c' {
		d.ID = d.CallID
	}
	if d.CallID == "" {
		d.CallID = d.ID
	}
	if c.parts[partDirection].value == direction(Recipient) {
		d.Direction = Recipient
	}
	return d
}

// addStates adds the dialogs that are no calls: the manual state, registers and lit mailboxes. Nearly all of them have the
// RegisterName of the presence id as their id. Of those with the same id only the most important one is added, so that ids
// are unique.
func (e *Extension) addStates(v *View, now int64) {
	m, calls := e.more, len(v.Dialogs)
	add := func(d DialogView) {
		for i := calls; i < len(v.Dialogs); i++ {
			if o := &v.Dialogs[i]; o.ID == d.ID {
				if rank(d.State) > rank(o.State) {
					*o = d
				}
				return
			}
		}
		v.Dialogs = append(v.Dialogs, d)
	}
	if s := m.manual.state; s != None {
		add(e.constant(DialogView{State: s, Source: "manual", Since: moment(m.manual.at)}))
	}
	for _, r := range m.registers {
		if !r.visible(now) {
			continue
		}
		if r.state == Offline {
			v.Closed = v.Closed || r.key != presenceKey || m.notPresent(now)
			continue
		}
		d := DialogView{
			ID: r.key[1:], CallID: r.key[1:], State: r.state, Source: "register",
			Since: moment(r.since), Expires: moment(r.lease), From: r.from, To: r.to,
		}
		r.call.show(&d)
		add(d)
	}
	for _, b := range m.mailboxes {
		if b.lit() {
			add(e.constant(DialogView{State: Confirmed, Source: "mailbox", Since: moment(b.since), To: b.key[1:]}))
		}
	}
}

// show puts what is known of a held call into its dialog. A dialog of a call has the call's id, so that a manual state does
// not take its place.
func (h *HeldCall) show(d *DialogView) {
	if h == nil {
		return
	}
	if h.CallID != "" {
		d.ID, d.CallID = h.CallID, h.CallID
	}
	d.Direction, d.FromTag, d.ToTag, d.FromName, d.ToName = h.Direction, h.FromTag, h.ToTag, h.FromName, h.ToName
	d.FromURI, d.ToURI, d.TargetCallID, d.SwitchURI = h.FromURI, h.ToURI, h.TargetCallID, h.SwitchURI
	d.Held = d.State == Confirmed && h.Rendering == NotRendered
}

// constant gives a dialog that is no call the id that Kazoo gives it, and the extension as both sides unless To is set.
func (e *Extension) constant(d DialogView) DialogView {
	d.From = e.Address().String()
	if d.To == "" {
		d.To = d.From
	}
	d.ID = RegisterName(d.From)
	d.CallID = d.ID
	return d
}

// distinguish makes the ids of dialogs unique (RFC 4235 §4.1.2): both ends of a call may be on one extension.
func (v *View) distinguish() {
	if len(v.Dialogs) < 2 {
		return
	}
	seen := make(map[string]bool, len(v.Dialogs))
	for _, first := range [2]bool{true, false} { // initiators first, which so keep their Call-ID as id
		for i := range v.Dialogs {
			d := &v.Dialogs[i]
			if (d.Direction == Initiator) != first {
				continue
			}
			for n, id := 2, d.ID; seen[d.ID]; n++ {
				d.ID = id + "-" + strconv.Itoa(n)
			}
			seen[d.ID] = true
		}
	}
}

// equal says whether two Views are equal in everything.
func equal(a, b *View) bool {
	return a == b || a.State == b.State && a.Closed == b.Closed && a.Registered == b.Registered && a.HasMessages == b.HasMessages &&
		a.Messages == b.Messages && slices.Equal(a.Dialogs, b.Dialogs)
}

// WithoutParties returns the View without the far ends of its dialogs: their addresses, names and targets. Documents of it have no remote
// side (RFC 4235 §4.1.6). The Call-IDs and tags stay, so that phones can pick calls up.
func (v *View) WithoutParties() *View {
	if len(v.Dialogs) == 0 {
		return v
	}
	w := *v
	w.Dialogs = slices.Clone(v.Dialogs)
	for i := range w.Dialogs {
		w.Dialogs[i].To, w.Dialogs[i].ToName, w.Dialogs[i].ToURI = "", "", ""
	}
	return &w
}
