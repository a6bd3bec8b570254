package presence

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Origin is who asked for something, from where and in which request. Each part may be "", and none may be longer than MaxOrigin.
type Origin struct {
	By      string // such as "account 4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10" or "ecallmgr"
	From    string // the address of the client, or the name of the node that published the news
	Request string // the X-Request-ID or the Msg-ID
}

// MaxOrigin is how many bytes one string of a Transition has at most. What is longer is cut.
const MaxOrigin = 128

// Transition is one remembered change of the lamp, which explain shows.
type Transition struct {
	State  State
	At     time.Time
	Source string // what changed it, such as "dialog_update", "manual" or "lease"
	CallID string // of the dialog that lit the lamp or, for a lamp that went out, of the one that had lit it
	Switch string // the Switch-URI of that dialog
	Origin
}

// history is what is remembered of the last changes of the lamp, in the form that records hold: each is its length and then its fields. The
// oldest comes first. Extensions keep it in this form because it takes a third of the memory of a slice of Transitions.
//
// It travels in the record of the thing that changed the lamp, such as a call, which is written at that time anyway. Such a record carries
// it again whenever it is written. When an extension is loaded, the newest history that its records hold counts.
type history string

// maxHistory is how many bytes a history has at most.
const maxHistory = 768

// with adds a transition behind the others, and drops the oldest ones that are too many.
func (h history) with(t Transition, most int) history {
	texts := [...]string{t.Source, t.CallID, t.Switch, t.By, t.From, t.Request}
	at := uint64(t.At.UnixMicro())
	size := 1 + uvarintLen(at)
	for i, s := range texts {
		texts[i] = strings.ToValidUTF8(s[:min(len(s), MaxOrigin)], "")
		size += uvarintLen(uint64(len(texts[i]))) + len(texts[i])
	}
	n, whole := 0, 0
	for entry := h.first(); entry != 0; entry = h[whole:].first() {
		n, whole = n+1, whole+entry
	}
	h = h[:whole] // what follows is no transition
	for ; n > 0 && (n >= most || len(h)+size > maxHistory); n-- {
		h = h[h.first():]
	}
	var room [2 * maxHistory]byte
	b := append(room[:0], h...)
	b = append(binary.AppendUvarint(b, uint64(size)), byte(t.State))
	b = binary.AppendUvarint(b, at)
	for _, s := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return history(b)
}

// uvarintLen is how many bytes binary.AppendUvarint appends.
func uvarintLen(v uint64) int { return max(1, (bits.Len64(v)+6)/7) }

// first is how many bytes the first transition has, with its length; 0: the history begins with none.
func (h history) first() int {
	size, n := uvarint(string(h))
	if n <= 0 || size > uint64(len(h)-n) {
		return 0
	}
	return n + int(size)
}

// uvarint is binary.Uvarint for a string.
func uvarint(s string) (v uint64, n int) {
	return binary.Uvarint([]byte(s[:min(len(s), binary.MaxVarintLen64)]))
}

// transitions reads the history. What stands behind bytes that are no transition is left out.
func (h history) transitions() (all []Transition) {
	for {
		size := h.first()
		if size == 0 {
			return all
		}
		_, n := uvarint(string(h))
		if t, ok := readTransition(string(h[n:size])); ok {
			all = append(all, t)
		}
		h = h[size:]
	}
}

// last is the newest transition; ok is false when there is none.
func (h history) last() (t Transition, ok bool) {
	all := h.transitions()
	if len(all) == 0 {
		return t, false
	}
	return all[len(all)-1], true
}

func readTransition(s string) (t Transition, ok bool) {
	if s == "" || State(s[0]) > Offline {
		return t, false
	}
	t.State, s = State(s[0]), s[1:]
	at, n := uvarint(s)
	if n <= 0 || at > maxMoment {
		return t, false
	}
	t.At, s = moment(int64(at)), s[n:]
	for _, to := range []*string{&t.Source, &t.CallID, &t.Switch, &t.By, &t.From, &t.Request} {
		size, n := uvarint(s)
		if n <= 0 || size > uint64(len(s)-n) {
			return t, false
		}
		*to, s = s[n:n+int(size)], s[n+int(size):]
	}
	return t, true
}

// bearer names the record that carries the history; the zero value: none does.
type bearer struct {
	kind Kind
	key  string
}

// remember adds a change of the lamp to the history. before is the View that it changes.
func (e *Extension) remember(eff *Effects, before *View) {
	if e.rules.Transitions <= 0 {
		return
	}
	l := eff.Lamp
	t := Transition{State: l.State, At: l.At, Source: l.Source, Origin: eff.origin}
	for _, v := range []*View{l.View, before} {
		if len(v.Dialogs) == 0 || v.State == Terminated {
			continue
		}
		if d := v.Dialogs[0]; d.Source == "call" || d.SwitchURI != "" {
			t.CallID, t.Switch = d.CallID, d.SwitchURI
		}
		break
	}
	m := e.open()
	m.history = m.history.with(t, e.rules.Transitions)
}

// historyLife is how long the history of a lamp that has gone out is kept, for the next owner.
const historyLife = time.Hour

// before says whether r is to carry the history of the lamp, and not o. A record that is no tombstone is chosen first, because it is kept for longer.
// Among the others the order of kinds and keys decides, so that equal inputs give equal records.
func (r *Record) before(o *Record) bool {
	if r.Tombstone != o.Tombstone {
		return o.Tombstone
	}
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), strings.Compare(r.Key, o.Key)) < 0
}

// carryHistory puts the history into the record that carries it, if that is among those to be written. After a change of the lamp another
// record may take its place: one that is written anyway.
func (e *Extension) carryHistory(eff *Effects) {
	m := e.more
	if m == nil || m.history == "" || len(eff.Records) == 0 {
		return
	}
	carries := func(r Record) bool { return r.Kind == m.bearer.kind && r.Key == m.bearer.key }
	if eff.Lamp != nil && !slices.ContainsFunc(eff.Records, carries) {
		var next *Record
		for i, r := range eff.Records {
			fits := r.Kind == KindCall || r.Kind == KindRegister || r.Kind == KindManual || r.Kind == KindMailbox
			if fits && (next == nil || r.before(next)) {
				next = &eff.Records[i]
			}
		}
		if next != nil {
			m.bearer = bearer{next.Kind, next.Key}
		}
	}
	for i, r := range eff.Records {
		if carries(r) {
			eff.Records[i].Data = appendStr(r.Data, recHistory, string(m.history))
			if r.Life > 0 {
				eff.Records[i].Life = max(r.Life, historyLife)
			}
		}
	}
}

// loadHistory takes the history that a good record carries, unless a newer one is known.
func (e *Extension) loadHistory(kind Kind, data []byte) {
	var h history
	var key string
	for rest := data; len(rest) > 0; {
		tag, _, text, after, err := cut(rest)
		if err != nil {
			return
		}
		switch tag {
		case recHistory<<3 | wireBytes:
			h = history(text)
		case recKey<<3 | wireBytes:
			key = string(text)
		}
		rest = after
	}
	last, ok := h.last()
	if !ok || len(h) > maxHistory {
		return
	}
	m := e.open()
	if known, any := m.history.last(); !any || !last.At.Before(known.At) {
		m.history, m.bearer = h, bearer{kind, key}
	}
}

// loadedHistory adds the change of the lamp that nobody wrote down: a lease has ended, perhaps while no node held the extension.
func (e *Extension) loadedHistory(now int64) {
	m := e.more
	if m == nil {
		return
	}
	last, ok := m.history.last()
	if !ok || last.State == e.view.State {
		return
	}
	var ended int64 // the last lease that has
	for _, c := range m.calls {
		if at := e.whole(c).ends(); at <= now {
			ended = max(ended, at)
		}
	}
	for _, r := range m.registers {
		if r.lease <= now {
			ended = max(ended, r.lease)
		}
	}
	if ended <= last.At.UnixMicro() {
		ended = now
	}
	m.history = m.history.with(Transition{State: e.view.State, At: moment(ended), Source: "lease", CallID: last.CallID, Switch: last.Switch}, e.rules.Transitions)
}

// Transitions returns the remembered changes of the lamp, oldest first.
func (e *Extension) Transitions() []Transition {
	if e.more == nil {
		return nil
	}
	return e.more.history.transitions()
}
