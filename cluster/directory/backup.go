package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/backup"
)

// Backup calls give with every key of the bucket, those of the nodes' public token keys too but not the marks, while nodes run or not. It
// blocks until all are read; an error of give ends it.
func Backup(ctx context.Context, c Config, give func(backup.Entry) error) error {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, bucketName(c.Prefix))
	if err != nil {
		return fmt.Errorf("directory bucket %s: %w", bucketName(c.Prefix), err)
	}
	watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watch.Stop() }()
	for {
		select {
		case e := <-watch.Updates():
			if e == nil { // the watch has brought everything
				return ctx.Err()
			}
			if e.Key() == markKey { // it speaks of this journal
				continue
			}
			if err := give(backup.Entry{Part: backup.Directory, Name: e.Key(), Data: e.Value(), At: e.Created()}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// PrepareRestore makes the bucket new and empty, with a mark in its metadata under a key. It refuses a bucket that is not
// empty, unless the bucket has the same mark: then an interrupted restore made it.
func PrepareRestore(ctx context.Context, c Config, key, mark string) error {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return err
	}
	name := bucketName(c.Prefix)
	kv, err := js.KeyValue(ctx, name)
	if err == nil {
		var status jetstream.KeyValueStatus
		if status, err = kv.Status(ctx); err != nil {
			return err
		}
		if status.Metadata()[key] != mark && status.Values() > 0 {
			return fmt.Errorf("the directory (bucket %s) is not empty, and %w: use empty data directories, or another --prefix", name, backup.ErrOccupied)
		}
		err = js.DeleteKeyValue(ctx, name)
	}
	if err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return err
	}
	want := bucketSettings(c)
	want.Metadata = map[string]string{key: mark}
	if _, err = findOrMake(ctx, ctx, js, want); err != nil {
		return fmt.Errorf("directory bucket %s: %w", name, err)
	}
	return nil
}

// RestoreMessage returns the message that writes an entry of a backup into the bucket. It refuses a name that cannot be a
// key.
func RestoreMessage(c Config, e backup.Entry) (*nats.Msg, error) {
	if e.Name == "" || len(e.Name) > 512 || !isKey(e.Name) {
		return nil, fmt.Errorf("%w: %.60q is not a key of the directory", backup.ErrDamaged, e.Name)
	}
	return &nats.Msg{Subject: "$KV." + bucketName(c.Prefix) + "." + e.Name, Data: bytes.Clone(e.Data)}, nil
}

// isKey says whether a name may stand at the end of a subject: printable ASCII, no wildcards, no empty tokens.
func isKey(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c > '~' || c == '*' || c == '>' || c == '.' && (i == 0 || i == len(name)-1 || name[i-1] == '.') {
			return false
		}
	}
	return true
}
