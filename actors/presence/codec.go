package presence

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// This file is how a record is encoded; record.go is what each record holds. A record is a list of fields as in protocol
// buffers: each is a varint tag (number<<3 | wire type) and a value. The codec is written by hand because that is a few
// lines, and because a release that reads the record of a newer one must keep every byte that it does not know.

// The wire types of protocol buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// Bounds of what is read.
const (
	maxUnknown = 16 << 10       // bytes of a record's unknown fields
	maxRecord  = 64 << 10       // bytes of a record
	maxMoment  = 253402300799e6 // µs, the end of the year 9999
	maxNumbers = 64             // known fields have numbers below this
	commonNum  = 1<<recSchema | 1<<recGone
	commonStr  = 1<<recRealm | 1<<recUser | 1<<recKey | 1<<recHistory
)

// MaxText is how many bytes one string of an event or of a record may have.
const MaxText = 4096

// record is a decoded record: its known fields by their numbers, and the bytes of the unknown ones. Its strings share one
// allocation.
type record struct {
	num     [maxNumbers]uint64
	str     [maxNumbers]string
	unknown string
}

// cut returns the first field of a record: its tag, and its number v or its bytes text. rest is what follows.
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

// parse reads a record whose known fields are those in the two masks. Of a known field that comes twice the last one counts;
// a known field with the wrong wire type is an error.
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
			if len(text) > MaxText+2 { // a key is a text and up to two letters
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

// moment returns a field that holds a time in µs.
func (r *record) moment(field int) (int64, error) {
	if r.num[field] > maxMoment {
		return 0, fmt.Errorf("%w: time %d", ErrRecord, r.num[field])
	}
	return int64(r.num[field]), nil
}

// number returns a field that must be at most most.
func (r *record) number(field int, most uint64) (uint64, error) {
	if r.num[field] > most {
		return 0, fmt.Errorf("%w: field %d is %d", ErrRecord, field, r.num[field])
	}
	return r.num[field], nil
}

// ParseAddress returns the extension that a record belongs to, as parts of data. It reads no further than it must: only Load
// checks the rest of the record.
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

// appendNum appends a field with a number, unless that is 0.
func appendNum(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireVarint)
	return binary.AppendUvarint(b, v)
}

// appendStr appends a field with a string, unless that is "".
func appendStr(b []byte, field int, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, uint64(field)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// sizeStr is how many bytes appendStr appends at most.
func sizeStr(s string) int { return 2 + (bits.Len(uint(len(s)))+6)/7 + len(s) }

// mask is a set of field numbers, as bits.
func mask(fields ...int) (m uint64) {
	for _, f := range fields {
		m |= 1 << f
	}
	return m
}
