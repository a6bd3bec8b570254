package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// How long one attempt to reach the bucket may take, and to make it. A cluster that has no leader yet does not answer
// at all, so it is asked again soon.
const (
	tryTime  = time.Second
	makeTime = 5 * time.Second
)

// patient tries again, as long as the context lasts, while a cluster of several servers comes together or elects: what
// starts just then must not give up. A server that stands alone has no such time.
func (d *Directory) patient(ctx context.Context, f func(context.Context) error) error {
	return patient(ctx, d.cfg.Conn.ConnectedClusterName() == "", d.cfg.Log, f)
}

func patient(ctx context.Context, alone bool, log *slog.Logger, f func(context.Context) error) error {
	within := tryTime
	if alone {
		within = makeTime
	}
	for {
		try, cancel := context.WithTimeout(ctx, within)
		err := f(try)
		cancel()
		if err == nil || ctx.Err() != nil || alone {
			return err
		}
		log.Debug("the directory is not to be had yet", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// open finds the bucket, or makes it, and begins to watch it.
func (d *Directory) open(ctx context.Context) error {
	js, err := jetstream.New(d.cfg.Conn)
	if err != nil {
		return err
	}
	c := bucketSettings(d.cfg)
	err = d.patient(ctx, func(try context.Context) (err error) {
		if d.kv, err = findOrMake(ctx, try, js, c); err != nil {
			return err
		}
		if d.stream, err = js.Stream(try, "KV_"+c.Bucket); err != nil {
			return err
		}
		return d.follow(try)
	})
	if err != nil {
		return fmt.Errorf("directory bucket %s: %w", c.Bucket, err)
	}
	return nil
}

// findOrMake looks within try, and makes what is not there within makeTime.
func findOrMake(ctx, try context.Context, js jetstream.JetStream, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(try, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		making, cancel := context.WithTimeout(ctx, makeTime)
		defer cancel()
		kv, err = js.CreateKeyValue(making, c)
	}
	return kv, err
}

// follow begins the watch, which outlives the context that it must begin in.
func (d *Directory) follow(ctx context.Context) error {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	late := context.AfterFunc(ctx, stop)
	watch, err := d.kv.WatchAll(watching)
	if !late() && err == nil {
		_ = watch.Stop()
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return err
	}
	d.watch, d.unwatch = watch, stop
	return nil
}

// PublishKey makes a node's token key known; one that the bucket has is not written again.
func (d *Directory) PublishKey(ctx context.Context, id string, public []byte) error {
	d.mu.RLock()
	known := bytes.Equal(d.public[id], public)
	d.mu.RUnlock()
	if known {
		return nil
	}
	return d.patient(ctx, func(ctx context.Context) error {
		revision, err := d.kv.Put(ctx, keys+"."+id, public)
		if err == nil {
			d.apply(keys+"."+id, public, revision, false)
		}
		return err
	})
}
