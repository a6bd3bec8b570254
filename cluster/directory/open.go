package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How long one try to reach the bucket, and to make it, may take. A cluster of NATS servers that has no leader yet does not
// answer at all, so it is asked again soon.
const (
	tryTime  = time.Second
	makeTime = 5 * time.Second
)

// ErrNoAnswer is the error of a start whose cluster of NATS servers has not answered in time.
var ErrNoAnswer = errors.New("the NATS servers did not answer in time")

// untilReady calls f until it succeeds or the context ends, if NATS is a cluster of servers: while they start or elect a
// leader they refuse everything, and a node that starts at that time must not give up. With a single NATS server f is
// called once. Each call of f has a context with a deadline. When the context ends, the error is the last one that the servers
// gave, or ErrNoAnswer if they gave none.
func (d *Directory) untilReady(ctx context.Context, f func(context.Context) error) error {
	return untilReady(ctx, d.cfg.Conn.ConnectedClusterName() == "", d.cfg.Log, f)
}

func untilReady(ctx context.Context, alone bool, log *slog.Logger, f func(context.Context) error) error {
	within := tryTime
	if alone {
		within = makeTime
	}
	said := fmt.Errorf("%w: %w", ErrNoAnswer, context.DeadlineExceeded)
	for {
		try, cancel := context.WithTimeout(ctx, within)
		err := f(try)
		cancel()
		if err == nil || alone || errors.Is(ctx.Err(), context.Canceled) {
			return err
		}
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
			said = err
		}
		if ctx.Err() != nil {
			return said
		}
		log.Debug("the directory's bucket could not be reached; it is tried again", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return said
		}
	}
}

// open finds or makes the bucket, and begins to watch it.
func (d *Directory) open(ctx context.Context) error {
	js, err := jetstream.New(d.cfg.Conn)
	if err != nil {
		return err
	}
	c := bucketSettings(d.cfg)
	err = d.untilReady(ctx, func(try context.Context) (err error) {
		if d.cfg.DryRun {
			if d.kv, err = js.KeyValue(try, c.Bucket); err == nil {
				d.stream, err = js.Stream(try, streamName(d.cfg.Prefix))
			}
		} else if d.kv, err = findOrMake(ctx, try, js, c); err == nil {
			d.stream, err = allowBatches(try, js, streamName(d.cfg.Prefix))
		}
		if err != nil {
			return err
		}
		d.created = d.stream.CachedInfo().Created
		return d.follow(try)
	})
	if err != nil {
		return fmt.Errorf("directory bucket %s: %w", c.Bucket, err)
	}
	return nil
}

// findOrMake finds the bucket, for as long as the context try lasts. If there is none it makes one, within makeTime.
func findOrMake(ctx, try context.Context, js jetstream.JetStream, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	kv, err := js.KeyValue(try, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		making, cancel := context.WithTimeout(ctx, makeTime)
		defer cancel()
		kv, err = js.CreateKeyValue(making, c)
	}
	return kv, err
}

// allowBatches returns the stream of the bucket, and lets it take atomic batches if it does not: NATS's client makes key-value
// buckets without. Nodes of the first release do not mind.
func allowBatches(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil || stream.CachedInfo().Config.AllowAtomicPublish {
		return stream, err
	}
	c := stream.CachedInfo().Config
	c.AllowAtomicPublish = true
	if stream, err = js.UpdateStream(ctx, c); err != nil {
		return nil, fmt.Errorf("the stream %s must be told to take atomic batches (a NATS user needs permission to publish to "+
			"$JS.API.STREAM.UPDATE.%s): %w", name, name, err)
	}
	return stream, nil
}

// follow begins the watch before the context ends. The watch itself goes on after that.
func (d *Directory) follow(ctx context.Context) error {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	late := context.AfterFunc(ctx, stop)
	watch, err := d.kv.WatchAll(watching)
	if !late() {
		if err == nil {
			_ = watch.Stop()
		}
		err = ctx.Err()
	}
	if err != nil {
		stop()
		return err
	}
	d.watch, d.unwatch = watch, stop
	return nil
}

// PublishKey writes a node's public token key into the bucket, unless the bucket has it already. It may block on NATS.
func (d *Directory) PublishKey(ctx context.Context, id string, public []byte) error {
	d.mu.RLock()
	known := bytes.Equal(d.public[id], public)
	d.mu.RUnlock()
	if known {
		return nil
	}
	return d.untilReady(ctx, func(ctx context.Context) error {
		revision, err := d.kv.Put(ctx, keys+"."+id, public)
		if err == nil {
			d.apply(keys+"."+id, public, revision, false)
		}
		return err
	})
}
