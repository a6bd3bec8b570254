package natsd

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// The index of a stream says what its blocks hold. NATS writes it every two minutes and when it stops, and believes it if the
// newest block still ends as it did then. The form is NATS's own (server/filestore.go, _writeFullState); TestVerify finds out
// when it changes.
const (
	indexFile    = "index.db"
	indexMagic   = 11
	indexVersion = 4
)

// index is what the index of a stream says. The zero value is that of a stream without an index, or with one that NATS does not
// believe either.
type index struct {
	last   uint64 // the last sequence of the stream
	blocks map[int]*indexed

	newest int                // the block that was written then
	end    [checksumSize]byte // with which it ended
}

// indexed is what the index says of a block.
type indexed struct {
	index       int
	first, past uint64           // the sequences of its messages, without past
	removed     *avl.SequenceSet // those in between that are gone
	messages    uint64           // how many are left
	there       bool             // the block's file is
}

// readIndex reads the index of a stream. One that can't be read, or that another release of NATS wrote, counts as the index of a
// stream with the highest possible sequence, with which no block agrees.
func readIndex(file, stream string) (x index, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return x, nil
	}
	if err != nil {
		return x, err
	}
	x, err = decodeIndex(data, stream)
	if err != nil {
		x = index{last: ^uint64(0)}
	}
	return x, nil
}

var errIndex = errors.New("the index can't be read")

func decodeIndex(data []byte, stream string) (x index, err error) {
	key := sha256.Sum256([]byte(stream))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil || len(data) < 2+checksumSize {
		return x, errIndex
	}
	data, end := data[:len(data)-checksumSize], data[len(data)-checksumSize:]
	_, _ = sum.Write(data)
	if !bytes.Equal(sum.Sum(nil), end) || data[0] != indexMagic || data[1] != indexVersion {
		return x, errIndex
	}
	r := bytes.NewReader(data[2:])
	number := func() (n uint64) { // signed numbers are not used here, and have the same length
		if err == nil {
			n, err = binary.ReadUvarint(r)
		}
		return n
	}
	skip := func(numbers int) {
		for range numbers {
			number()
		}
	}
	skip(4) // messages, bytes, the first sequence and its time
	x.last = number()
	skip(1) // its time
	for n := number(); n > 0 && err == nil; n-- {
		if _, err = r.Seek(int64(min(number(), uint64(r.Len()))), io.SeekCurrent); err == nil { // a subject
			skip(3) // messages, the first block and the last
		}
	}
	x.blocks = map[int]*indexed{}
	for n := number(); n > 0 && err == nil; n-- {
		b := &indexed{index: int(number())}
		skip(1) // bytes
		b.first = number()
		skip(1) // its time
		b.past = number() + 1
		skip(1) // its time
		removed := number()
		skip(2) // messages with a TTL or a schedule
		if removed > 0 && err == nil {
			var length int
			if b.removed, length, err = avl.Decode(data[len(data)-r.Len():]); err == nil {
				_, err = r.Seek(int64(length), io.SeekCurrent)
			}
		}
		if held := b.past - min(b.first, b.past); held > removed {
			b.messages = held - removed
		}
		x.blocks[b.index] = b
	}
	x.newest = int(number())
	if err == nil {
		_, err = io.ReadFull(r, x.end[:])
	}
	return x, err
}

// compare forgets what the index says of the blocks if they have changed since it was written: messages were added, or replaced.
func (x *index) compare(blocks []block) {
	if len(blocks) == 0 || blocks[len(blocks)-1].index != x.newest || !bytes.Equal(endOf(blocks[len(blocks)-1].file), x.end[:]) {
		x.blocks = nil
	}
}

// endOf returns the last bytes of a file, as many as a checksum has.
func endOf(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size < checksumSize {
		return nil
	}
	end := make([]byte, checksumSize)
	_, err = f.ReadAt(end, size-checksumSize)
	if err != nil {
		return nil
	}
	return end
}

// at returns what the index says of a block; nil: nothing.
func (x *index) at(block int) *indexed { return x.blocks[block] }

// seen notes that a block is there.
func (x *index) seen(block int) {
	if b := x.blocks[block]; b != nil {
		b.there = true
	}
}

// missing returns the blocks with messages that are not there.
func (x *index) missing() (missing []*indexed) {
	for _, b := range x.blocks {
		if !b.there && b.messages > 0 {
			missing = append(missing, b)
		}
	}
	slices.SortFunc(missing, func(a, b *indexed) int { return cmp.Compare(a.index, b.index) })
	return missing
}

// holds says whether a block should hold the message with a sequence.
func (b *indexed) holds(sequence uint64) bool {
	return b != nil && sequence >= b.first && sequence < b.past && (b.removed == nil || !b.removed.Exists(sequence))
}
