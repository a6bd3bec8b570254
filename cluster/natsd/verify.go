package natsd

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/minio/highwayhash"

	"lamplight/cluster/marks"
)

// A NATS server that finds a damaged message in a file of a stream, a block, cuts the block off there and goes on without
// the rest. It says so in one line of its log at most. When it has stopped in order, it believes its index (index.go) about
// the blocks: a stream whose blocks have lost messages then shows the last sequence that it had, and a damaged message is
// found only when somebody reads it. verify therefore reads all blocks before the server starts, and refuses them while all
// that they still hold is there: when a part can't be read, when a block holds less than the index says, and when the blocks
// of a standalone server end before the marks (docs/contract/journal.md, rule 10). The form of a block is NATS's own
// (server/filestore.go); TestVerify finds out when it changes.
//
// A message that was being written when the machine stopped stands at the end of the newest block. It was not
// acknowledged, and NATS may cut it off.
const (
	headerSize   = 22 // of a message: length (4 bytes), sequence (8), time (8), length of the subject (2)
	checksumSize = 8
	hasHeaders   = 1 << 31 // a bit of the length
	maxMessage   = 32 << 20

	erased    = 1 << 63 // a bit of the sequence: the message is gone, and its sequence stays
	tombstone = 1 << 62 // a bit of the sequence: the message with this sequence was removed
)

// verify returns an error that says which streams have lost what. With Config.AcceptLoss it logs that instead, and cuts each
// damaged block off where the damage begins. It removes the
// index of a stream if the blocks do not agree with it, unless it returns an error, so that NATS reads the blocks.
func (s *Server) verify() error {
	streams, err := streamsIn(filepath.Join(s.cfg.Data, "nats", "jetstream"))
	if err != nil {
		return fmt.Errorf("the files of the streams can't be read: %w", err)
	}
	var lost []string
	kept, found := marks.Marks{}, map[string]marks.Found{}
	ours, _ := marks.Load(s.cfg.Data) // the node looks at all marks when NATS runs, and refuses those that can't be read
	for _, f := range streams {
		lost = append(lost, f.damaged...)
		// The server of a cluster may lag behind what the cluster has acknowledged.
		if mark, ok := ours[f.name]; ok && s.cfg.Routes == nil && mark.Created.Equal(f.created) {
			kept[f.name], found[f.name] = mark, marks.Found{Mark: marks.Mark{Created: f.created, Sequence: f.last}}
		}
	}
	lost = append(lost, kept.Missing(found)...)
	if len(lost) > 0 {
		if err := s.refuse(strings.Join(lost, "; ")); err != nil {
			return err
		}
	}
	for _, f := range streams {
		for file, size := range f.cut { // NATS can't write to a stream with a block of which it can't read a part in the middle
			if err := os.Truncate(file, size); err != nil {
				return fmt.Errorf("a damaged block can't be cut off where the damage begins: %w", err)
			}
		}
		if f.agrees {
			continue
		}
		if err := os.Remove(f.index); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the index of a stream, which does not agree with its blocks, can't be removed: %w", err)
		}
	}
	return nil
}

// refuse returns the error of verify. With Config.AcceptLoss it logs what is lost, and returns nil.
func (s *Server) refuse(lost string) error {
	if s.cfg.AcceptLoss {
		s.lost.Store(true)
		s.cfg.Log.Error("files of the journal or the directory are damaged, and the node goes on without what they held (--accept-loss)", "damaged", lost)
		return nil
	}
	advice := "restore a backup into an empty --data (lamplight restore)"
	if s.cfg.Routes != nil {
		advice = "if the journal has replicas, move this --data away and start the node with an empty one, into which the other nodes' servers copy theirs; otherwise restore a backup"
	}
	return fmt.Errorf("%w, so changes that were acknowledged can't be read: %s. Nothing was changed. Copy the data directory, "+
		"then %s; or start once with --accept-loss, which gives up the damaged part", errDamaged, lost, advice)
}

var errDamaged = errors.New("files of the journal or the directory are damaged")

// streamFiles is what the files of a stream hold.
type streamFiles struct {
	name    string
	created time.Time
	index   string           // the name of the index's file
	last    uint64           // the last sequence in the blocks
	agrees  bool             // NATS may believe the index
	damaged []string         // the blocks that are damaged, and how
	cut     map[string]int64 // how many bytes of each of them can be read
}

// streamsIn reads the files of all streams below the directory of JetStream. Streams that are encrypted or compressed, which
// none of Lamplight's is, are passed over, and so is a stream without its description, with which NATS does not start.
func streamsIn(dir string) (streams []streamFiles, err error) {
	dirs, err := filepath.Glob(filepath.Join(dir, "*", "streams", "*"))
	if err != nil {
		return nil, err
	}
	for _, stream := range dirs {
		created, plain, err := describe(stream)
		if err != nil {
			return nil, err
		}
		if !plain {
			continue
		}
		f, err := readStream(stream)
		if err != nil {
			return nil, err
		}
		f.created = created
		streams = append(streams, f)
	}
	return streams, nil
}

// describe returns when a stream was made, and whether its blocks are neither encrypted nor compressed.
func describe(stream string) (created time.Time, plain bool, err error) {
	if _, err := os.Stat(filepath.Join(stream, "meta.key")); err == nil {
		return created, false, nil
	}
	data, err := os.ReadFile(filepath.Join(stream, "meta.inf"))
	if errors.Is(err, os.ErrNotExist) {
		return created, false, nil
	}
	if err != nil {
		return created, false, err
	}
	var meta struct {
		Created     time.Time `json:"Created"`
		Compression string    `json:"compression"`
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return created, false, fmt.Errorf("%s: %w", stream, err)
	}
	return meta.Created, meta.Compression == "" || meta.Compression == "none", nil
}

// readStream reads the blocks of a stream, and compares them with its index.
func readStream(stream string) (f streamFiles, err error) {
	f = streamFiles{name: filepath.Base(stream), index: filepath.Join(stream, "msgs", indexFile)}
	blocks, err := blocksOf(filepath.Join(stream, "msgs"))
	if err != nil {
		return f, err
	}
	index, err := readIndex(f.index, f.name)
	if err != nil {
		return f, err
	}
	index.compare(blocks)
	torn := false
	for i, b := range blocks {
		data, err := os.ReadFile(b.file)
		if err != nil {
			return f, err
		}
		read := checkBlock(data, f.name, b.index, index.at(b.index))
		f.last = max(f.last, read.last)
		switch want := index.at(b.index); {
		case read.damage != "" && read.torn && i == len(blocks)-1:
			torn = true
		case read.damage != "":
			f.damaged = append(f.damaged, b.file+" "+read.damage)
			if f.cut == nil {
				f.cut = map[string]int64{}
			}
			f.cut[b.file] = read.readable
		case want != nil && read.messages < want.messages:
			f.damaged = append(f.damaged, fmt.Sprintf("%s holds %d of %d messages", b.file, read.messages, want.messages))
		}
		index.seen(b.index)
	}
	for _, b := range index.missing() {
		f.damaged = append(f.damaged, fmt.Sprintf("%s, which held %d messages, is not there", filepath.Join(stream, "msgs", fmt.Sprintf("%d.blk", b.index)), b.messages))
	}
	f.agrees = !torn && len(f.damaged) == 0 && index.last <= f.last
	return f, nil
}

// block is one file of a stream.
type block struct {
	file  string
	index int
}

// blocksOf returns the blocks in a directory, the oldest first.
func blocksOf(dir string) (blocks []block, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".blk")
		if index, err := strconv.Atoi(name); ok && err == nil {
			blocks = append(blocks, block{filepath.Join(dir, f.Name()), index})
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.index, b.index) })
	return blocks, err
}

// blockRead is what was found in a block.
type blockRead struct {
	last     uint64 // the last sequence
	messages uint64 // those that the index has, too
	readable int64  // the bytes before that message
	damage   string // describes the first message that can't be read; "": all can
	torn     bool   // no message that can be read follows that one
}

// checkBlock reads the messages of a block. want is what the index says of it; nil: nothing.
func checkBlock(data []byte, stream string, index int, want *indexed) (r blockRead) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return blockRead{damage: err.Error()} // not with a key of 32 bytes
	}
	newest := uint64(0) // NATS passes over a message with a sequence that is not above the ones before
	for at := 0; at < len(data); {
		n, ok := messageAt(data[at:], sum)
		if !ok {
			r.readable = int64(at)
			r.damage, r.torn = fmt.Sprintf("can't be read from byte %d of %d on", at, len(data)), !anyMessage(data[at+1:], sum)
			return r
		}
		sequence := binary.LittleEndian.Uint64(data[at+4:])
		r.last = max(r.last, sequence&^(erased|tombstone))
		if sequence&(erased|tombstone) == 0 && sequence > newest {
			newest = sequence
			if want.holds(sequence) {
				r.messages++
			}
		}
		at += n
	}
	return r
}

// messageAt returns the length of the message with which data begins, and whether the message is whole.
func messageAt(data []byte, sum hash.Hash) (length int, ok bool) {
	if len(data) < headerSize+checksumSize {
		return 0, false
	}
	l := binary.LittleEndian.Uint32(data)
	subject := int(binary.LittleEndian.Uint16(data[20:]))
	length = int(l &^ hasHeaders)
	rest := subject // where the part behind the subject begins
	if l&hasHeaders != 0 {
		rest += 4 // the length of the headers
	}
	if length > maxMessage || length > len(data) || headerSize+rest+checksumSize > length {
		return 0, false
	}
	body := data[headerSize : length-checksumSize]
	if rest > subject { // the length of the headers, which end with an empty line, is the one part that the checksum does not cover
		headers, end := uint64(binary.LittleEndian.Uint32(body[subject:])), bytes.Index(body[rest:], []byte("\r\n\r\n"))
		if headers > uint64(len(body)-rest) || end >= 0 && headers != uint64(end)+4 {
			return 0, false
		}
	}
	sum.Reset()
	_, _ = sum.Write(data[4:20])
	_, _ = sum.Write(body[:subject])
	_, _ = sum.Write(body[rest:])
	var room [checksumSize]byte
	return length, bytes.Equal(sum.Sum(room[:0]), data[length-checksumSize:length])
}

// anyMessage says whether a whole message begins anywhere in data.
func anyMessage(data []byte, sum hash.Hash) bool {
	for at := range data {
		if _, ok := messageAt(data[at:], sum); ok {
			return true
		}
	}
	return false
}
