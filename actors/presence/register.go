package presence

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// register is a state that a feature publishes under a constant name, or its tombstone: what went
// off stays for a tombstone's life with its stamp, so that older news of it loses.
//
// A name has two slots, so that online and offline (presence only, RFC 3863 §4.1.4) never touch
// the lamp. Registers are ordered by their owner: news of equal stamps counts as it arrives.
type register struct {
	key      string // "l" or "b" (lamp or basic), then the name
	state    State
	at       int64 // µs, the stamp of the newest news
	since    int64 // µs, the last change of the state
	lease    int64 // µs; 0: stays until changed
	until    int64 // µs; a tombstone's end
	from, to string
	source   string
	unknown  string
	schema   uint8
}

// RegisterName is the name under which Kazoo publishes a state of an extension that is no call: the md5 of the presence
// id, in lower-case hex.
func RegisterName(presenceID string) string {
	sum := md5.Sum([]byte(presenceID))
	return hex.EncodeToString(sum[:])
}

// IsRegister says whether an update with this Call-ID is about a register and not about a call: it has no Call-ID, or its
// Call-ID is the RegisterName of one of the forms in which the publisher may have written the presence id. Each form
// also counts in lower case.
func IsRegister(callID string, presenceIDs ...string) bool {
	if callID == "" {
		return true
	}
	for _, id := range presenceIDs {
		if strings.EqualFold(callID, RegisterName(id)) || strings.EqualFold(callID, RegisterName(strings.ToLower(id))) {
			return true
		}
	}
	return false
}

// off says that nothing is lit (lamp) or closed (basic): what was never heard of looks the same.
func (r *register) off() bool { return r.state == Terminated || r.state == Online }

func (r *register) visible(now int64) bool { return !r.off() && (r.lease == 0 || r.lease > now) }

// forgetAt is when nothing needs to be known of it any more; 0: never.
func (r *register) forgetAt(life int64) int64 {
	switch {
	case r.off():
		return r.until
	case r.lease != 0:
		return r.lease + life
	}
	return 0
}

func (e *Extension) registerEvent(eff *Effects, ev *RegisterEvent, now int64) error {
	if ev.Name == "" || ev.State == None || ev.State > Offline {
		return fmt.Errorf("%w: a register needs a name and a state", ErrInvalid)
	}
	if err := fits(ev.Expires, LongestLease, ev.Name, ev.From, ev.To, ev.Source); err != nil {
		return err
	}
	slot := "l"
	if ev.State == Online || ev.State == Offline {
		slot = "b"
	}
	key, began := slot+ev.Name, stamp(ev.Timestamp, now)
	at := began
	if !ev.Timestamp.IsZero() && at != now && at%second == 0 {
		at += second - 1 // a stamp in whole seconds: it may have been any moment of that second
	}
	var r *register
	i, found := 0, false
	if e.more != nil {
		if i, found = searchRegister(e.more.registers, key); found {
			r = e.more.registers[i]
		}
	}
	if found && at < r.at {
		if !ev.Timestamp.IsZero() && began != now {
			return nil // overtaken by newer news
		}
		at = r.at // it has no stamp of its own: the last to arrive wins
	}
	fresh := register{key: key, state: ev.State, at: at, since: began, from: ev.From, to: ev.To, source: ev.Source, schema: e.rules.writes()}
	if ev.Expires > 0 {
		fresh.lease = began + int64(ev.Expires)*second
	}
	if err := e.roomForRegister(&fresh, r, now); err != nil {
		return err
	}
	if found {
		fresh.schema, fresh.unknown = r.schema, r.unknown
		if fresh.state == r.state {
			fresh.since = r.since
		}
		if fresh.off() {
			fresh.until = r.until
		}
		if fresh == *r {
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
	*r = fresh
	e.keepRegister(eff, r, now)
	e.changed(eff, cause(ev.Source, "register"), now)
	return nil
}

// roomForRegister refuses what would be new, or newly visible, past a bound.
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
				return fmt.Errorf("%w: %d registers", ErrTooManyCalls, n)
			}
		}
	}
	if old != nil {
		return nil
	}
	return e.roomForNew(now)
}

func searchRegister(registers []*register, key string) (int, bool) {
	return slices.BinarySearchFunc(registers, key, func(r *register, key string) int { return strings.Compare(r.key, key) })
}

func (e *Extension) keepRegister(eff *Effects, r *register, now int64) {
	if f := r.forgetAt(e.tombstoneLife()); f != 0 {
		e.due(f)
	}
	if r.off() {
		e.bury(eff, KindRegister, r.key, e.encodeRegister(r), 0, now)
		return
	}
	if r.lease != 0 {
		e.due(r.lease)
	}
	e.keep(eff, KindRegister, r.key, e.encodeRegister(r), 0, now)
}
