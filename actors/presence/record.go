package presence

import (
	"encoding/binary"
	"time"
)

// schema is the number of the record format. A newer release adds fields; it never changes the meaning of one.
const schema = 1

// Wire types of a field, as in protocol buffers.
const (
	wireNumber = 0
	wireBytes  = 2
)

// Fields that all kinds share; each kind's own start at 10.
const (
	fieldRealm     = 1
	fieldUser      = 2
	fieldTombstone = 3 // Unix milliseconds until which the tombstone stands
)

// encoder appends fields to a record. Zero numbers and empty strings are left out.
type encoder struct{ b []byte }

func (e *Extension) newRecord(size int) encoder {
	enc := encoder{b: make([]byte, 0, size+len(e.realm)+len(e.user)+16)}
	enc.b = append(enc.b, schema)
	enc.str(fieldRealm, e.realm)
	enc.str(fieldUser, e.user)
	return enc
}

func (e *encoder) num(field int, v uint64) {
	if v == 0 {
		return
	}
	e.b = binary.AppendUvarint(e.b, uint64(field)<<3|wireNumber)
	e.b = binary.AppendUvarint(e.b, v)
}

func (e *encoder) str(field int, s string) {
	if s == "" {
		return
	}
	e.b = binary.AppendUvarint(e.b, uint64(field)<<3|wireBytes)
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) time(field int, ms int64) { e.num(field, uint64(max(ms, 0))) }

func (e *encoder) bool(field int, v bool) {
	if v {
		e.num(field, 1)
	}
}

// field is one decoded field; raw is the field as it stood, for carrying along.
type field struct {
	number int
	num    uint64
	str    string
	raw    string
}

// decode calls each for every field of a record; strings are substrings of data. each answers false for a
// field that it does not know; those are returned, concatenated, to be written again untouched.
func decode(data string, each func(field) bool) (unknown string, err error) {
	if data == "" || data[0] != schema {
		return "", ErrRecord
	}
	data = data[1:]
	for data != "" {
		whole := data
		tag, n := uvarint(data)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<20 {
			return "", ErrRecord
		}
		data = data[n:]
		f := field{number: int(tag >> 3)}
		v, n := uvarint(data)
		if n <= 0 {
			return "", ErrRecord
		}
		data = data[n:]
		switch tag & 7 {
		case wireNumber:
			f.num = v
		case wireBytes:
			if v > uint64(len(data)) {
				return "", ErrRecord
			}
			f.str, data = data[:v], data[v:]
		default:
			return "", ErrRecord
		}
		f.raw = whole[:len(whole)-len(data)]
		if !each(f) {
			unknown += f.raw
		}
	}
	return unknown, nil
}

func uvarint(s string) (uint64, int) {
	var x uint64
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		b := s[i]
		if b < 0x80 {
			if i == 9 && b > 1 {
				return 0, -1
			}
			return x | uint64(b)<<(7*i), i + 1
		}
		x |= uint64(b&0x7f) << (7 * i)
	}
	return 0, -1
}

// ParseAddress says which extension a record belongs to: its subject is only a hash.
func ParseAddress(data []byte) (realm, user string, err error) {
	_, err = decode(string(data), func(f field) bool {
		switch f.number {
		case fieldRealm:
			realm = f.str
		case fieldUser:
			user = f.str
		}
		return true
	})
	if err == nil && (realm == "" || user == "") {
		err = ErrRecord
	}
	return realm, user, err
}

// number bounds what a hostile or damaged record can put into a smaller type.
func number[T ~uint8 | ~uint16 | ~uint32 | ~int](v uint64, limit T) T {
	if v > uint64(limit) {
		return limit
	}
	return T(v)
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// stamp bounds a decoded time to what int64 milliseconds can carry sensibly (year 9999).
func stamp(v uint64) int64 { return int64(min(v, 253402300799000)) }

// ttl is what a record's lease leaves, plus the minute in which the owner's own timer acts first.
func ttl(untilMs int64, now time.Time) time.Duration {
	return max(time.Duration(untilMs-millis(now))*time.Millisecond, 0) + time.Minute
}
