package ring

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// The world of these tests: one range, one stream, and clocks that go alike.
const (
	syncTime = time.Second // what was accepted for longer survives a power cut
	begin    = 1_700_000_000_000_000
)

// world is a stream with the messages of one range, and the Ring of its owner. It knows all that the stream ever accepted.
type world struct {
	rng      *rand.Rand
	ring     *Ring
	now      time.Duration
	sequence uint64
	last     map[int]Message // by slot
	replaced []Message       // messages that another one replaced, with the sequence of that one
	by       []uint64
	accepted []Message // everything, in order
	unsaid   uint64    // the sequence of the last message, when the owner does not know that it was accepted; 0: it does
	stale    bool      // the stream has lost its end, and the owner does not know that yet
	few      bool      // there are few slots, and no power cuts
	grim     int       // how many messages a power cut takes, on average
	surely   int       // one message in so many has no answer
	unknown  bool      // the last message has no answer: it is written again before all others
	pending  [][]byte  // its new entries
	err      error
	most     int // slots
	copied   int // entries that were carried on
	stuck    int // how many times in a row there was no slot
	wrote    int
}

func newWorld(seed uint64, off Off) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 2)), last: map[int]Message{}}
	w.few, w.surely, w.grim = seed%2 == 0, 4+16*int(seed%3), 4+16*int(seed/2%2)
	o := Options{Slots: 1000, Message: 2000, Least: 300, Age: 2*syncTime + time.Second/2, Off: off}
	switch { // with few, a slot may have to be written again before it has aged
	case w.few && seed%4 == 0:
		o.Slots = 24
	case w.few:
		o.Slots, o.Most = 4, 24
	}
	w.ring = New(o)
	return w
}

func (w *world) clock() int64 { return begin + w.now.Microseconds() }

func key(n int) (k Key) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

// entry makes a new value of a random key. Some live for a few seconds, as tombstones do.
func (w *world) entry() []byte {
	e := Entry{Shard: w.rng.IntN(1024), Kind: 's', Key: key(w.rng.IntN(1 + w.rng.IntN(60))), Data: fmt.Appendf(nil, "%d at %v", w.wrote, w.now)}
	if w.wrote++; w.rng.IntN(2) == 0 {
		e.Life = uint32(1 + w.rng.IntN(5))
	}
	b, _ := Append(nil, &e)
	return b
}

// write writes a message with some entries. Its outcome may be unknown, and then it is kept or not.
func (w *world) write() {
	if !w.unknown {
		w.pending = nil
		for range 1 + w.rng.IntN(4) {
			w.pending = append(w.pending, w.entry())
		}
	}
	slot, message, ok := w.ring.Compose(w.now, !w.stale)
	if !ok {
		if w.stuck++; w.stuck > 300 {
			w.fail("the ring no longer writes")
		}
		return
	}
	w.stuck = 0
	message = slices.Clone(message)
	all, err := parse(message, nil)
	if w.copied += len(all); err != nil {
		w.err = err
	}
	for _, e := range w.pending {
		message = append(message, e...)
	}
	w.unknown = w.rng.IntN(w.surely) == 0
	if w.unknown && w.rng.IntN(2) == 0 {
		return // it did not arrive
	}
	sequence := w.accept(slot, message)
	if w.unsaid = sequence; !w.unknown {
		w.unsaid = 0
		w.ring.Accepted(w.now, sequence, message)
	}
	w.most = max(w.most, w.ring.Slots())
}

// accept is what the stream does.
func (w *world) accept(slot int, message []byte) uint64 {
	if w.unsaid != 0 && w.last[slot].Sequence == w.unsaid { // nobody was told of it, and it is written once more
		w.accepted = w.accepted[:len(w.accepted)-1]
	}
	w.sequence += 1 + uint64(w.rng.IntN(3)) // other ranges write, too
	m := Message{Slot: slot, Sequence: w.sequence, At: w.clock(), Data: message}
	if old, there := w.last[slot]; there {
		w.replaced, w.by = append(w.replaced, old), append(w.by, m.Sequence)
	}
	w.last[slot] = m
	w.accepted = append(w.accepted, m)
	return m.Sequence
}

// read gives the Ring what it wants to read. The replica that answers may lag, and have only the beginning.
func (w *world) read() {
	var found []Message
	for _, slot := range w.ring.Wants() {
		if m, ok := w.last[slot]; ok {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b Message) int { return int(a.Sequence) - int(b.Sequence) })
	found = found[:min(len(found), w.rng.IntN(10))]
	w.ring.Read(found)
}

// cut cuts the power: the newest messages may be lost, as far as they were not yet synced. Those that they replaced may be found again or not.
func (w *world) cut() {
	keep := len(w.accepted)
	for keep > 0 && time.Duration(w.accepted[keep-1].At-begin)*time.Microsecond > w.now-syncTime && w.rng.IntN(w.grim) > 0 {
		keep--
	}
	for _, lost := range w.accepted[keep:] {
		if w.last[lost.Slot].Sequence == lost.Sequence {
			delete(w.last, lost.Slot)
		}
	}
	w.accepted = w.accepted[:keep]
	until := uint64(0)
	if keep > 0 {
		until = w.accepted[keep-1].Sequence
	}
	for i := len(w.replaced) - 1; i >= 0; i-- { // of several in one slot only the last can be found
		old := w.replaced[i]
		if _, there := w.last[old.Slot]; !there && w.by[i] > until && old.Sequence <= until && w.rng.IntN(3) > 0 {
			w.last[old.Slot] = old
		}
	}
	for i := range w.by {
		if w.by[i] > until {
			w.by[i] = 0 // it is found now, or never
		}
	}
}

// load has another owner read the range, and compares what it finds with all that the stream ever accepted.
func (w *world) load() {
	w.unknown, w.stale = false, false
	got := map[Key]string{}
	if err := w.ring.Load(w.now, slices.Collect(maps.Values(w.last)), func(e Entry) { got[e.Key] = string(e.Data) }); err != nil {
		w.err = err
	}
	want := map[Key]Entry{}
	for _, m := range w.accepted {
		all, err := parse(m.Data, nil)
		if err != nil {
			w.err = err
		}
		for _, e := range all {
			if e.At == 0 {
				e.At = m.At
			}
			want[e.Key] = e
		}
	}
	for k, e := range want {
		data, there := got[k]
		over := e.Life != 0 && w.ring.over(placeOf(&e, 0, 0).ends)
		switch {
		case there && data != string(e.Data):
			w.fail("the key %x is %q, and the newest is %q (life over: %v)", k[6:8], data, e.Data, over)
		case !there && !over:
			w.fail("the key %x is missing, it was %q", k[6:8], e.Data)
		}
		delete(got, k)
	}
	if len(got) > 0 {
		w.fail("%d keys that were never written", len(got))
	}
}

func (w *world) fail(format string, a ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %v: %s", w.now, fmt.Sprintf(format, a...))
	}
}

// play plays one schedule.
func play(seed uint64, off Off) *world {
	w := newWorld(seed, off)
	pace := time.Duration(1+w.rng.IntN(100)) * time.Millisecond
	for range 600 {
		if w.err != nil {
			break
		}
		w.now += time.Duration(w.rng.Int64N(int64(pace)))
		w.ring.SawTime(w.clock() - w.rng.Int64N(300_000))
		switch w.rng.IntN(60) {
		case 0:
			w.load()
		case 1:
			if !w.few {
				w.cut()
				if w.stale = w.rng.IntN(2) == 0; w.stale {
					w.now += time.Duration(w.rng.Int64N(int64(5 * time.Second))) // it was off for so long
					for range w.rng.IntN(10) {
						w.write()
					}
				}
			}
			w.load()
		case 2:
			w.now += time.Duration(w.rng.Int64N(int64(4 * time.Second)))
		default:
			w.write()
			if w.rng.IntN(3) > 0 {
				w.read()
			}
			if w.rng.IntN(10) == 0 {
				w.consistent()
			}
		}
	}
	w.load()
	return w
}

// consistent checks the sums of the Ring.
func (w *world) consistent() {
	r := w.ring
	live, slots, total := 0, make([]int, len(r.slots)), 0
	for _, p := range r.index {
		slots[p.slot]++
		if p.ends == 0 || p.ends/60+1 >= r.minute {
			live += int(p.size)
		}
	}
	for i, n := range r.order {
		s := r.slots[n]
		if s.live != slots[n] || (i < r.dead) != (s.live == 0) && i <= r.dead {
			w.fail("slot %d counts %d entries of %d; %d slots are dead", n, s.live, slots[n], r.dead)
		}
		if i > 0 && s.sequence <= r.slots[r.order[i-1]].sequence {
			w.fail("the slots are out of order")
		}
		if i >= r.dead {
			total += s.bytes
		}
	}
	if live != r.live || total != r.total {
		w.fail("%d bytes live, counted are %d; %d bytes in all, counted are %d", live, r.live, total, r.total)
	}
}

const schedules = 400

// Whatever was accepted is found again: after the range got another owner, after unknown outcomes and after power cuts. What was replaced, or has
// ended, never comes back.
func TestRing(t *testing.T) {
	copied, wrote := 0, 0
	for seed := range uint64(schedules) {
		w := play(seed, Off{})
		if w.err != nil {
			t.Fatalf("seed %d: %v", seed, w.err)
		}
		copied, wrote = copied+w.copied, wrote+w.wrote
	}
	t.Logf("%d records were written, and %d carried on", wrote, copied)
	if copied < wrote/10 {
		t.Error("too little was carried on to show anything")
	}
}

// With a rule switched off, the same schedules find what it prevents.
func TestRingFinds(t *testing.T) {
	for name, off := range map[string]Off{
		"carry on what lives":                        {Carry: true},
		"stay with a slot whose outcome is unknown":  {Stay: true},
		"the oldest slot first":                      {Oldest: true},
		"a slot is written again when it has aged":   {Age: true},
		"what has ended hides what was there before": {Mask: true},
		"it is carried on as long as it hides":       {Hide: true},
		"no slot is written again by a stale owner":  {Fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(200 * schedules) {
				if w := play(seed, off); w.err != nil {
					if strings.Contains(w.err.Error(), "counted") {
						t.Fatalf("seed %d found only: %v", seed, w.err)
					}
					t.Logf("seed %d: %v", seed, w.err)
					return
				}
			}
			t.Error("nothing was found")
		})
	}
}

// A ring does not outgrow what lives in it. Of records that are written at random and alone it copies few for each, however many there are.
func TestRingSize(t *testing.T) {
	checkSize(t, 2000, 2000, 1, 1.6)
	checkSize(t, 2000, 2000, 8, 0.3)
	checkSize(t, 2000, 2000, 64, 0.3)
	checkSize(t, 2000, 15600, 1, 15)
	checkSize(t, 2000, 15600, 8, 1.6)
	checkSize(t, 2000, 15600, 64, 0.3)
	checkSize(t, 2000, 30000, 1, 11) // it has more slots
	checkSize(t, 4000, 2000, 1, 0.4)
	checkSize(t, 4000, 15600, 1, 4.5)
}

// checkSize writes all records once, and then three times as many, chosen at random. Each message has per new entries. The ring may carry on most entries for
// each that is written, on average.
func checkSize(t *testing.T, slots, records, per int, most float64) {
	r := New(Options{Slots: slots, Most: 4000, Message: 256 << 10, Least: 16 << 10, Age: 0})
	rng, last, sequence, copied := rand.New(rand.NewPCG(1, 1)), map[int]Message{}, uint64(0), 0
	writes := 4 * records
	for i := 0; i < writes; i += per {
		now := time.Duration(i) * time.Millisecond
		slot, message, ok := r.Compose(now, true)
		if !ok {
			t.Fatal("no slot")
		}
		copied += bytes.Count(message, []byte("value "))
		for k := range per {
			n := i + k
			if n >= records {
				n = rng.IntN(records)
			}
			message, _ = Append(message, &Entry{Shard: 1, Kind: 's', Key: key(n), Life: 3600, Data: bytes.Repeat([]byte("value "), 1)})
		}
		message = bytes.Clone(message)
		sequence++
		last[slot] = Message{slot, sequence, begin + now.Microseconds(), message}
		r.Accepted(now, sequence, message)
		if wanted := r.Wants(); len(wanted) > 0 {
			var found []Message
			for _, slot := range wanted {
				found = append(found, last[slot])
			}
			slices.SortFunc(found, func(a, b Message) int { return int(a.Sequence) - int(b.Sequence) })
			r.Read(found)
		}
	}
	t.Logf("%d a message: %d slots for %d records, %.2f copied for each that was written", per, r.Slots(), r.Len(), float64(copied)/float64(writes))
	size := 0
	for _, m := range last {
		size += len(m.Data)
	}
	living := max(slots, records/8)
	living -= min(living/2, spare)
	if size > 3*r.live+32<<10 || len(r.order)-r.dead > living+1 || r.Slots() > living+1 || float64(copied) > most*float64(writes) {
		t.Errorf("%d a message: %d bytes in %d slots for %d that live", per, size, r.Slots(), r.live)
	}
}

// What was read in several answers may hold a slot twice: its newest message counts, and nothing of the others.
func TestLoadSlotTwice(t *testing.T) {
	message := func(keys ...int) []byte {
		b := []byte{format}
		for _, n := range keys {
			b, _ = Append(b, &Entry{Key: key(n), Data: []byte("data")})
		}
		return b
	}
	newest := Message{Slot: 1, Sequence: 9, At: begin, Data: message(1)}
	r, got := New(Options{Slots: 4, Message: 100}), map[Key]bool{}
	err := r.Load(0, []Message{newest, {Slot: 1, Sequence: 5, At: begin, Data: message(1, 2)}, {Slot: 0, Sequence: 7, At: begin, Data: message(3)}, newest},
		func(e Entry) { got[e.Key] = true })
	if err != nil || len(got) != 2 || !got[key(1)] || !got[key(3)] || !slices.Equal(r.order, []uint16{0, 1}) {
		t.Errorf("%d records, in the slots %v; %v", len(got), r.order, err)
	}
}

// FuzzMessage checks that no message makes the Ring fail, and that what was read is carried on as it stood.
func FuzzMessage(f *testing.F) {
	b, _ := Append([]byte{format}, &Entry{Shard: 7, Kind: 's', Key: key(1), At: 5, Life: 9, Data: []byte("data")})
	f.Add(b)
	f.Add(append(b, b[1:]...))
	f.Fuzz(func(t *testing.T, message []byte) {
		all, _ := parse(message, nil)
		for i := range all {
			all[i].At = cmp.Or(all[i].At, 77)
			again, err := parse(appendAgain([]byte{format}, &all[i]), nil)
			if err != nil || len(again) != 1 {
				t.Fatalf("%v, %d entries", err, len(again))
			}
			a, b := all[i], again[0]
			if a.Shard != b.Shard || a.Kind != b.Kind || a.Key != b.Key || a.At != b.At || a.Life != b.Life || !bytes.Equal(a.Data, b.Data) {
				t.Fatalf("%+v was carried on as %+v", a, b)
			}
		}
		r := New(Options{Slots: 4, Message: 100})
		_ = r.Load(0, []Message{{Slot: 1, Sequence: 5, At: begin, Data: message}}, func(Entry) {})
	})
}
