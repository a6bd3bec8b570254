package wire

import "encoding/binary"

// The fields of a message of calls, and of a message of answers.
const (
	msgSchema = 1
	msgFrom   = 2 // the node that sends
	msgItem   = 3 // a call, or a part of an answer; as often as there are any
	msgNow    = 4 // of calls only
	msgStart  = 5 // of calls only
)

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendHead begins a message of calls or of answers that a node sends. schema must be one that the receiver can read.
func AppendHead(b []byte, schema int, node string) []byte {
	c := coder{out: b}
	num(&c, msgSchema, &schema)
	str(&c, msgFrom, &node)
	return c.out
}

// AppendCall adds a call to a message of calls.
func AppendCall(b []byte, call Call) []byte {
	c := coder{out: b}
	nested(&c, msgItem, &call, callFields)
	return c.out
}

// AppendNow ends a message of calls. now is the time of sending in ms, by the sender's own clock, which the calls'
// deadlines are also read from. start is a number for this start of the sender: with another start, the clock may be
// another one too.
func AppendNow(b []byte, now, start uint64) []byte {
	c := coder{out: b}
	num(&c, msgNow, &now)
	num(&c, msgStart, &start)
	return c.out
}

// Batch is a message of calls.
type Batch struct {
	From  string // the node that sent it
	Calls []Call
	Now   uint64 // as in AppendNow
	Start uint64
}

// ReadBatch decodes a message of calls. Its strings share one copy of the data. The error is ErrMessage.
func ReadBatch(data []byte) (Batch, error) {
	c := reader(string(data))
	b := Batch{From: head(c)}
	list(c, msgItem, &b.Calls, maxCalls, callFields)
	num(c, msgNow, &b.Now)
	num(c, msgStart, &b.Start)
	if c.failed || b.From == "" {
		return Batch{}, ErrMessage
	}
	return b, nil
}

// head reads what AppendHead wrote, and returns the node. Reading fails without a schema number.
func head(c *coder) (from string) {
	number := 0
	num(c, msgSchema, &number)
	str(c, msgFrom, &from)
	if number < 1 {
		c.fail()
	}
	return from
}

// Part is the answer to a call, or one of several parts of it.
type Part struct {
	ID     uint64 // of the call
	Number int    // of the part, from 0
	More   bool   // more parts follow
	Failed bool   // the body is an Answer with an error, whatever was asked
	Body   string // what AppendAnswer, AppendWindow or AppendCommanded wrote, or a part of it
}

// AppendPart adds a part of an answer to a message of answers. It writes body in the place of p.Body.
func AppendPart(b []byte, p Part, body []byte) []byte {
	c := coder{out: b}
	nested(&c, msgItem, &p, func(c *coder, p *Part) {
		partFields(c, p)
		if len(body) > 0 {
			c.head(5, bytes)
			c.out = append(binary.AppendUvarint(c.out, uint64(len(body))), body...)
		}
	})
	return c.out
}

func partFields(c *coder, p *Part) {
	num(c, 1, &p.ID)
	num(c, 2, &p.Number)
	flag(c, 3, &p.More)
	flag(c, 4, &p.Failed)
	str(c, 5, &p.Body)
}

// ReadParts decodes a message of answers. It appends the parts to a slice, whose elements may be used again, and returns
// the node that sent them. The error is ErrMessage.
func ReadParts(parts []Part, data []byte) (from string, _ []Part, err error) {
	c := reader(string(data))
	from = head(c)
	list(c, msgItem, &parts, maxParts, partFields)
	if c.failed || from == "" {
		return "", nil, ErrMessage
	}
	return from, parts, nil
}
