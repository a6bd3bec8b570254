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
	log := slog.New(slog.DiscardHandler)
	for alone, want := range map[bool]int{true: 1, false: 3} {
		tries := 0
		err := patient(context.Background(), alone, log, func(ctx context.Context) error {
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
	if err := patient(ctx, false, log, func(context.Context) error { cancel(); return away }); !errors.Is(err, away) {
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
