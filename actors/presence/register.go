package presence

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// register is a state that a feature publishes under a constant name, or its tombstone. A register that went off stays for a
// tombstone's life with its time, so that older news of it loses.
//
// A name has two registers, one for the lamp and one for the basic status, so that Online and Offline, which only the
// package presence shows (RFC 3863 §4.1.4), never change the lamp. Of news with the same time the last to arrive wins.
//
// The end of one call does not end the register while it shows another call (Kazoo's application park has no times in its
// documents, and it empties a slot only for the call that is in it). It does when its time says that the call it names came
// after the one that is shown.
type register struct {
	key      string // "l" (lamp) or "b" (basic status), then the name
	state    State
	at       int64 // µs, the time of the newest news
	since    int64 // µs, when the state last changed
	lease    int64 // µs, when its lease ends; 0: it has none and stays until it is changed
	until    int64 // µs, the end of the tombstone; 0: the register is none
	from, to string
	call     *HeldCall // nil: nothing is known
	source   string    // what brought the news
	unknown  string    // the record's fields of a newer release
	schema   uint8     // of the record
}

// RegisterName returns the name under which Kazoo publishes a state of an extension that is no call: the md5 of the presence
// id, in lower-case hex.
func RegisterName(presenceID string) string {
	sum := md5.Sum([]byte(presenceID))
	return hex.EncodeToString(sum[:])
}

// IsRegister says whether a Call-ID is the RegisterName of one of the forms in which a publisher may have written the presence
// id of an extension: as it came or as Lamplight writes it, in its own case or in lower case, with its realm or without (Kazoo's
// queues and agents leave the realm out), without a scheme, with sip: or with the scheme that it came with. presenceID is the id
// as it came, and to is what it names.
func IsRegister(callID string, to Address, presenceID string) bool {
	var name [md5.Size]byte
	if len(callID) != hex.EncodedLen(len(name)) {
		return false
	}
	if _, err := hex.Decode(name[:], []byte(callID)); err != nil {
		return false
	}
	uri := presenceID
	if _, spec, ok := nameAddr(presenceID); ok {
		uri = spec
	}
	bare, _ := cutScheme(uri)
	forms := []string{presenceID, to.String(), bare}
	grow := func(more func(form string) string) {
		for _, form := range forms {
			if f := more(form); !slices.Contains(forms, f) {
				forms = append(forms, f)
			}
		}
	}
	grow(func(form string) string { before, _, _ := strings.Cut(form, "@"); return before })
	for _, scheme := range []string{"sip:", uri[:len(uri)-len(bare)]} {
		grow(func(form string) string {
			rest, _ := cutScheme(form)
			return scheme + rest
		})
	}
	grow(strings.ToLower)
	return slices.ContainsFunc(forms, func(form string) bool { return md5.Sum([]byte(form)) == name })
}

// kept is a copy of the held call, nil if nothing is known of it.
func (h *HeldCall) kept() *HeldCall {
	if *h == (HeldCall{}) {
		return nil
	}
	k := *h
	k.Rendering = Rendering(strings.Clone(string(k.Rendering)))
	for _, text := range []*string{&k.CallID, &k.FromTag, &k.ToTag, &k.FromName, &k.ToName, &k.FromURI, &k.ToURI, &k.TargetCallID, &k.SwitchURI} {
		*text = strings.Clone(*text)
	}
	return &k
}

// after is the held call that news brings, with what was known of the same call before: a tag that came once is kept when later
// news of the call has none. Rendered is dropped: it is what counts where nothing is known.
func (h HeldCall) after(old *HeldCall) HeldCall {
	if old != nil && h.CallID != "" && h.CallID == old.CallID {
		h.keep(old)
	}
	if h.Rendering == Rendered {
		h.Rendering = RenderingUnknown
	}
	return h
}

// keep takes what the call had before and h has not.
func (h *HeldCall) keep(old *HeldCall) {
	h.Rendering = cmp.Or(h.Rendering, old.Rendering)
	h.FromTag, h.ToTag = cmp.Or(h.FromTag, old.FromTag), cmp.Or(h.ToTag, old.ToTag)
	h.FromName, h.ToName = cmp.Or(h.FromName, old.FromName), cmp.Or(h.ToName, old.ToName)
	h.FromURI, h.ToURI = cmp.Or(h.FromURI, old.FromURI), cmp.Or(h.ToURI, old.ToURI)
	h.TargetCallID, h.SwitchURI = cmp.Or(h.TargetCallID, old.TargetCallID), cmp.Or(h.SwitchURI, old.SwitchURI)
}

// off says that the register shows nothing: it is Terminated or Online, as if it had never been published.
func (r *register) off() bool { return r.state == Terminated || r.state == Online }

// held is the call that the register holds; nil when r is nil or holds none.
func (r *register) held() *HeldCall {
	if r == nil {
		return nil
	}
	return r.call
}

// showsAnother says whether the news is the end of a call and the register shows another call.
func (r *register) showsAnother(ev *RegisterEvent) bool {
	return ev.State == Terminated && ev.Call.CallID != "" && !r.off() && r.call != nil && r.call.CallID != "" && r.call.CallID != ev.Call.CallID
}

// visible says whether the register counts for the lamp or the basic status.
func (r *register) visible(now int64) bool { return !r.off() && (r.lease == 0 || r.lease > now) }

// forgetAt is when the register need not be known any more, in µs; 0: never. life is a tombstone's.
func (r *register) forgetAt(life int64) int64 {
	switch {
	case r.off():
		return r.until
	case r.lease != 0:
		return r.lease + life
	}
	return 0
}

// registerEvent takes the newest value of a register.
func (e *Extension) registerEvent(eff *Effects, ev *RegisterEvent, now int64) error {
	if ev.Name == "" || ev.State == None || ev.State > Offline {
		return fmt.Errorf("%w: a register needs a name and a state", ErrInvalid)
	}
	h := ev.Call
	if !h.Rendering.Valid() {
		return fmt.Errorf("%w: the rendering is %.40q; it must be yes or no", ErrInvalid, h.Rendering)
	}
	if err := fits(ev.Expires, LongestLease, ev.Name, ev.From, ev.To, ev.Source, h.CallID, h.FromTag, h.ToTag, h.FromName, h.ToName,
		h.FromURI, h.ToURI, h.TargetCallID, h.SwitchURI); err != nil {
		return err
	}
	slot := "l"
	if ev.State == Online || ev.State == Offline {
		slot = "b"
	}
	key, began := slot+ev.Name, stamp(ev.Timestamp, now)
	at, timed := began, !ev.Timestamp.IsZero() && began != now
	if timed && at%second == 0 {
		at += second - 1 // in whole seconds: it may have been any moment of that second
	}
	var r *register
	i, found := 0, false
	if e.more != nil {
		if i, found = searchRegister(e.more.registers, key); found {
			r = e.more.registers[i]
		}
	}
	if at < e.rules.gone(ev.Call.SwitchURI) { // its switch was gone after it: what it says is over
		over := *ev
		over.State, over.Call = Terminated, HeldCall{CallID: ev.Call.CallID}
		ev, h = &over, over.Call
		eff.Ignored = IgnoredEnded
	}
	if found && (timed && at < r.at || r.showsAnother(ev) && !(timed && at > r.at)) {
		eff.Ignored = IgnoredOvertaken
		return nil
	}
	if found {
		at = max(at, r.at) // earlier than r.at, it brings no time: the last to arrive wins
	}
	fresh := register{key: key, state: ev.State, at: at, since: began, from: ev.From, to: ev.To, source: ev.Source, schema: e.rules.writes()}
	if ev.Expires > 0 {
		fresh.lease = began + int64(ev.Expires)*second
	}
	if err := e.roomForRegister(&fresh, r, now); err != nil {
		return err
	}
	if h = h.after(r.held()); found {
		fresh.schema, fresh.unknown = r.schema, r.unknown
		if fresh.state == r.state {
			fresh.since = r.since
		}
		if fresh.off() {
			fresh.until = r.until
		}
		if fresh.call = r.call; fresh == *r && (r.call == nil && h == HeldCall{} || r.call != nil && h == *r.call) {
			return nil // a repetition
		}
	} else {
		r = &register{}
		m := e.open()
		m.registers = slices.Insert(m.registers, i, r)
	}
	if fresh.off() {
		fresh.until, fresh.lease = now+e.tombstoneLife(), 0
	}
	fresh.key, fresh.from, fresh.to, fresh.source = strings.Clone(key), strings.Clone(ev.From), strings.Clone(ev.To), strings.Clone(ev.Source)
	fresh.call = h.kept()
	*r = fresh
	e.keepRegister(eff, r, now)
	e.changed(eff, cause(ev.Source, "register"), now)
	return nil
}

// roomForRegister refuses a register that would be new, or visible again, when a bound is reached. old is the register that
// fresh replaces, nil for none.
func (e *Extension) roomForRegister(fresh, old *register, now int64) error {
	if fresh.visible(now) && (old == nil || !old.visible(now)) {
		if m, most := e.more, e.rules.MaxCalls; most > 0 && m != nil && len(m.registers) >= most {
			n := 0
			for _, r := range m.registers {
				if r.visible(now) {
					n++
				}
			}
			if n >= most {
				return fmt.Errorf("%w: it has %d registers, at most %d are allowed", ErrTooManyCalls, n, most)
			}
		}
	}
	if old != nil {
		return nil
	}
	return e.roomForNew(now)
}

// searchRegister finds a register by its key, or the place where it belongs.
func searchRegister(registers []*register, key string) (int, bool) {
	return slices.BinarySearchFunc(registers, key, func(r *register, key string) int { return strings.Compare(r.key, key) })
}

// keepRegister adds the register's record to the effects and asks for the Ticks that the register needs.
func (e *Extension) keepRegister(eff *Effects, r *register, now int64) {
	forget := r.forgetAt(e.tombstoneLife())
	if forget != 0 {
		e.due(forget)
	}
	if r.off() {
		e.bury(eff, KindRegister, r.key, e.encodeRegister(r), forget, now)
		return
	}
	if r.lease != 0 {
		e.due(r.lease)
	}
	e.keep(eff, KindRegister, r.key, e.encodeRegister(r), forget, now)
}
