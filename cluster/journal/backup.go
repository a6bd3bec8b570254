package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/cluster/backup"
	"lamplight/cluster/subject"
)

// ErrNoJournal says that there is nothing to back up.
var ErrNoJournal = errors.New("there is no journal: check the address of NATS, and --prefix")

// backupStall is how long a backup waits for a message that a replica should still deliver.
const backupStall = 30 * time.Second

// Backup calls give with the claims and records of all streams, while nodes serve or not. Everything that was acknowledged
// before the call is among them. A message that changes meanwhile may come twice, the newer one later. Leases and
// marks are left out. Backup blocks until all is read; an error of give ends it.
func Backup(ctx context.Context, c Config, give func(backup.Entry) error) error {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return err
	}
	for n, of := 0, 1; n < of; n++ {
		s := newStore(js, c, n)
		stream, err := js.Stream(ctx, s.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", s.name, ErrNoJournal)
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
		if n == 0 {
			if err := s.checkInfo(stream.CachedInfo()); err != nil {
				return err
			}
			of = s.streams
		}
		if err := s.backup(ctx, stream, give); err != nil {
			return fmt.Errorf("stream %s: %w", s.name, err)
		}
	}
	return nil
}

// backup reads a stream from its beginning until nothing is pending, and at least up to the message that was the last one
// when it began. The replica that it reads may lag: when nothing comes, the leader is asked whether anything is missing. A
// message that is replaced before it was read comes again later in the stream, so nothing is left out.
func (s *store) backup(ctx context.Context, stream jetstream.Stream, give func(backup.Entry) error) error {
	info := stream.CachedInfo()
	begun, clock := time.Now(), info.TimeStamp
	until, at := info.State.LastSeq, uint64(0)
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for pending := info.State.Msgs; pending > 0 || at < until; {
		m, err := messages.Next(jetstream.NextMaxWait(time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			next, err := s.getAtLeader(ctx, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q}`, at+1, s.subject+">"))
			if err != nil {
				return err
			}
			if next == nil { // the rest was removed by its TTL
				return nil
			}
			if time.Since(begun) > backupStall {
				return errBehind
			}
			continue
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		begun, clock = time.Now(), later(clock, time.Since(begun), meta.Timestamp)
		pending, at = meta.NumPending, meta.Sequence.Stream
		name := strings.TrimPrefix(m.Subject(), s.subject)
		if strings.HasPrefix(name, "lease.") || name == subject.Mark { // they speak of this stream and this directory
			continue
		}
		e := backup.Entry{Part: backup.Journal, Name: name, Data: m.Data(), At: meta.Timestamp}
		if ttl := lifetime(m.Headers().Get("Nats-TTL")); ttl > 0 {
			e.TTL = max(ttl-clock.Sub(meta.Timestamp), time.Second)
		}
		if err := give(e); err != nil {
			return err
		}
	}
	return nil
}

// later estimates the stream's clock, after some time has passed since it stood at clock. It is never before the time of a
// message that the stream gave.
func later(clock time.Time, passed time.Duration, seen time.Time) time.Time {
	if clock = clock.Add(passed); clock.Before(seen) {
		return seen
	}
	return clock
}

// lifetime reads the value of a Nats-TTL header: seconds, or a Go duration. It returns 0 for anything else.
func lifetime(ttl string) time.Duration {
	if n, err := strconv.Atoi(ttl); err == nil {
		return time.Duration(n) * time.Second
	}
	d, _ := time.ParseDuration(ttl)
	return d
}

// parseName splits the name of a journal's entry in a backup into the shard and the name below it. It refuses a name that
// could not be that of a claim or a record, because the name becomes a subject.
func parseName(name string) (shard int, below string, err error) {
	number, below, _ := strings.Cut(name, ".")
	shard, err = strconv.Atoi(number)
	if err != nil || shard < 0 || shard >= actors.Shards || strconv.Itoa(shard) != number {
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
