package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// register is what a feature published last under a constant name. Off is a value like any other: it stays for a
// minute as the tombstone that older news loses against.
type register struct {
	name, from, to, source, extra string
	stamp                         int64 // Unix ms of the news
	since                         int64
	lease                         int64 // Unix ms; 0: stays until changed
	until                         int64 // Unix ms until which it stands as a tombstone; 0: it is on
	state                         State
}

// registerSlot keeps Online and Offline apart: they concern the presence package only and never the lamp.
func registerSlot(s State) string {
	if s == Online || s == Offline {
		return "b"
	}
	return "l"
}

func (r *register) key() string { return registerSlot(r.state) + r.name }

func (e *Extension) register(ev RegisterEvent, now time.Time, fx *Effects) error {
	if ev.State == None || ev.State > Offline || ev.Expires < 0 {
		return ErrInvalid
	}
	at := when(ev.Timestamp, now)
	key := registerSlot(ev.State) + ev.Name
	i := slices.IndexFunc(e.registers, func(r *register) bool { return r.key() == key })
	if i < 0 {
		if len(e.registers) >= e.rules.MaxCalls {
			return ErrTooManyCalls
		}
		e.registers = append(e.registers, &register{name: ev.Name})
		i = len(e.registers) - 1
	} else if r := e.registers[i]; at < r.stamp || at == r.stamp && !ev.Timestamp.IsZero() && ev.State < r.state {
		return nil // older news
	}
	r := e.registers[i]
	if r.state != ev.State {
		r.since = at
	}
	r.state, r.stamp, r.from, r.to, r.source = ev.State, at, ev.From, ev.To, ev.Source
	r.lease, r.until = 0, 0
	if ev.Expires > 0 {
		r.lease = at + int64(ev.Expires)*1000
	}
	if r.state == Terminated {
		r.lease, r.until = 0, millis(now.Add(e.rules.TombstoneLife))
	}
	e.keepRegister(r, now, fx)
	return nil
}

func (e *Extension) keepRegister(r *register, now time.Time, fx *Effects) {
	e.wakeAt(r.lease)
	e.wakeAt(r.until)
	enc := e.newRecord(120)
	enc.time(fieldTombstone, r.until)
	enc.str(11, r.name)
	enc.num(12, uint64(r.state))
	enc.time(13, r.stamp)
	enc.time(14, r.lease)
	enc.str(15, r.from)
	enc.str(16, r.to)
	enc.str(17, r.source)
	enc.time(18, r.since)
	enc.b = append(enc.b, r.extra...)
	rec := Record{Kind: KindRegister, Key: r.key(), Data: enc.b, Tombstone: r.until > 0}
	if over := max(r.lease, r.until); over > 0 {
		rec.TTL = ttl(over, now)
	}
	fx.Records = append(fx.Records, rec)
}

// dropRegister turns a register off as of now.
func (e *Extension) dropRegister(r *register, now time.Time, fx *Effects) {
	if r.state == Online || r.state == Offline {
		r.state = Online // no word of being offline stands any more
	} else {
		r.state = Terminated
	}
	r.stamp, r.since, r.lease = max(millis(now), r.stamp), millis(now), 0
	r.until = millis(now.Add(e.rules.TombstoneLife))
	e.keepRegister(r, now, fx)
}

func parseRegister(data string) (*register, error) {
	r := new(register)
	unknown, err := decode(data, func(f field) bool {
		switch f.number {
		case fieldRealm, fieldUser:
		case fieldTombstone:
			r.until = stamp(f.num)
		case 11:
			r.name = f.str
		case 12:
			r.state = number(f.num, Offline)
		case 13:
			r.stamp = stamp(f.num)
		case 14:
			r.lease = stamp(f.num)
		case 15:
			r.from = f.str
		case 16:
			r.to = f.str
		case 17:
			r.source = f.str
		case 18:
			r.since = stamp(f.num)
		default:
			return false
		}
		return true
	})
	r.extra = unknown
	if err == nil && r.state == None {
		err = ErrRecord
	}
	return r, err
}

func (e *Extension) lapseRegisters(now time.Time, fx *Effects) {
	ms := millis(now)
	for _, r := range e.registers {
		if r.until == 0 && r.lease > 0 && r.lease <= ms {
			e.dropRegister(r, now, fx)
		}
	}
	e.registers = slices.DeleteFunc(e.registers, func(r *register) bool { return r.until > 0 && r.until <= ms })
	if len(e.registers) == 0 {
		e.registers = nil
	}
}

// manual is the state that the API set.
type manual struct {
	extra string
	since int64
	state State
}

func (e *Extension) setManual(s State, now time.Time, fx *Effects) error {
	if s != Early && s != Confirmed && s != Terminated {
		return ErrInvalid
	}
	if s == e.manual.state || s == Terminated && e.manual.state == None {
		return nil
	}
	e.manual.state, e.manual.since = s, millis(now)
	rec := Record{Kind: KindManual}
	enc := e.newRecord(24)
	if s == Terminated {
		e.manual.state = None
		until := millis(now.Add(e.rules.TombstoneLife))
		enc.time(fieldTombstone, until)
		rec.TTL, rec.Tombstone = ttl(until, now), true
	}
	enc.num(10, uint64(e.manual.state))
	enc.time(11, e.manual.since)
	enc.b = append(enc.b, e.manual.extra...)
	rec.Data = enc.b
	fx.Records = append(fx.Records, rec)
	return nil
}

func parseManual(data string) (m manual, err error) {
	m.extra, err = decode(data, func(f field) bool {
		switch f.number {
		case fieldRealm, fieldUser, fieldTombstone:
		case 10:
			m.state = number(f.num, Terminated)
		case 11:
			m.since = stamp(f.num)
		default:
			return false
		}
		return true
	})
	return m, err
}

// mailbox is a count of messages, or the lamp that a mailbox lights on this extension.
type mailbox struct {
	source, extra string
	messages      Messages
	since         int64
	lamp          bool
}

func mailboxKey(source string, lamp bool) string {
	if lamp {
		return "l" + source
	}
	return "c" + source
}

func (e *Extension) mailbox(ev MailboxEvent, now time.Time, fx *Effects) error {
	source := strings.ToLower(ev.Source)
	i := slices.IndexFunc(e.mailboxes, func(m *mailbox) bool { return m.lamp == ev.Lamp && m.source == source })
	counts := Messages{New: ev.New, Saved: ev.Saved, UrgentNew: ev.UrgentNew, UrgentSaved: ev.UrgentSaved, Account: ev.Account}
	if i < 0 {
		if ev.Lamp && ev.New == 0 {
			return nil
		}
		if len(e.mailboxes) >= e.rules.MaxCalls {
			return ErrTooManyCalls
		}
		e.mailboxes = append(e.mailboxes, &mailbox{source: source, lamp: ev.Lamp})
		i = len(e.mailboxes) - 1
	} else if e.mailboxes[i].messages == counts {
		return nil
	}
	m := e.mailboxes[i]
	if m.since == 0 || (m.messages.New > 0) != (counts.New > 0) {
		m.since = millis(now)
	}
	m.messages = counts
	rec := Record{Kind: KindMailbox, Key: mailboxKey(source, ev.Lamp)}
	enc := e.newRecord(64 + len(source))
	if m.lamp && counts.New == 0 {
		until := millis(now.Add(e.rules.TombstoneLife))
		enc.time(fieldTombstone, until)
		rec.TTL, rec.Tombstone = ttl(until, now), true
		e.mailboxes = slices.Delete(e.mailboxes, i, i+1)
	}
	enc.str(10, m.source)
	enc.bool(11, m.lamp)
	enc.num(12, uint64(counts.New))
	enc.num(13, uint64(counts.Saved))
	enc.num(14, uint64(counts.UrgentNew))
	enc.num(15, uint64(counts.UrgentSaved))
	enc.str(16, counts.Account)
	enc.time(17, m.since)
	enc.b = append(enc.b, m.extra...)
	rec.Data = enc.b
	fx.Records = append(fx.Records, rec)
	return nil
}

func parseMailbox(data string) (m *mailbox, gone bool, err error) {
	m = new(mailbox)
	most := ^uint32(0)
	m.extra, err = decode(data, func(f field) bool {
		switch f.number {
		case fieldRealm, fieldUser:
		case fieldTombstone:
			gone = true
		case 10:
			m.source = f.str
		case 11:
			m.lamp = f.num != 0
		case 12:
			m.messages.New = number(f.num, most)
		case 13:
			m.messages.Saved = number(f.num, most)
		case 14:
			m.messages.UrgentNew = number(f.num, most)
		case 15:
			m.messages.UrgentSaved = number(f.num, most)
		case 16:
			m.messages.Account = f.str
		case 17:
			m.since = stamp(f.num)
		default:
			return false
		}
		return true
	})
	m.source = cmp.Or(m.source, "")
	return m, gone, err
}
