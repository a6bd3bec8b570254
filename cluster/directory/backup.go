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

// Backup gives every entry of the bucket, the nodes' public token keys too.
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
			if e == nil { // all that there was
				return ctx.Err()
			}
			if err := give(backup.Entry{Part: backup.Directory, Name: e.Key(), Data: e.Value(), At: e.Created()}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ForRestore makes the bucket anew, with a mark in its metadata; it refuses one that is not empty, unless it carries
// the mark already: then an interrupted restore made it.
func ForRestore(ctx context.Context, c Config, key, mark string) error {
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
			return fmt.Errorf("the directory (bucket %s) is not empty: a backup is restored where nothing was imported and no node has served", name)
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

// Restored is the message that puts a backup's entry into the bucket.
func Restored(c Config, e backup.Entry) (*nats.Msg, error) {
	if e.Name == "" || len(e.Name) > 512 || !isKey(e.Name) {
		return nil, fmt.Errorf("%w: %.60q is no key of the directory", backup.ErrDamaged, e.Name)
	}
	return &nats.Msg{Subject: "$KV." + bucketName(c.Prefix) + "." + e.Name, Data: bytes.Clone(e.Data)}, nil
}

// isKey says whether a name may be part of a subject.
func isKey(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c > '~' || c == '*' || c == '>' || c == '.' && (i == 0 || i == len(name)-1 || name[i-1] == '.') {
			return false
		}
	}
	return true
}
