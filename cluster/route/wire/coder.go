package wire

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrMessage says that some bytes are not a message of this package.
var ErrMessage = errors.New("invalid message between nodes")

// The wire types of protocol buffers.
const (
	varint  = 0
	fixed64 = 1
	bytes   = 2
	fixed32 = 5
)

// coder goes through the fields of a message in rising order of their numbers. It either appends them to out, or sets them
// from what it reads in in. After a failure it finds no more fields.
type coder struct {
	out     []byte // while writing
	reading bool
	in      string
	at, end int    // what is left to read of the present message
	tag     uint64 // the tag of the next field; 0: it was not read yet
	failed  bool
	body    string // of the last subscription: most subscriptions of one extension have the same
}

// reader returns a coder that reads a message.
func reader(text string) *coder { return &coder{reading: true, in: text, end: len(text)} }

// fail makes the reading fail: ErrMessage is the result.
func (c *coder) fail() {
	c.failed, c.at = true, c.end
}

// uvarint reads a number.
func (c *coder) uvarint() uint64 {
	var v uint64
	for shift := 0; c.at < c.end && shift < 64; shift += 7 {
		b := c.in[c.at]
		c.at++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	c.fail()
	return 0
}

// seek goes to a field and says whether it is there. It passes over lower fields, which this release does not know, and
// over the field itself while its wire type is another one.
func (c *coder) seek(field uint64, wire uint64) bool {
	for {
		n := c.peek()
		switch {
		case n == 0 || n > field:
			return false
		case n == field && c.tag&7 == wire:
			return true
		}
		c.skip()
	}
}

// find goes to a field, like seek, and past its tag, so that its value can be read.
func (c *coder) find(field uint64, wire uint64) bool {
	found := c.seek(field, wire)
	if found {
		c.tag = 0
	}
	return found
}

// peek returns the number of the next field; 0: there is none.
func (c *coder) peek() uint64 {
	if c.tag == 0 && c.at < c.end {
		if c.tag = c.uvarint(); c.tag>>3 == 0 {
			c.fail()
		}
	}
	if c.failed {
		return 0
	}
	return c.tag >> 3
}

// skip passes over the next field.
func (c *coder) skip() {
	wire := c.tag & 7
	c.tag = 0
	switch wire {
	case varint:
		c.uvarint()
	case bytes:
		c.text()
	case fixed64:
		c.pass(8)
	case fixed32:
		c.pass(4)
	default:
		c.fail()
	}
}

// pass passes over n bytes.
func (c *coder) pass(n int) {
	if n > c.end-c.at {
		c.fail()
		return
	}
	c.at += n
}

// text reads a length and so many bytes. The string shares memory with the message.
func (c *coder) text() string {
	n := c.uvarint()
	if c.failed || n > uint64(c.end-c.at) {
		c.fail()
		return ""
	}
	c.at += int(n)
	return c.in[c.at-int(n) : c.at]
}

// head writes a tag.
func (c *coder) head(field, wire uint64) { c.out = binary.AppendUvarint(c.out, field<<3|wire) }

// num carries a number; 0 is absent. Reading fails when the number does not fit into the type.
func num[T ~int | ~uint8 | ~uint16 | ~uint32 | ~uint64](c *coder, field uint64, v *T) {
	switch {
	case !c.reading:
		if *v != 0 {
			c.head(field, varint)
			c.out = binary.AppendUvarint(c.out, uint64(*v))
		}
	case c.find(field, varint):
		n := c.uvarint()
		if *v = T(n); uint64(*v) != n {
			*v = 0
			c.fail()
		}
	}
}

// upTo carries a number. Reading fails when it is greater than most.
func upTo[T ~uint8](c *coder, field uint64, v *T, most T) {
	num(c, field, v)
	if *v > most {
		*v = 0
		c.fail()
	}
}

// flag carries a bool; false is absent.
func flag(c *coder, field uint64, v *bool) {
	n := uint8(0)
	if *v {
		n = 1
	}
	num(c, field, &n)
	if c.reading { // encoding must not modify the value: other goroutines read it at the same time
		*v = n == 1
	}
}

// str carries a string; "" is absent.
func str(c *coder, field uint64, v *string) {
	switch {
	case !c.reading:
		if *v != "" {
			c.head(field, bytes)
			c.out = binary.AppendUvarint(c.out, uint64(len(*v)))
			c.out = append(c.out, *v...)
		}
	case c.find(field, bytes):
		*v = c.text()
	}
}

// timestamp carries a time as zigzag-encoded microseconds since 1970, plus 1; the zero time is absent.
func timestamp(c *coder, field uint64, v *time.Time) {
	n := uint64(0)
	if !c.reading && !v.IsZero() {
		us := v.UnixMicro()
		n = uint64(us<<1^us>>63) + 1
	}
	num(c, field, &n)
	if c.reading && n != 0 {
		n--
		*v = time.UnixMicro(int64(n>>1) ^ -int64(n&1))
	}
}

// nested carries a message within the message. It is written even when all its fields are absent.
func nested[T any](c *coder, field uint64, v *T, fields func(*coder, *T)) {
	if c.reading {
		if c.find(field, bytes) {
			c.within(func() { fields(c, v) })
		}
		return
	}
	c.head(field, bytes)
	start := len(c.out)
	c.out = append(c.out, 0) // room for the length: one byte is enough for most messages
	fields(c, v)
	c.setLength(start)
}

// setLength writes the length of what stands behind the byte at start into its place, and makes room for more bytes of
// length where one is not enough.
func (c *coder) setLength(start int) {
	n := len(c.out) - start - 1
	if n < 0x80 {
		c.out[start] = byte(n)
		return
	}
	var size [binary.MaxVarintLen64]byte
	k := binary.PutUvarint(size[:], uint64(n))
	c.out = append(c.out, size[:k-1]...)
	copy(c.out[start+k:], c.out[start+1:start+1+n])
	copy(c.out[start:], size[:k])
}

// within reads a length and calls read for the message of that length. Then it goes on behind it.
func (c *coder) within(read func()) {
	inner := c.text()
	after, end := c.at, c.end
	c.at, c.end = after-len(inner), after
	if !c.failed {
		read()
	}
	c.at, c.end, c.tag = after, end, 0
	if c.failed {
		c.at = c.end
	}
}

// list carries the elements of a slice, each as a nested message. Reading fails when there are more than most. It appends
// to what is in the slice.
func list[T any](c *coder, field uint64, v *[]T, most int, fields func(*coder, *T)) {
	if !c.reading {
		for i := range *v {
			nested(c, field, &(*v)[i], fields)
		}
		return
	}
	for c.find(field, bytes) {
		if len(*v) == most {
			c.fail()
			return
		}
		*v = append(*v, *new(T))
		c.within(func() { fields(c, &(*v)[len(*v)-1]) })
	}
}
