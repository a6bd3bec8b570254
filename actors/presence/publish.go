package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// check refuses a Publish that contradicts itself or is past a bound of its fields.
func (ev *Publish) check() error {
	switch {
	case ev.Package > LastPackage || ev.Publisher == "" || ev.Tag == "" || len(ev.Tag) > maxTag:
		return fmt.Errorf("%w: a publication needs an event package, a publisher and an entity-tag of at most %d bytes", ErrInvalid, maxTag)
	case ev.IfMatch == "" && !ev.HasBody:
		return fmt.Errorf("%w: a new publication has no document; it needs one (RFC 3903 §4.2)", ErrInvalid)
	case len(ev.Dialogs) > MaxPublished:
		return fmt.Errorf("%w: the document has %d dialogs; it may have at most %d", ErrInvalid, len(ev.Dialogs), MaxPublished)
	case ev.Basic != None && ev.Basic != Online && ev.Basic != Offline:
		return fmt.Errorf("%w: the basic status is %s; it must be online or offline", ErrInvalid, ev.Basic)
	}
	for i := range ev.Dialogs {
		d := &ev.Dialogs[i]
		if d.State == None || d.State > Terminated || d.Direction > Recipient || !d.Rendering.Valid() {
			return fmt.Errorf("%w: a dialog needs a state and a direction, and its rendering must be yes or no", ErrInvalid)
		}
		if err := fits(0, 0, d.ID, d.CallID, d.From, d.To, d.FromTag, d.ToTag, d.FromName, d.ToName, d.FromURI, d.ToURI, d.TargetCallID, d.SwitchURI); err != nil {
			return err
		}
	}
	return fits(ev.Expires, LongestLease, ev.Publisher)
}

// fact is one thing that a document says of a call or register.
type fact struct {
	key      string
	register bool
	over     bool // it is terminated, or online
	news     CallEvent
}

// facts are the things that the document says.
func (e *Extension) facts(ev *Publish) []fact {
	var all []fact
	if !ev.HasBody {
		return nil
	}
	for _, d := range ev.Dialogs {
		d.Source = "publish"
		d.From = cmp.Or(d.From, e.Address().String())
		d.Rendering = cmp.Or(d.Rendering, Rendered) // the document is all that its publisher says of the dialog: it is held no more
		key, isRegister := e.publishedKey(ev.Publisher, &d)
		all = append(all, fact{key, isRegister, d.State == Terminated, d})
	}
	if ev.Basic != None {
		self := e.Address().String()
		all = append(all, fact{basicKey(ev.Publisher), true, ev.Basic == Online, CallEvent{State: ev.Basic, From: self, To: self, Source: "publish"}})
	}
	return all
}

// key is the key of the publication that a Publish begins.
func (ev *Publish) key() string {
	return string('0'+byte(ev.Package)) + publisherName(ev.Publisher) + ev.Tag
}

// publish takes a PUBLISH (RFC 3903 §6).
func (e *Extension) publish(eff *Effects, ev *Publish, now int64) error {
	if e.rules.writes() < publicationSchema {
		return ErrTooNew
	}
	if err := ev.check(); err != nil {
		return err
	}
	old, repeated := e.publicationOf(ev, now)
	switch {
	case repeated:
		return nil
	case ev.IfMatch != "" && old == nil:
		return fmt.Errorf("%w: %.80q", ErrNoPublication, ev.IfMatch)
	}
	facts := e.facts(ev)
	p := publication{key: ev.key(), publisher: ev.Publisher, schema: e.rules.writes()}
	if old != nil {
		p = *old
		p.reports = slices.Clone(old.reports)
	}
	if ev.HasBody {
		p.open = ev.Basic == Online
	}
	touched := slices.Clone(p.reports)
	if ev.HasBody && !ev.Partial {
		p.reports = nil
	}
	for _, f := range facts {
		if touched = append(touched, f.key); f.over || e.hasEnded(f.key) {
			p.drop(f.key)
		} else {
			p.add(f.key)
		}
	}
	keep, err := e.roomForPublication(&p, old, ev.Expires > 0, now)
	if err != nil {
		return err
	}
	if m := ev.Messages; m != nil && ev.HasBody {
		box := MailboxEvent{Source: e.Address().String(), New: m.New, Saved: m.Saved, UrgentNew: m.UrgentNew, UrgentSaved: m.UrgentSaved, Account: m.Account}
		if err := e.mailboxEvent(eff, &box, now); err != nil {
			return err
		}
	}
	p.tag, p.until = strings.Clone(ev.Tag), now+int64(ev.Expires)*second
	p.key, p.publisher = strings.Clone(p.key), strings.Clone(p.publisher)
	e.replacePublication(eff, old, &p, keep, now)
	if ev.Basic != None || p.open {
		e.notePresence(eff, now)
	}
	dirty := map[string]bool{}
	for i := range facts {
		e.learn(eff, &facts[i], dirty, now)
	}
	slices.Sort(touched)
	for _, key := range slices.Compact(touched) {
		e.settle(eff, key, dirty[key], now)
	}
	e.changed(eff, "publish", now)
	return nil
}

// publicationOf finds the publication that a Publish is about; nil: there is none. repeated says that the very same Publish was applied
// before.
func (e *Extension) publicationOf(ev *Publish, now int64) (found *publication, repeated bool) {
	if e.more == nil {
		return nil, false
	}
	key := ev.key()
	for _, p := range e.more.published {
		if p.until <= now || p.publisher != ev.Publisher || Package(p.key[0]-'0') != ev.Package {
			continue
		}
		if p.tag == ev.Tag || p.key == key {
			return p, true
		}
		if ev.IfMatch != "" && p.tag == ev.IfMatch {
			found = p
		}
	}
	return found, false
}

// replacePublication puts p in the place of old, which may be nil. Without keep the publication ends.
func (e *Extension) replacePublication(eff *Effects, old, p *publication, keep bool, now int64) {
	switch {
	case keep && old != nil:
		*old = *p
		e.keepPublication(eff, old, now)
	case keep:
		m := e.open()
		i, _ := searchPublication(m.published, p.key)
		m.published = slices.Insert(m.published, i, p)
		e.keepPublication(eff, p, now)
	case old != nil:
		m := e.more
		i, _ := searchPublication(m.published, old.key)
		m.published = slices.Delete(m.published, i, i+1)
		e.buryPublication(eff, old, now)
	}
}

// hasEnded says whether the key is that of a call that has ended: nothing revives it.
func (e *Extension) hasEnded(key string) bool {
	if key[0] != keyPublished[0] {
		return false
	}
	_, c := e.findCall(keyPublished, key[1:])
	return c != nil && c.state == Terminated
}

// roomForPublication refuses a publication past a bound. keep says whether the publication is to be remembered. One that reports nothing
// is not, when the bound of publications is reached: what it says counts, and its next request finds it no more.
func (e *Extension) roomForPublication(p, old *publication, lives bool, now int64) (keep bool, err error) {
	if !lives {
		return false, nil
	}
	if len(p.reports) > MaxPublished {
		return false, fmt.Errorf("%w: the publication reports %d dialogs, at most %d are allowed", ErrTooManyCalls, len(p.reports), MaxPublished)
	}
	keep = true
	if most := 4 * e.rules.MaxCalls; old == nil && most > 0 && e.more != nil && len(e.more.published) >= most {
		if keep = false; len(p.reports) > 0 || p.open {
			return false, fmt.Errorf("%w: it has %d publications, at most %d are allowed", ErrTooManyCalls, len(e.more.published), most)
		}
	}
	calls, registers, fresh := 0, 0, false // that would be visible and are not
	for _, key := range p.reports {
		known, visible := e.publishedThing(key, now)
		fresh = fresh || !known
		switch {
		case visible:
		case key[0] == keyPublished[0]:
			calls++
		default:
			registers++
		}
	}
	if err := e.roomForVisible(calls, registers, now); err != nil {
		return false, err
	}
	if fresh {
		err = e.roomForNew(now)
	}
	return keep, err
}

// publishedThing says whether the call or register with a key is known, and whether it is visible.
func (e *Extension) publishedThing(key string, now int64) (known, visible bool) {
	if e.more == nil {
		return false, false
	}
	if key[0] == keyPublished[0] {
		_, c := e.findCall(keyPublished, key[1:])
		return c != nil, c != nil && c.visible(now)
	}
	i, found := searchRegister(e.more.registers, key)
	return found, found && e.more.registers[i].visible(now)
}

// roomForVisible refuses calls and registers that would be visible past the bound.
func (e *Extension) roomForVisible(calls, registers int, now int64) error {
	most := e.rules.MaxCalls
	if most <= 0 || calls+registers == 0 {
		return nil
	}
	nCalls, nRegisters := calls, registers
	if m := e.more; m != nil {
		for _, c := range m.calls {
			if e.whole(c).visible(now) {
				nCalls++
			}
		}
		for _, r := range m.registers {
			if r.visible(now) {
				nRegisters++
			}
		}
	}
	if calls > 0 && nCalls > most || registers > 0 && nRegisters > most {
		return fmt.Errorf("%w: it would have %d calls and %d registers, at most %d of each are allowed", ErrTooManyCalls, nCalls, nRegisters, most)
	}
	return nil
}

// learn merges what a document says into the call or register. It notes in dirty that this changed it. The record is written by settle.
func (e *Extension) learn(eff *Effects, f *fact, dirty map[string]bool, now int64) {
	m := e.open()
	switch {
	case f.register:
		i, found := searchRegister(m.registers, f.key)
		if !found {
			if f.over {
				return // there is nothing to end, and the next news is taken as it comes
			}
			m.registers = slices.Insert(m.registers, i, &register{key: f.key, schema: e.rules.writes()})
		}
		dirty[f.key] = m.registers[i].learn(&f.news, now) || dirty[f.key]
	default:
		i, c := e.findCall(keyPublished, f.key[1:])
		if c == nil {
			if f.over && e.roomForNew(now) != nil {
				return // unknown and over: there is only no room to remember that
			}
			c = &call{key: f.key, schema: e.rules.writes(), parts: make([]part, partCount)}
			m.calls = slices.Insert(m.calls, i, c)
		}
		if c.state == Terminated {
			if !f.over {
				eff.Ignored = IgnoredEnded
			}
			return
		}
		dirty[f.key] = c.merge(&f.news, now, c.lease) || dirty[f.key]
		if f.over {
			c.until = now + e.tombstoneLife()
		}
	}
	if !f.over {
		return
	}
	for _, p := range m.published { // none of them reports it any more
		if p.drop(f.key) {
			e.keepPublication(eff, p, now)
		}
	}
}

// learn takes the newest value of a published register. It says whether that changed it.
func (r *register) learn(news *CallEvent, now int64) bool {
	fresh := *r
	fresh.state, fresh.from, fresh.to, fresh.source = news.State, news.From, news.To, news.Source
	h := HeldCall{CallID: news.CallID, Direction: news.Direction, FromTag: news.FromTag, ToTag: news.ToTag, FromName: news.FromName, ToName: news.ToName,
		FromURI: news.FromURI, ToURI: news.ToURI, TargetCallID: news.TargetCallID, SwitchURI: news.SwitchURI, Rendering: news.Rendering}.after(r.call)
	if fresh == *r && (r.call == nil && h == HeldCall{} || r.call != nil && h == *r.call) {
		return false
	}
	if fresh.at = max(now, r.at); fresh.state != r.state {
		fresh.since = now
	}
	fresh.from, fresh.to, fresh.call = strings.Clone(fresh.from), strings.Clone(fresh.to), h.kept()
	*r = fresh
	return true
}

// settle gives the call or register with a key the lease that publications lend it, and writes its record if it has changed.
func (e *Extension) settle(eff *Effects, key string, dirty bool, now int64) {
	m, until := e.more, now
	for _, p := range m.published {
		if p.until > until && p.reported(key) {
			until = p.until
		}
	}
	if key[0] == keyPublished[0] {
		_, c := e.findCall(keyPublished, key[1:])
		if c == nil {
			return
		}
		if c.state != Terminated && c.lease != until && (until > now || c.lease > now || dirty) {
			c.lease, dirty = until, true
		}
		if dirty {
			e.keepCall(eff, c, now)
		}
		return
	}
	i, found := searchRegister(m.registers, key)
	if !found {
		return
	}
	r := m.registers[i]
	switch {
	case r.off() && dirty:
		r.lease, r.until = 0, now+e.tombstoneLife()
	case r.off():
	case r.lease != until && (until > now || r.lease > now || dirty):
		r.lease, r.until, dirty = until, 0, true
	}
	if dirty {
		e.keepRegister(eff, r, now)
	}
}
