package directory

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/marks"
)

// markKey is the bucket key of the journal's marks (docs/contract/journal.md, rule 10).
const markKey = "mark.journal"

// Look returns how the stream below the directory's bucket looks, and the marks of the journal that the bucket keeps. restored
// is the metadata key that a restore sets. A directory that was never made has no stream. Look blocks, and waits for a cluster
// of NATS servers that is not ready yet.
func Look(ctx context.Context, c Config, restored string) (found map[string]marks.Found, ofJournal marks.Marks, err error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, nil, err
	}
	found = map[string]marks.Found{}
	err = untilReady(ctx, c.Conn.ConnectedClusterName() == "", c.Log, func(try context.Context) error {
		stream, err := js.Stream(try, streamName(c.Prefix))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		info := stream.CachedInfo()
		found[info.Config.Name] = marks.Found{Mark: marks.Mark{Created: info.Created, Sequence: info.State.LastSeq}, Restored: info.Config.Metadata[restored] != ""}
		kv, err := js.KeyValue(try, bucketName(c.Prefix))
		if err != nil {
			return err
		}
		e, err := kv.Get(try, markKey)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if ofJournal, err = marks.Decode(e.Value()); err != nil {
			c.Log.Error("the directory's marks of the journal can't be read, and are written again", "key", markKey, "err", err)
		}
		return nil
	})
	return found, ofJournal, err
}

// Keep writes the marks of the journal into the bucket, unless the bucket has changed meanwhile, for example because another node
// does the same. It blocks.
func (d *Directory) Keep(ctx context.Context, m marks.Marks) error {
	_, err := d.try(ctx, func() ([]write, error) { return []write{{key: markKey, value: m.Encode()}}, nil })
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// Seen returns what this node has seen acknowledged of the bucket.
func (d *Directory) Seen() marks.Marks {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return marks.Marks{streamName(d.cfg.Prefix): {Created: d.created, Sequence: d.reached}}
}
