package ring

import (
	"cmp"
	"slices"
	"time"
)

// Options are the bounds of a Ring.
type Options struct {
	Slots   int           // it may have so many slots, or an eighth as many as it has records,
	Most    int           // but no more than so many, if that is more than Slots
	Message int           // bytes of a message; a message with a single entry may have more
	Least   int           // bytes of dead records that it leaves, however few records live
	Age     time.Duration // how long after its death a slot may be written again
	Off     Off
}

// Off switches single rules off, so that a test can show that it finds what they prevent.
type Off struct {
	Carry  bool // slots die although something lives in them
	Stay   bool // after an unknown outcome another slot may be written
	Oldest bool // any dead slot is written again, and not the oldest
	Age    bool // a slot is written again at once
	Mask   bool // a record whose life is over does not hide the ones before it
	Hide   bool // a record whose life is over is not carried on, although an older record of its key may still stand in another slot
	Fresh  bool // slots are written again although the stream may have lost its end
}

// Message is the last message of a slot, as the journal has it.
type Message struct {
	Slot     int
	Sequence uint64
	At       int64 // the stream's time of it, in µs since 1970
	Data     []byte
}

// slot is what is known of one slot.
type slot struct {
	sequence uint64 // of its message; 0: it has none
	at       int64  // the stream's time of it, in µs since 1970, or a little before that
	bytes    int
	live     int           // the number of its entries that are the newest of their key
	died     time.Duration // when live became 0
}

// place is where the newest entry of a key stands.
type place struct {
	slot, entry uint16 // the slot, and the how-manyth entry of its message
	size        uint32 // bytes of the entry
	ends        uint32 // when its life is over, by the stream's clock, in s since 1970; 0: never
}

// Ring is the slots of one range. Times of the argument now are readings of the caller's clock.
type Ring struct {
	o     Options
	slots []slot
	order []uint16 // the slots with a message, the oldest first
	dead  int      // so many of them, from the first on, are dead
	holes []uint16 // slots without a message, although later ones have one
	index map[Key]place

	live     int            // bytes of the newest entries whose life is not over
	total    int            // bytes of all messages but those of dead slots
	ending   map[uint32]int // by minute: bytes of live that end in it
	minute   uint32         // up to which they were taken off live
	clock    int64          // the latest time of the stream that was seen, in µs since 1970
	entries  []Entry        // scratch
	written  bool           // a message was composed and not accepted yet
	next     uint16         // its slot
	carried  []byte         // what it carries on
	moved    int            // the number of its records
	emptied  int            // so many slots behind the dead ones die with it
	dropped  []Key          // what they hold and need not be carried on
	contents []Message      // what was read of the slots behind the dead ones, in their order
	reading  bool
}

// New makes a Ring without slots.
func New(o Options) *Ring { return &Ring{o: o, index: map[Key]place{}, ending: map[uint32]int{}} }

// Len returns the number of records, among them tombstones and those whose life is over.
func (r *Ring) Len() int { return len(r.index) }

// Slots returns the number of slots.
func (r *Ring) Slots() int { return len(r.slots) }

// Carried returns the number of older records in the message that Compose returned last.
func (r *Ring) Carried() int { return r.moved }

// Clock returns the latest time that the stream's clock has shown, in µs since 1970.
func (r *Ring) Clock() int64 { return r.clock }

// SawTime notes that the stream's clock has shown a time, in µs since 1970. Lives are judged by the latest of these, which is never
// ahead of the stream.
func (r *Ring) SawTime(at int64) {
	if at <= r.clock {
		return
	}
	r.clock = at
	for now := uint32(at / 60e6); r.minute < now; {
		if len(r.ending) == 0 {
			r.minute = now
			break
		}
		if now-r.minute > uint32(len(r.ending)) { // it has been still for long
			for m, bytes := range r.ending {
				if m < now {
					r.live -= bytes
					delete(r.ending, m)
				}
			}
			r.minute = now
			break
		}
		r.live -= r.ending[r.minute]
		delete(r.ending, r.minute)
		r.minute++
	}
}

// needless says whether a record of this time, whose life is over, need not be carried on: no message of the range is as old, so it hides nothing.
func (r *Ring) needless(at int64) bool { return r.o.Off.Hide || at < r.slots[r.order[0]].at }

// over says whether a life has ended.
func (r *Ring) over(ends uint32) bool { return ends != 0 && int64(ends)*1e6 < r.clock }

// Load makes the Ring anew of the last messages of all slots. When a slot has several, the newest counts. Load passes on the newest entry of each key whose life is not over, with
// the time at which it was written. The entries share the messages' memory. It returns what could not be read.
func (r *Ring) Load(now time.Duration, messages []Message, give func(Entry)) (damaged error) {
	*r = Ring{o: r.o, index: make(map[Key]place, len(r.index)), ending: map[uint32]int{}, clock: r.clock, minute: uint32(r.clock / 60e6), entries: r.entries}
	messages = newestOfEach(messages)
	for i := range messages {
		m := &messages[i]
		for len(r.slots) <= m.Slot {
			r.slots = append(r.slots, slot{})
		}
		r.slots[m.Slot] = slot{sequence: m.Sequence, at: m.At, bytes: len(m.Data)}
		r.order = append(r.order, uint16(m.Slot))
		r.total += len(m.Data)
		r.SawTime(m.At)
	}
	for i := range r.slots {
		if r.slots[i].sequence == 0 {
			r.holes = append(r.holes, uint16(i))
		}
	}
	for i := len(messages) - 1; i >= 0; i-- {
		m := &messages[i]
		all, err := parse(m.Data, r.entries[:0])
		if r.entries = all; err != nil {
			damaged = err
		}
		for k := len(all) - 1; k >= 0; k-- {
			e := &all[k]
			if _, known := r.index[e.Key]; known {
				continue
			}
			e.At = cmp.Or(e.At, m.At)
			p := placeOf(e, m.Slot, k)
			if r.over(p.ends) && r.o.Off.Mask {
				continue
			}
			r.put(e.Key, p)
			switch {
			case !r.over(p.ends):
				give(*e)
			case r.needless(e.At):
				r.dropped = append(r.dropped, e.Key)
			}
		}
	}
	clear(r.entries)
	for _, k := range r.dropped { // each has hidden what was there before
		r.remove(r.index[k])
		delete(r.index, k)
	}
	r.dropped = r.dropped[:0]
	r.bury(now)
	return damaged
}

// newestOfEach sorts messages by their sequences, and leaves out those of which the slot has a newer one.
func newestOfEach(messages []Message) []Message {
	slices.SortFunc(messages, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(b.Sequence, a.Sequence))
	})
	messages = slices.CompactFunc(messages, func(a, b Message) bool { return a.Slot == b.Slot })
	slices.SortFunc(messages, func(a, b Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return messages
}

// placeOf returns the place of an entry that has its time.
func placeOf(e *Entry, slot, number int) place {
	p := place{slot: uint16(slot), entry: uint16(number), size: uint32(len(e.raw) + lengthRoom)}
	if e.Life != 0 {
		p.ends = uint32(min(e.At/1e6+1+int64(e.Life), 1<<32-1))
	}
	return p
}

// put notes the newest entry of a key.
func (r *Ring) put(k Key, p place) {
	if old, known := r.index[k]; known {
		r.remove(old)
	}
	r.index[k] = p
	r.slots[p.slot].live++
	r.weigh(p, int(p.size))
}

// remove takes off what the entry of an index counted.
func (r *Ring) remove(p place) {
	r.slots[p.slot].live--
	r.weigh(p, -int(p.size))
}

// weigh adds the bytes of an entry to those that live.
func (r *Ring) weigh(p place, bytes int) {
	if p.ends != 0 {
		m := p.ends/60 + 1
		if m < r.minute {
			return // its life is over
		}
		if r.ending[m] += bytes; r.ending[m] == 0 {
			delete(r.ending, m)
		}
	}
	r.live += bytes
}

// bury counts the slots from the oldest on in which nothing lives.
func (r *Ring) bury(now time.Duration) {
	for r.dead < len(r.order) {
		n := r.order[r.dead]
		if r.slots[n].live > 0 {
			return
		}
		r.slots[n].died = now
		r.total -= r.slots[n].bytes
		r.dead++
		if len(r.contents) > 0 && r.contents[0].Slot == int(n) {
			r.contents = r.contents[1:]
		}
	}
}

// limit returns how many slots the Ring may have. The Ring carries all that lives on once in each turn of its slots, and a turn has as many messages
// as slots may hold something that lives. So more records need more slots. The limit is never below the number of slots that the Ring has. When something lives in each of
// these, the Ring may have one more, because it must write another message before one of them can die.
func (r *Ring) limit() int {
	has := len(r.slots)
	if r.dead+len(r.holes) == 0 {
		has++
	}
	return max(r.o.Slots, min(len(r.index)/8, r.o.Most), has)
}

// tight says whether only one slot is left, which is for a message that lets others die.
func (r *Ring) tight() bool { return r.dead+len(r.holes)+r.limit()-len(r.slots) <= 1 }

// living returns in how many slots records may live. The other slots are spare: they are dead and age, or they were not written yet.
func (r *Ring) living() int { return r.limit() - min(r.limit()/2, spare) }

// spare is how many slots are spare, at most. So many messages may be written in the time that a dead slot needs to age.
const spare = 1000

// full says whether something should be carried on, when n of the oldest slots that are not dead, with so many bytes, no longer count.
func (r *Ring) full(n, bytes int) bool {
	slots := len(r.order) - r.dead - n
	return n == 0 && r.tight() || r.total-bytes > 2*r.live+r.o.Least || slots >= r.living()
}

// Wants returns the slots that are to be read so that they can be carried on. The caller passes what it reads to Read. There are none when
// none are wanted.
func (r *Ring) Wants() (slots []int) {
	if r.reading || len(r.contents) > 0 || r.dead == len(r.order) || !r.full(0, 0) {
		return nil
	}
	r.reading = true
	for _, n := range r.order[r.dead:] {
		if r.slots[n].live > 0 {
			if slots = append(slots, int(n)); len(slots) == readAhead {
				break
			}
		}
	}
	return slots
}

// readAhead is how many slots are read at once.
const readAhead = 32

// Read takes what was read, in the order of the sequences, or nothing when reading failed. Slots may be missing.
func (r *Ring) Read(messages []Message) {
	r.reading = false
	for _, n := range r.order[r.dead+len(r.contents):] {
		at := &r.slots[n]
		for len(messages) > 0 && messages[0].Sequence < at.sequence { // it has been written again, or is of another time of the stream
			messages = messages[1:]
		}
		switch {
		case len(messages) == 0:
			return
		case messages[0].Sequence == at.sequence && messages[0].Slot == int(n):
			r.SawTime(messages[0].At)
			r.contents = append(r.contents, messages[0])
		case at.live == 0:
			r.contents = append(r.contents, Message{Slot: int(n), Sequence: at.sequence, At: at.at})
		default:
			return
		}
	}
}

// Compose begins the message that is to be written next: it returns its slot, and the message as far as it carries on older
// records. The caller appends new entries, while it has room. ok is false while all slots are taken and nothing was read to
// carry on. Until a message was accepted, Compose returns the same again. fresh says that the stream has surely lost nothing
// that it accepted up to a moment ago; while that is not known, no slot is written again.
func (r *Ring) Compose(now time.Duration, fresh bool) (slot int, message []byte, ok bool) {
	if r.written && !r.o.Off.Stay {
		return int(r.next), r.carried, true
	}
	next, ok := r.choose(now, fresh || r.o.Off.Fresh)
	if !ok {
		return 0, nil, false
	}
	r.written, r.next, r.carried, r.moved, r.emptied, r.dropped = true, next, append(r.carried[:0], format), 0, 0, r.dropped[:0]
	bytes := 0
	for r.emptied < len(r.contents) && r.full(r.emptied, bytes) {
		m := &r.contents[r.emptied]            // its data is missing if nothing lives in it
		all, _ := parse(m.Data, r.entries[:0]) // what is damaged was never in the index
		r.entries = all[:0]
		carried, moved, dropped := len(r.carried), r.moved, len(r.dropped)
		for i := range all {
			e := &all[i]
			p, known := r.index[e.Key]
			if !known || int(p.slot) != m.Slot || int(p.entry) != i {
				continue
			}
			e.At = cmp.Or(e.At, m.At) // the index has only an estimate of it
			if r.over(placeOf(e, m.Slot, i).ends) && r.needless(e.At) || r.o.Off.Carry {
				r.dropped = append(r.dropped, e.Key)
				continue
			}
			r.carried = appendAgain(r.carried, e)
			r.moved++
		}
		clear(all)
		// A message that carries on much leaves no room for what is new. So a slot that is full stays where it is while there are others.
		if len(r.carried) > r.o.Message/2 && (r.emptied > 0 || !r.tight()) {
			r.carried, r.moved, r.dropped = r.carried[:carried], moved, r.dropped[:dropped]
			break
		}
		bytes += r.slots[m.Slot].bytes
		r.emptied++
	}
	return int(r.next), r.carried, true
}

// choose returns the slot for the next message.
func (r *Ring) choose(now time.Duration, fresh bool) (uint16, bool) {
	aged := fresh && r.dead > 0 && (now-r.slots[r.order[0]].died >= r.o.Age || r.o.Off.Age)
	switch {
	case r.tight() && len(r.contents) == 0:
		return 0, false
	case aged && r.o.Off.Oldest:
		return r.order[r.dead-1], true
	case aged:
		return r.order[0], true
	case len(r.holes) > 0:
		return r.holes[0], true
	case len(r.slots) < r.limit():
		return uint16(len(r.slots)), true
	case r.dead > 0 && fresh:
		return r.order[0], true
	}
	return 0, false
}

// Accepted notes that a message stands in the slot that Compose returned: that message, with what was appended.
func (r *Ring) Accepted(now time.Duration, sequence uint64, message []byte) {
	n := r.next
	switch at := slices.Index(r.order[:r.dead], n); {
	case at >= 0:
		r.order = slices.Delete(r.order, at, at+1)
		r.dead--
	case int(n) == len(r.slots):
		r.slots = append(r.slots, slot{})
	default:
		r.holes = slices.DeleteFunc(r.holes, func(h uint16) bool { return h == n })
	}
	r.slots[n] = slot{sequence: sequence, at: r.clock, bytes: len(message)}
	r.order = append(r.order, n)
	r.total += len(message)
	all, _ := parse(message, r.entries[:0])
	for i := range all {
		e := &all[i]
		e.At = cmp.Or(e.At, r.clock)
		r.put(e.Key, placeOf(e, int(n), i))
	}
	clear(all)
	r.entries = all[:0]
	for _, k := range r.dropped {
		if p, known := r.index[k]; known && slices.Contains(r.order[r.dead:r.dead+r.emptied], p.slot) {
			r.remove(p)
			delete(r.index, k)
		}
	}
	r.contents = r.contents[r.emptied:]
	r.written, r.emptied, r.dropped = false, 0, r.dropped[:0]
	r.bury(now)
}
