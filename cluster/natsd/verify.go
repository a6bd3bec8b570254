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

	"github.com/go-json-experiment/json"
	"github.com/minio/highwayhash"
)

// A NATS server that finds a damaged message in a file of a stream, a block, cuts the block off there and goes on without
// the rest. It says so in one line of its log at most. verify therefore reads all blocks before the server starts, and
// refuses those of which a part can't be read, while all that they still hold is there. The form of a block is NATS's own
// (server/filestore.go); TestVerify finds out when it changes.
//
// A message that was being written when the machine stopped stands at the end of the newest block. It was not
// acknowledged, and NATS may cut it off.
const (
	headerSize   = 22 // of a message: length (4 bytes), sequence (8), time (8), length of the subject (2)
	checksumSize = 8
	hasHeaders   = 1 << 31 // a bit of the length
	maxMessage   = 32 << 20
)

// verify returns an error that names the damaged blocks of all streams. With Config.AcceptLoss it logs them instead.
func (s *Server) verify() error {
	found, err := damaged(filepath.Join(s.cfg.Data, "nats", "jetstream"))
	if err != nil {
		return fmt.Errorf("the journal's files can't be read: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	list := strings.Join(found, "; ")
	if s.cfg.AcceptLoss {
		s.cfg.Log.Error("files of the journal are damaged, and the node goes on without what they held (--accept-loss)", "damaged", list)
		return nil
	}
	advice := "restore a backup into an empty --data (lamplight restore)"
	if s.cfg.Routes != nil {
		advice = "if the journal has replicas, move this --data away and start the node with an empty one, into which the other nodes' servers copy theirs; otherwise restore a backup"
	}
	return fmt.Errorf("files of the journal are damaged, so changes that were acknowledged can't be read: %s. Nothing was "+
		"changed. Copy the data directory, then %s; or start once with --accept-loss, which gives up the damaged part", list, advice)
}

// damaged looks at all blocks of all streams below the directory of JetStream, and describes those that are damaged.
// Streams that are encrypted or compressed, which none of Lamplight's is, are passed over.
func damaged(dir string) (found []string, err error) {
	streams, err := filepath.Glob(filepath.Join(dir, "*", "streams", "*"))
	if err != nil {
		return nil, err
	}
	for _, stream := range streams {
		plain, err := isPlain(stream)
		if err != nil {
			return nil, err
		}
		if !plain {
			continue
		}
		blocks, err := blocksOf(filepath.Join(stream, "msgs"))
		if err != nil {
			return nil, err
		}
		for i, b := range blocks {
			data, err := os.ReadFile(b.file)
			if err != nil {
				return nil, err
			}
			d, torn := checkBlock(data, filepath.Base(stream), b.index)
			if d == "" || torn && i == len(blocks)-1 {
				continue
			}
			found = append(found, b.file+" "+d)
		}
	}
	return found, nil
}

// isPlain says whether a stream's blocks are neither encrypted nor compressed.
func isPlain(stream string) (bool, error) {
	if _, err := os.Stat(filepath.Join(stream, "meta.key")); err == nil {
		return false, nil
	}
	data, err := os.ReadFile(filepath.Join(stream, "meta.inf"))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // NATS ignores such a stream, and says so
	}
	if err != nil {
		return false, err
	}
	var meta struct {
		Compression string `json:"compression"`
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return false, fmt.Errorf("%s: %w", stream, err)
	}
	return meta.Compression == "" || meta.Compression == "none", nil
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

// checkBlock reads the messages of a block. It describes the first one that can't be read; "": all can. torn says that no
// message that can be read follows that one.
func checkBlock(data []byte, stream string, index int) (damage string, torn bool) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return err.Error(), false // not with a key of 32 bytes
	}
	for at := 0; at < len(data); {
		n, ok := messageAt(data[at:], sum)
		if ok {
			at += n
			continue
		}
		return fmt.Sprintf("can't be read from byte %d of %d on", at, len(data)), !anyMessage(data[at+1:], sum)
	}
	return "", false
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
