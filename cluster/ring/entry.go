package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Key names a record among those of its range: the first bytes of a hash over its kind, its extension and its own key.
type Key [16]byte

// Entry is one record in a slot's message.
type Entry struct {
	Shard int
	Kind  byte
	Key   Key
	At    int64  // when it was first written, by the stream's clock, in µs since 1970; 0: when the message was
	Life  uint32 // seconds after At for which the record must be kept; 0: until another one replaces it
	Data  []byte

	raw   []byte // its fields as they stand in the message
	timed bool   // At is among them
}

// The fields of an entry. A number keeps its meaning for ever.
const (
	fieldShard = 1
	fieldKind  = 2
	fieldKey   = 3 // 16 bytes
	fieldAt    = 4
	fieldLife  = 5
	fieldData  = 6
)

// format is the first byte of every message.
const format = 1

var errDamaged = errors.New("the message of a slot can't be read")

// appendNum appends a field that is a number, unless it is 0.
func appendNum(b []byte, field int, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(field)<<3), n)
}

func appendBytes(b []byte, field int, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// lengthRoom is the bytes that are set aside for the length of an entry. A varint may have more bytes than it needs.
const lengthRoom = 3

// maxEntry is the largest entry whose length fits into lengthRoom. timeRoom is left in it for the time that is added when the entry is carried on.
const (
	maxEntry = 1<<(7*lengthRoom) - 1
	timeRoom = 11
)

// Append appends an entry to the body of a message. An entry with nearly 2 MiB or more is not taken, and ok is false.
func Append(b []byte, e *Entry) (_ []byte, ok bool) {
	start := len(b)
	b = append(b, 0, 0, 0)
	b = appendNum(b, fieldShard, uint64(e.Shard))
	b = appendNum(b, fieldKind, uint64(e.Kind))
	b = appendBytes(b, fieldKey, e.Key[:])
	b = appendNum(b, fieldAt, uint64(e.At))
	b = appendNum(b, fieldLife, uint64(e.Life))
	b = appendBytes(b, fieldData, e.Data)
	return seal(b, start, maxEntry-timeRoom)
}

// Newer says whether a message has a form that this release does not know.
func Newer(message []byte) bool { return len(message) > 0 && message[0] > format }

// Whole makes a message of entries.
func Whole(entries []byte) []byte { return append([]byte{format}, entries...) }

// seal writes the length of the entry that begins at start, if that is no more than most.
func seal(b []byte, start, most int) ([]byte, bool) {
	n := len(b) - start - lengthRoom
	if n > most {
		return b[:start], false
	}
	b[start], b[start+1], b[start+2] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)
	return b, true
}

// appendAgain appends an entry that was read, as it stands, with its time.
func appendAgain(b []byte, e *Entry) []byte {
	start := len(b)
	b = append(append(b, 0, 0, 0), e.raw...)
	if !e.timed {
		b = appendNum(b, fieldAt, uint64(e.At))
	}
	b, _ = seal(b, start, maxEntry) // Append has left room for the time
	return b
}

// parse appends the entries of a message to all. The entries share the message's memory. After an error, all has those
// that stand before the damage.
func parse(message []byte, all []Entry) ([]Entry, error) {
	if len(message) == 0 || message[0] != format {
		return all, fmt.Errorf("%w: it does not begin with the byte %d", errDamaged, format)
	}
	for b := message[1:]; len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return all, fmt.Errorf("%w: entry %d is cut off", errDamaged, len(all))
		}
		e, ok := parseEntry(b[size : size+int(n)])
		if !ok {
			return all, fmt.Errorf("%w: entry %d", errDamaged, len(all))
		}
		all = append(all, e)
		b = b[size+int(n):]
	}
	return all, nil
}

func parseEntry(raw []byte) (e Entry, ok bool) {
	e.raw = raw
	for b := raw; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag&7 != 0 && tag&7 != 2 {
			return e, false
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return e, false
		}
		b = b[n:]
		if tag&7 == 2 {
			if v > uint64(len(b)) {
				return e, false
			}
			value := b[:v]
			b = b[v:]
			switch tag >> 3 {
			case fieldKey:
				if len(value) != len(e.Key) {
					return e, false
				}
				e.Key = Key(value)
				ok = true
			case fieldData:
				e.Data = value
			}
			continue
		}
		switch tag >> 3 {
		case fieldShard:
			if v > 1<<16 {
				return e, false
			}
			e.Shard = int(v)
		case fieldKind:
			e.Kind = byte(v)
		case fieldAt:
			e.At, e.timed = int64(v), v != 0
		case fieldLife:
			e.Life = uint32(min(v, 1<<31))
		}
	}
	return e, ok
}
