package directory

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A node that starts while a cluster of NATS servers elects a leader is refused for a while, and must try again. A single
// NATS server does not elect, so the node tries once.
func TestStartTriesAgainWithAClusterOnly(t *testing.T) {
	away := errors.New("no leader")
	log := slog.New(slog.DiscardHandler)
	for alone, want := range map[bool]int{true: 1, false: 3} {
		tries := 0
		err := untilReady(context.Background(), alone, log, func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a try without a deadline")
			}
			if tries++; tries < 3 {
				return away
			}
			return nil
		})
		if tries != want || (err == nil) == alone {
			t.Errorf("alone %v: %d tries, %v", alone, tries, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := untilReady(ctx, false, log, func(context.Context) error { cancel(); return away }); !errors.Is(err, away) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// A start that takes too long ends with what the NATS servers said last. If they said nothing, the error says that.
func TestStartSaysWhatNATSSaid(t *testing.T) {
	away := errors.New("no leader")
	for name, c := range map[string]struct {
		says []error
		want error
	}{
		"one word, then silence": {[]error{away, context.DeadlineExceeded}, away},
		"silence":                {[]error{nats.ErrTimeout, context.DeadlineExceeded}, ErrNoAnswer},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		err := untilReady(ctx, false, slog.New(slog.DiscardHandler), func(context.Context) error {
			said := c.says[0]
			if len(c.says) > 1 {
				c.says = c.says[1:]
			}
			return said
		})
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A node that starts again finds its key in the bucket and does not write it again.
func TestKeyIsWrittenOnce(t *testing.T) {
	b := newBed(t)
	ctx := context.Background()
	for range 2 {
		d := b.open()
		if err := d.PublishKey(ctx, "abc", []byte("public")); err != nil {
			t.Fatal(err)
		}
		entry, err := d.kv.Get(ctx, keys+".abc")
		if err != nil || entry.Revision() != 1 {
			t.Fatalf("%v: %+v", err, entry)
		}
	}
}
