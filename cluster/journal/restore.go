package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/backup"
	"lamplight/cluster/ownership"
	"lamplight/cluster/ring"
	"lamplight/cluster/subject"
)

// Exists says whether NATS has a journal. While a restore of it is under way the error is ErrRestoring. Exists blocks, and
// waits for a cluster of NATS servers that is not ready yet.
func Exists(ctx context.Context, c Config) (bool, error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return false, err
	}
	s := newStore(js, c, 0)
	var stream jetstream.Stream
	err = s.untilAnswered(ctx, func(try context.Context) (err error) { stream, err = js.Stream(try, s.name); return err })
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil
	case err == nil && stream.CachedInfo().Config.Metadata[restoringKey] != "":
		return false, ErrRestoring
	}
	return err == nil, err
}

// Restore writes a backup into streams that it makes. Until Finish the metadata of the first stream has a mark, and no node
// serves from a journal with the mark. A restore that was interrupted is begun again, with the same file or another one.
// One goroutine uses a Restore.
type Restore struct {
	cfg    Config
	js     jetstream.JetStream
	id     string
	stores []*store
	failed atomic.Pointer[error]

	layout     layout
	slots      []restored // of each range
	generation uint64     // the highest of all claims
	base       uint32     // the highest of all claims
}

// restored is the slots of a range that is being restored.
type restored struct {
	message []byte
	slot    int // the next one
}

// BeginRestore removes what an interrupted restore left, and makes the streams. It refuses when there is a journal with
// anything else in it.
func BeginRestore(ctx context.Context, c Config) (*Restore, error) {
	r := &Restore{cfg: c, id: strconv.FormatUint(random(), 16)}
	var err error
	if r.js, err = jetstream.New(c.Conn, jetstream.WithPublishAsyncMaxPending(100), jetstream.WithPublishAsyncTimeout(10*time.Second),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { r.failed.CompareAndSwap(nil, &err) })); err != nil {
		return nil, err
	}
	if err := r.clear(ctx); err != nil {
		return nil, err
	}
	r.layout = c.layout()
	r.slots = make([]restored, r.layout.ranges())
	for n := range r.layout.streams {
		s := newStore(r.js, c, n)
		want := s.settings(c, r.layout)
		want.Metadata[MadeByKey] = r.id
		if n == 0 {
			want.Metadata[restoringKey] = r.id
		}
		stream, err := findOrMake(ctx, r.js, want, c.Log)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.name, err)
		}
		if s.created = stream.CachedInfo().Created; stream.CachedInfo().Config.Metadata[MadeByKey] != r.id {
			return nil, fmt.Errorf("stream %s was made by another process meanwhile: stop the nodes, and run the "+
				"restore again", s.name)
		}
		r.stores = append(r.stores, s)
	}
	return r, nil
}

// Check returns an error for an entry of a backup that Put would refuse. It asks NATS for nothing.
func Check(e backup.Entry) error {
	_, below, err := parseName(e.Name)
	if err == nil && below == "claim" {
		if _, damaged := decodeClaim(e.Data); errors.Is(damaged, errNewer) {
			err = damaged
		}
	}
	return err
}

// MadeByKey is the key, in the metadata of a stream or bucket, for the ID of the restore that made it.
const MadeByKey = "lamplight-restore"

// ID returns the name of the restore. When an interrupted restore is begun again, it keeps its name.
func (r *Restore) ID() string { return r.id }

// clear removes the streams that an interrupted restore left, and empty streams. The stream with the mark goes last, so
// that clear can be interrupted too. A stream with anything else in it is an error.
func (r *Restore) clear(ctx context.Context) error {
	first := streamName(r.cfg.Prefix, 0)
	var streams []*jetstream.StreamInfo
	list := r.js.ListStreams(ctx, jetstream.WithStreamListSubject(r.cfg.Prefix.Of(subject.AnyRecord)))
	for info := range list.Info() {
		streams = append(streams, info)
		if id := info.Config.Metadata[restoringKey]; info.Config.Name == first && id != "" {
			r.id = id
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	for _, info := range streams {
		if info.State.Msgs > 0 && info.Config.Metadata[MadeByKey] != r.id {
			return r.occupied(ctx, info.Config.Name)
		}
	}
	for _, last := range []bool{false, true} {
		for _, info := range streams {
			if (info.Config.Name == first) != last {
				continue
			}
			if err := r.js.DeleteStream(ctx, info.Config.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("stream %s: %w", info.Config.Name, err)
			}
		}
	}
	return nil
}

// occupied returns the error for a stream that is not empty. It names a node that serves from it, if there is one.
func (r *Restore) occupied(ctx context.Context, stream string) error {
	if node, err := r.liveNode(ctx, newStore(r.js, r.cfg, 0)); err == nil && node != "" {
		return fmt.Errorf("node %s serves with this NATS, and %w: start new nodes with empty data directories and --await-restore", node, backup.ErrOccupied)
	}
	return fmt.Errorf("stream %s is not empty, and %w: use empty data directories, another --prefix, or remove the streams", stream, backup.ErrOccupied)
}

// liveNode returns the name of a node whose lease in the stream stands and is fresh; "": there is none.
func (r *Restore) liveNode(ctx context.Context, s *store) (string, error) {
	found, _, err := s.last(ctx, subject.AnyLease)
	for _, m := range found {
		l, err := decodeLease(m.Data)
		if err != nil || l.Left || l.Expelled {
			continue
		}
		_, _, at := parseStored(m)
		if time.Since(at).Abs() < ownership.HolderSilence {
			return l.Node, nil
		}
	}
	return "", err
}

// Publish writes a message and may block while many have no answer. Messages are kept in the order of the calls. An error
// may be that of an earlier message; Finish says whether all were kept.
func (r *Restore) Publish(m *nats.Msg) error {
	if err := r.failed.Load(); err != nil {
		return *err
	}
	_, err := r.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(10*time.Second))
	return err
}

// Put takes a claim or a record of a backup, and writes records, when there are enough for a message, as Publish does.
func (r *Restore) Put(e backup.Entry) error {
	shard, below, err := parseName(e.Name)
	if err != nil {
		return err
	}
	if below == "claim" {
		if err := r.claim(e.Data); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		return nil
	}
	entry := ring.Entry{Shard: shard, Kind: below[2], Life: uint32((e.TTL + time.Second - 1) / time.Second), Data: e.Data}
	if _, err := hex.Decode(entry.Key[:], []byte(below[4:])); err != nil {
		return err
	}
	id := r.layout.of(shard)
	of := &r.slots[id]
	of.message, _ = ring.Append(of.message, &entry)
	if len(of.message) < maxMessage {
		return nil
	}
	return r.write(id)
}

// write writes what was put for a range.
func (r *Restore) write(id int) error {
	of := &r.slots[id]
	if len(of.message) == 0 {
		return nil
	}
	m := &nats.Msg{Subject: r.stores[id%len(r.stores)].subject + subject.Slots(id) + strconv.Itoa(of.slot), Data: ring.Whole(of.message)}
	of.message = nil
	if of.slot++; of.slot >= mostSlots {
		return fmt.Errorf("range %d has more records than its %d slots hold: restore into a journal with more ranges (--streams, or several replicas)", id, mostSlots)
	}
	return r.Publish(m)
}

// claim notes the numbers of a claim of the backup. Of a claim that can't be read nobody knows the numbers.
func (r *Restore) claim(data []byte) error {
	c, err := decodeClaim(data)
	switch {
	case errors.Is(err, errNewer):
		return err
	case err != nil:
		c = ownership.Claim{Generation: 1, Base: ownership.LastBase}
	}
	r.generation, r.base = max(r.generation, c.Generation), max(r.base, c.Base)
	return nil
}

// restoredClaim makes the claim that the next owner of a range finds: it is released, its base is one takeover above those of all claims
// of the backup (docs/contract/journal.md, rules 8 and 10), and all extensions are to be told again (rule 7). When a claim could not be read, all
// subscriptions end first, because nobody knows their numbers.
func (r *Restore) restoredClaim(s *store) ownership.Claim {
	return ownership.Claim{Node: "restore", Incarnation: r.id, Generation: max(r.generation, 1), Base: min(r.base+ownership.TakeOver, ownership.MaxBase),
		Epoch: s.created.UnixNano(), Released: true, All: true}
}

// Finish blocks until all messages are kept, and takes the mark away: from then on nodes serve from the journal.
func (r *Restore) Finish(ctx context.Context) error {
	for id := range r.slots {
		if err := r.write(id); err != nil {
			return err
		}
		s := r.stores[id%len(r.stores)]
		if err := r.Publish(&nats.Msg{Subject: s.subject + subject.Claim(id), Data: encodeClaim(1, r.restoredClaim(s))}); err != nil {
			return err
		}
	}
	select {
	case <-r.js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.failed.Load(); err != nil {
		return *err
	}
	for _, s := range r.stores {
		if found, _, err := s.last(ctx, subject.AnyLease); err != nil || len(found) > 0 {
			return errors.Join(fmt.Errorf("a node wrote to stream %s during the restore: stop the nodes, and run the "+
				"restore again", s.name), err)
		}
	}
	stream, err := r.js.Stream(ctx, r.stores[0].name)
	if err != nil {
		return err
	}
	c := stream.CachedInfo().Config
	delete(c.Metadata, restoringKey)
	for name := range c.Metadata { // the NATS server's own entries, which it refuses to take back
		if strings.HasPrefix(name, "_nats.") {
			delete(c.Metadata, name)
		}
	}
	_, err = r.js.UpdateStream(ctx, c)
	return err
}
