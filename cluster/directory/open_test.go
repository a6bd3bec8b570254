package directory

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

// A node that starts while the servers of a cluster elect is refused for a while, and must not give up; a server that
// stands alone does not elect.
func TestStartIsPatientWithAClusterOnly(t *testing.T) {
	away := errors.New("no leader")
	for replicas, want := range map[int]int{1: 1, 3: 3} {
		d := New(Config{Replicas: replicas, Log: slog.New(slog.DiscardHandler)})
		tries := 0
		err := d.patient(context.Background(), func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a try without a deadline")
			}
			if tries++; tries < 3 {
				return away
			}
			return nil
		})
		if tries != want || (err == nil) != (replicas > 1) {
			t.Errorf("%d replicas: %d tries, %v", replicas, tries, err)
		}
	}
	d := New(Config{Replicas: 3, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	if err := d.patient(ctx, func(context.Context) error { cancel(); return away }); !errors.Is(err, away) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// A restarted node's key is in the bucket already: nothing need be written for it.
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
