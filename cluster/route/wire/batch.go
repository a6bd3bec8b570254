package wire

import "encoding/binary"

// The fields of both messages.
const (
	msgSchema = 1
	msgFrom   = 2 // node
	msgItem   = 3 // a call, a part of an answer
	msgNow    = 4
	msgStart  = 5
)

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendHead begins a message of a node, in a schema that the receiver reads (any, as far as it knows the fields).
func AppendHead(b []byte, schema int, node string) []byte {
	c := coder{out: b}
	num(&c, msgSchema, &schema)
	str(&c, msgFrom, &node)
	return c.out
}

// AppendCall adds a call to a batch.
func AppendCall(b []byte, call Call) []byte {
	c := coder{out: b}
	sub(&c, msgItem, &call, callFields)
	return c.out
}

// AppendNow ends a batch: the time in ms when it is sent, by a clock of the node's own, which the deadlines are by too,
// and the number of the node's start, with which that clock may have begun anew.
func AppendNow(b []byte, now, start uint64) []byte {
	c := coder{out: b}
	num(&c, msgNow, &now)
	num(&c, msgStart, &start)
	return c.out
}

// Batch is what one node asks another at a time.
type Batch struct {
	From  string
	Calls []Call
	Now   uint64
	Start uint64
}

// ReadBatch reads a batch. Its strings share one.
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

func head(c *coder) (from string) {
	number := 0
	num(c, msgSchema, &number)
	str(c, msgFrom, &from)
	if number < 1 {
		c.fail()
	}
	return from
}

// Part is an answer to a call, or one of several parts of it, in order from 0.
type Part struct {
	ID     uint64
	Number int
	More   bool   // parts follow
	Failed bool   // Body is an Answer with an error, whatever was asked
	Body   string // what AppendAnswer, AppendWindow or AppendCommanded gave
}

// AppendPart adds a part of an answer to a message; body stands for its Body.
func AppendPart(b []byte, p Part, body []byte) []byte {
	c := coder{out: b}
	sub(&c, msgItem, &p, func(c *coder, p *Part) {
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

// ReadParts appends what a message of answers holds to parts.
func ReadParts(parts []Part, data []byte) (from string, _ []Part, err error) {
	c := reader(string(data))
	from = head(c)
	list(c, msgItem, &parts, maxParts, partFields)
	if c.failed || from == "" {
		return "", nil, ErrMessage
	}
	return from, parts, nil
}
