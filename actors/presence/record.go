package presence

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A record is a list of fields, each a varint tag (number<<3 | wire type) and a value, as in
// protocol buffers: hand-written because it is a few lines, and a release that reads a newer one's
// record must keep every byte that it does not know.

// Schema is the newest form that this release reads: of records here, and of leases, claims and messages between nodes. It
// is written once all members read it (Rules.Writes). A record of a newer schema keeps its number and what this release does
// not know of it.
const Schema = 1

// Wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// Fields that every record may have. Numbers are never used again for something else.
const (
	recSchema = 1
	recRealm  = 2
	recUser   = 3
	recKey    = 4 // the record's own Key
	recGone   = 5 // µs; set: a tombstone, until then
)

const (
	maxUnknown = 16 << 10       // bytes of fields of newer releases that are carried along
	maxRecord  = 64 << 10       // bytes
	maxMoment  = 253402300799e6 // µs, the end of the year 9999
	maxNumbers = 64             // field numbers below this may be known
	commonNum  = 1<<recSchema | 1<<recGone
	commonStr  = 1<<recRealm | 1<<recUser | 1<<recKey
)

// MaxText is how many bytes one string of an event or of a record may have.
const MaxText = 4096

// record is a decoded record. Its strings share one allocation.
type record struct {
	num     [maxNumbers]uint64
	str     [maxNumbers]string
	unknown string
}

// cut takes the first field off a record: its tag, its number or its bytes, and what follows.
func cut(data []byte) (tag, v uint64, text, rest []byte, err error) {
	tag, n := binary.Uvarint(data)
	if n <= 0 || tag>>3 == 0 {
		return 0, 0, nil, nil, fmt.Errorf("%w: bad tag", ErrRecord)
	}
	rest = data[n:]
	size := uint64(0)
	switch tag & 7 {
	case wireVarint, wireBytes:
		if v, n = binary.Uvarint(rest); n <= 0 {
			return 0, 0, nil, nil, fmt.Errorf("%w: bad number in field %d", ErrRecord, tag>>3)
		}
		rest = rest[n:]
		if tag&7 == wireBytes {
			size = v
		}
	case wireFixed64:
		size = 8
	case wireFixed32:
		size = 4
	default:
		return 0, 0, nil, nil, fmt.Errorf("%w: wire type %d", ErrRecord, tag&7)
	}
	if size > uint64(len(rest)) {
		return 0, 0, nil, nil, fmt.Errorf("%w: field %d is cut off", ErrRecord, tag>>3)
	}
	return tag, v, rest[:size], rest[size:], nil
}

// parse reads a record whose known fields are those in the two masks.
// A known field that comes twice counts the last time; one of the wrong wire type is an error.
func (r *record) parse(data []byte, num, str uint64) error {
	if len(data) > maxRecord {
		return fmt.Errorf("%w: %d bytes", ErrRecord, len(data))
	}
	num, str = num|commonNum, str|commonStr
	all := string(data)
	var unknown []byte
	for rest := data; len(rest) > 0; {
		tag, v, text, after, err := cut(rest)
		if err != nil {
			return err
		}
		start, end := len(data)-len(rest), len(data)-len(after)
		rest = after
		field, wire := tag>>3, tag&7
		isNum := field < maxNumbers && num>>field&1 == 1
		isStr := field < maxNumbers && str>>field&1 == 1
		switch {
		case !isNum && !isStr:
			unknown = append(unknown, data[start:end]...)
		case isNum && wire == wireVarint:
			r.num[field] = v
		case isStr && wire == wireBytes:
			if len(text) > MaxText+2 { // a key is a Call-ID and a letter or two
				return fmt.Errorf("%w: field %d of %d bytes", ErrRecord, field, len(text))
			}
			r.str[field] = all[end-len(text) : end]
		default:
			return fmt.Errorf("%w: field %d has wire type %d", ErrRecord, field, wire)
		}
	}
	if len(unknown) > maxUnknown {
		return fmt.Errorf("%w: %d bytes of unknown fields", ErrRecord, len(unknown))
	}
	r.unknown = string(unknown)
	if v := r.num[recSchema]; v == 0 || v > 255 {
		return fmt.Errorf("%w: schema %d", ErrRecord, v)
	}
	if r.str[recKey] == "" {
		return fmt.Errorf("%w: no key", ErrRecord)
	}
	_, err := r.moment(recGone)
	return err
}

// moment is a field that holds µs.
func (r *record) moment(field int) (int64, error) {
	if r.num[field] > maxMoment {
		return 0, fmt.Errorf("%w: time %d", ErrRecord, r.num[field])
	}
	return int64(r.num[field]), nil
}

// number is a field with a bound.
func (r *record) number(field int, most uint64) (uint64, error) {
	if r.num[field] > most {
		return 0, fmt.Errorf("%w: field %d is %d", ErrRecord, field, r.num[field])
	}
	return r.num[field], nil
}

// ParseAddress gives the extension that a record belongs to, as parts of data. It reads no further than it must:
// whether the rest is a record is for Load to say.
func ParseAddress(data []byte) (realm, user []byte, err error) {
	for len(data) > 0 && (realm == nil || user == nil) {
		tag, _, text, rest, err := cut(data)
		if err != nil {
			return nil, nil, err
		}
		switch tag {
		case recRealm<<3 | wireBytes:
			realm = text
		case recUser<<3 | wireBytes:
			user = text
		}
		data = rest
	}
	if len(realm) == 0 || len(user) == 0 || len(realm) > MaxText || len(user) > MaxText {
		return nil, nil, fmt.Errorf("%w: no address", ErrRecord)
	}
	return realm, user, nil
}

// appendNum appends a number; 0 is left out.
func appendNum(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireVarint)
	return binary.AppendUvarint(b, v)
}

// appendStr appends a string; "" is left out.
func appendStr(b []byte, field int, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendHead begins a record.
func (e *Extension) appendHead(b []byte, schema uint8, key string) []byte {
	b = appendNum(b, recSchema, uint64(max(schema, e.rules.writes())))
	b = appendStr(b, recRealm, e.realm)
	b = appendStr(b, recUser, e.user)
	return appendStr(b, recKey, key)
}

// sizeStr is no less than what appendStr appends.
func sizeStr(s string) int { return 2 + (bits.Len(uint(len(s)))+6)/7 + len(s) }

// mask is the set of field numbers.
func mask(fields ...int) (m uint64) {
	for _, f := range fields {
		m |= 1 << f
	}
	return m
}
