package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/cluster/backup"
	"lamplight/cluster/ring"
	"lamplight/cluster/subject"
)

// ErrNoJournal says that there is nothing to back up.
var ErrNoJournal = errors.New("there is no journal: check the address of NATS, and --prefix")

// Backup calls give with the claims and records of all streams, while nodes serve or not. Everything that was acknowledged
// before the call is among them. The records of a range are of one moment. Leases and marks are left out. Backup blocks until all is
// read; an error of give ends it.
func Backup(ctx context.Context, c Config, give func(backup.Entry) error) error {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return err
	}
	var y layout
	for n, of := 0, 1; n < of; n++ {
		s := newStore(js, c, n)
		stream, err := js.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", s.name, ErrNoJournal)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		info := stream.CachedInfo()
		if n == 0 {
			if err := s.checkInfo(info); err != nil {
				return err
			}
			y = s.layout
			of = y.streams
		}
		for id := n; id < y.ranges(); id += of {
			if err := s.backup(ctx, id, info, give); err != nil {
				return fmt.Errorf("stream %s: %w", s.name, err)
			}
		}
	}
	return nil
}

// backup reads one range, from a replica that has the stream at least as it was when the backup began. It asks again while the replica that answers lags.
func (s *store) backup(ctx context.Context, id int, begun *jetstream.StreamInfo, give func(backup.Entry) error) error {
	var found []*nats.Msg
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var upTo uint64
		var err error
		found, upTo, err = s.whole(ctx, subject.Claim(id), subject.AnySlot(id))
		switch {
		case errors.Is(err, errBehind):
			upTo = 0
		case err != nil:
			return err
		}
		if upTo >= begun.State.LastSeq {
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errBehind
		}
	}
	r := ring.New(ring.Options{})
	r.SawTime(begun.TimeStamp.UnixMicro())
	var messages []ring.Message
	for _, m := range found {
		name, sequence, at := parseStored(m)
		name = strings.TrimPrefix(name, s.subject)
		if _, slot, ok := subject.ParseSlot(name); ok {
			messages = append(messages, ring.Message{Slot: slot, Sequence: sequence, At: at.UnixMicro(), Data: m.Data})
		} else if err := give(backup.Entry{Part: backup.Journal, Name: name, Data: m.Data, At: at}); err != nil {
			return err
		}
	}
	var failed error
	damaged := r.Load(0, messages, func(e ring.Entry) {
		entry := backup.Entry{Part: backup.Journal, Name: recordName(&e), Data: e.Data, At: time.UnixMicro(e.At)}
		if e.Life != 0 {
			entry.TTL = max(time.UnixMicro(e.At).Add(time.Duration(e.Life)*time.Second).Sub(time.UnixMicro(r.Clock())), time.Second)
		}
		if failed == nil {
			failed = give(entry)
		}
	})
	return errors.Join(failed, damaged)
}

// recordName returns the name of a record in a backup: <shard>.<bucket>.<kind>.<hash>. The bucket is the first digit of the hash.
func recordName(e *ring.Entry) string {
	hash := hex.EncodeToString(e.Key[:])
	return fmt.Sprintf("%d.%c.%c.%s", e.Shard, hash[0], e.Kind, hash)
}

// parseName splits the name of a journal's entry in a backup into the shard, or the range, and the name below it. It refuses a name that
// could not be that of a claim or a record, because the name becomes a subject.
func parseName(name string) (shard int, below string, err error) {
	number, below, _ := strings.Cut(name, ".")
	shard, err = strconv.Atoi(number)
	most := actors.Shards
	if below == "claim" {
		most = maxRanges
	}
	if err != nil || shard < 0 || shard >= most || strconv.Itoa(shard) != number {
		return 0, "", fmt.Errorf("%w: %.60q does not begin with the number of a shard", backup.ErrDamaged, name)
	}
	if below == "claim" {
		return shard, below, nil
	}
	const hexadecimal = "0123456789abcdef"
	if len(below) != 36 || below[1] != '.' || below[3] != '.' || below[0] != below[4] || below[2] <= ' ' || below[2] > '~' ||
		strings.ContainsAny(below[2:3], ".*>") || strings.Trim(below[4:], hexadecimal) != "" {
		return 0, "", fmt.Errorf("%w: %.60q is not the name of a claim or a record", backup.ErrDamaged, name)
	}
	return shard, below, nil
}
