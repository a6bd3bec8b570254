// Package backup is the form of the file that lamplight backup writes and lamplight restore reads. It holds entries of the
// journal and of the directory. Its header says with which schema they are written, and its trailer shows that none is
// missing. The package knows neither NATS nor what is in an entry. One goroutine uses a Writer; Read is for any goroutine.
//
// A file is a line that names it, and then messages: each is a length and fields in the form of protocol buffers. Fields
// that a release does not know are passed over, and a schema above its own is refused.
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

// Schema is the form of the file that this release writes, and the newest that it can read.
const Schema = 1

const (
	magic      = "lamplight backup\n"
	maxMessage = 2 << 20 // bytes; a message of NATS has 1 MiB at most
)

// The errors of a file that cannot be used.
var (
	ErrNoBackup = errors.New("this is not a backup of Lamplight")
	ErrNewer    = errors.New("the backup is of a newer release: restore it with that release")
	ErrDamaged  = errors.New("the backup is damaged")
	ErrOccupied = errors.New("a backup is restored only where nothing was imported and no node has served") // of a restore
	ErrCut      = errors.New("the backup is cut off: it was not written to its end, or not copied to its end")
)

// Part says where an entry belongs.
type Part uint64

// The parts. They are the numbers in the file, which are never used again for something else.
const (
	Journal   Part = 2
	Directory Part = 3
)

// The kinds of messages that are not entries. For an entry, the kind is its Part.
const (
	header  = 1
	trailer = 15
)

// The fields of messages.
const (
	fieldKind    = 1
	fieldName    = 2
	fieldData    = 3
	fieldTTL     = 4 // in ms
	fieldAt      = 5 // in Unix ns
	fieldSchema  = 6 // of the header
	fieldVersion = 7 // of the header: the release that wrote the file
	fieldEntries = 8 // of the trailer: the number of entries
	fieldSum     = 9 // of the trailer: the SHA-256 of all bytes before the trailer
)

// Entry is one message of the journal, or one value of the directory.
type Entry struct {
	Part Part
	Name string // in the journal: <shard>.claim or <shard>.<bucket>.<kind>.<hash>; in the directory: the key
	Data []byte
	TTL  time.Duration // what was left of it when the backup was made; 0: the message has none
	At   time.Time     // when NATS stored it; zero: not known
}

// Writer writes a file. The file is complete only after Close.
type Writer struct {
	out     *bufio.Writer
	sum     hash.Hash
	entries uint64
	buf     []byte
}

// NewWriter begins a file and writes the header. version is that of this release, and at the time of the backup.
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

// Add appends an entry. A reader takes the last entry of a part and name for the newest.
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
		return fmt.Errorf("the entry %.100q has %d bytes, with its name and times %d; a backup takes at most %d",
			e.Name, len(e.Data), len(b), maxMessage)
	}
	f.entries++
	return f.message(b)
}

// Close writes the trailer and what is still buffered. It does not close the underlying writer.
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
	Version            string    // of the release that wrote it
	At                 time.Time // when it was begun
	Journal, Directory int       // the number of entries
}

// Read calls give with the entries of a file, in order. give may use Data only until it returns; its error ends Read. The
// file was complete and undamaged only if Read returns no error. So a caller that must not act on half a file reads it
// twice.
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
				return s, fmt.Errorf("%w (it has schema %d, this release reads up to %d)", ErrNewer, m.schema, Schema)
			}
			s.Version, s.At = m.version, m.At
		case m.kind == trailer:
			if m.entries != uint64(s.Journal+s.Directory) || !bytes.Equal(m.sum, before) {
				return s, fmt.Errorf("%w: its checksum or its number of entries is not that of its trailer", ErrDamaged)
			}
			if _, err := in.ReadByte(); err != io.EOF {
				return s, fmt.Errorf("%w: there are more bytes behind its end", ErrDamaged)
			}
			return s, nil
		case m.Part == Journal:
			s.Journal++
			err = give(m.Entry)
		case m.Part == Directory:
			s.Directory++
			err = give(m.Entry)
		default:
			return s, fmt.Errorf("%w: it has a message of kind %d, which this release does not know", ErrDamaged, m.kind)
		}
		if err != nil {
			return s, err
		}
	}
}

// next reads a message into buf, or into a larger buffer, and returns it. It adds the message to the checksum.
func next(in *bufio.Reader, sum hash.Hash, buf []byte) ([]byte, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, cut(err)
	}
	if size > maxMessage {
		return nil, fmt.Errorf("%w: a message has %d bytes; at most %d are possible", ErrDamaged, size, maxMessage)
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

// cut returns ErrCut for an error that says that the file is at its end, and any other error as it is.
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

// decode decodes a message. Its Data is a part of b.
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

// set sets a field that this release knows.
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
