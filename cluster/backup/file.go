// Package backup is the file that lamplight backup writes and lamplight restore reads: entries of the journal and of
// the directory, with a header that says how to read them and a trailer that says that none is missing. It knows
// neither NATS nor what is in an entry. A file is a magic line and messages, each a length and fields in protocol
// buffers' form; fields that this release does not know are skipped, a schema above its own is refused.
package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Schema is the form of file that this release writes, and the newest that it reads.
const Schema = 1

const (
	magic      = "lamplight backup\n"
	maxMessage = 2 << 20 // bytes; NATS carries 1 MiB
)

// Errors of a file that can't be used.
var (
	ErrNoBackup = errors.New("this is no backup of Lamplight")
	ErrNewer    = errors.New("the backup is of a newer release: restore it with that one")
	ErrDamaged  = errors.New("the backup is damaged")
	ErrCut      = errors.New("the backup is cut off: it was not written to its end, or not copied to its end")
)

// Part says where an entry belongs.
type Part uint64

// The parts. Numbers are never used again for something else.
const (
	Journal   Part = 2
	Directory Part = 3
)

// Kinds of messages that are no entries.
const (
	header  = 1
	trailer = 15
)

// Fields of messages.
const (
	fieldKind    = 1
	fieldName    = 2
	fieldData    = 3
	fieldTTL     = 4 // ms
	fieldAt      = 5 // Unix ns
	fieldSchema  = 6
	fieldVersion = 7
	fieldEntries = 8
	fieldSum     = 9
)

// Entry is one message of the journal or one value of the directory.
type Entry struct {
	Part Part
	Name string // of the journal: <shard>.claim or <shard>.<bucket>.<kind>.<hash>; of the directory: the key
	Data []byte
	TTL  time.Duration // what was left of it; 0: it has none
	At   time.Time     // the stream's
}

// Writer writes a file. It is whole only after Close.
type Writer struct {
	out     *bufio.Writer
	sum     hash.Hash
	entries uint64
	buf     []byte
}

// NewWriter begins a file.
func NewWriter(w io.Writer, version string, at time.Time) (*Writer, error) {
	f := &Writer{out: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	if err := f.write([]byte(magic)); err != nil {
		return nil, err
	}
	b := number(nil, fieldKind, header)
	b = number(b, fieldAt, uint64(at.UnixNano()))
	b = number(b, fieldSchema, Schema)
	b = text(b, fieldVersion, []byte(version))
	return f, f.message(b)
}

func (f *Writer) write(b []byte) error {
	f.sum.Write(b)
	_, err := f.out.Write(b)
	return err
}

func (f *Writer) message(b []byte) error {
	if err := f.write(binary.AppendUvarint(nil, uint64(len(b)))); err != nil {
		return err
	}
	return f.write(b)
}

// Add appends an entry. A later one of the same part and name replaces an earlier one.
func (f *Writer) Add(e Entry) error {
	b := number(f.buf[:0], fieldKind, uint64(e.Part))
	b = text(b, fieldName, []byte(e.Name))
	b = text(b, fieldData, e.Data)
	if e.TTL > 0 {
		b = number(b, fieldTTL, uint64(max(e.TTL.Milliseconds(), 1)))
	}
	if !e.At.IsZero() {
		b = number(b, fieldAt, uint64(e.At.UnixNano()))
	}
	f.buf = b
	if len(b) > maxMessage {
		return fmt.Errorf("an entry of %d bytes is too large for a backup: %.100q", len(e.Data), e.Name)
	}
	f.entries++
	return f.message(b)
}

// Close writes the trailer.
func (f *Writer) Close() error {
	b := number(nil, fieldKind, trailer)
	b = number(b, fieldEntries, f.entries)
	b = text(b, fieldSum, f.sum.Sum(nil))
	if err := f.message(b); err != nil {
		return err
	}
	return f.out.Flush()
}

func number(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func text(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// Summary is what a file says of itself.
type Summary struct {
	Version            string
	At                 time.Time
	Journal, Directory int
}

// Read gives the entries of a file in order; Data is good only until give returns. Only when it returns without an
// error was the file whole: who must not act on half a file reads it twice.
func Read(r io.Reader, give func(Entry) error) (s Summary, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	sum := sha256.New()
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(in, begin); err != nil || string(begin) != magic {
		return s, ErrNoBackup
	}
	sum.Write(begin)
	var buf []byte
	for n := 0; ; n++ {
		before := sum.Sum(nil)
		if buf, err = next(in, sum, buf); err != nil {
			return s, err
		}
		m, err := decode(buf)
		if err != nil {
			return s, err
		}
		switch {
		case n == 0 && m.kind != header:
			return s, ErrDamaged
		case m.kind == header:
			if n > 0 || m.schema == 0 {
				return s, ErrDamaged
			}
			if m.schema > Schema {
				return s, fmt.Errorf("%w (schema %d, this release reads %d)", ErrNewer, m.schema, Schema)
			}
			s.Version, s.At = m.version, m.At
		case m.kind == trailer:
			if m.entries != uint64(s.Journal+s.Directory) || !bytes.Equal(m.sum, before) {
				return s, fmt.Errorf("%w: its checksum or its count of entries is another", ErrDamaged)
			}
			if _, err := in.ReadByte(); err != io.EOF {
				return s, fmt.Errorf("%w: something follows its end", ErrDamaged)
			}
			return s, nil
		case m.Part == Journal:
			s.Journal++
			err = give(m.Entry)
		case m.Part == Directory:
			s.Directory++
			err = give(m.Entry)
		default:
			return s, fmt.Errorf("%w: an entry of kind %d", ErrDamaged, m.kind)
		}
		if err != nil {
			return s, err
		}
	}
}

// next reads a message.
func next(in *bufio.Reader, sum hash.Hash, buf []byte) ([]byte, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, cut(err)
	}
	if size > maxMessage {
		return nil, fmt.Errorf("%w: a message of %d bytes", ErrDamaged, size)
	}
	sum.Write(binary.AppendUvarint(nil, size))
	if uint64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(in, buf); err != nil {
		return nil, cut(err)
	}
	sum.Write(buf)
	return buf, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}

// message is a decoded message.
type message struct {
	Entry
	kind, schema, entries uint64
	version               string
	sum                   []byte
}

func decode(b []byte) (m message, err error) {
	for len(b) > 0 {
		field, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return m, ErrDamaged
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, wire, b)
		}
		if n < 0 {
			return m, ErrDamaged
		}
		b = b[n:]
		m.set(field, wire, v, data)
	}
	m.Part = Part(m.kind)
	return m, nil
}

func (m *message) set(field protowire.Number, wire protowire.Type, v uint64, data []byte) {
	if wire == protowire.VarintType {
		switch field {
		case fieldKind:
			m.kind = v
		case fieldTTL:
			m.TTL = time.Duration(min(v, 1<<40)) * time.Millisecond
		case fieldAt:
			m.At = time.Unix(0, int64(v))
		case fieldSchema:
			m.schema = v
		case fieldEntries:
			m.entries = v
		}
		return
	}
	switch field {
	case fieldName:
		m.Name = string(data)
	case fieldData:
		m.Data = data
	case fieldVersion:
		m.version = string(data)
	case fieldSum:
		m.sum = data
	}
}
