package directory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

// What one node has just acknowledged is known to another node, whichever method is asked.
func TestNewOnAnotherNodeIsKnownAtOnce(t *testing.T) {
	b := newBed(t)
	one, two := b.open(), b.open()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range 50 {
		id, realm, key := NewID(), fmt.Sprintf("r%d.test", i), NewID()
		if _, err := one.Put(ctx, id, Accounts, id, id, map[string]any{"realm": realm, "api_key": key}, nil); err != nil {
			t.Fatal(err)
		}
		if holder, err := two.FindRealm(ctx, realm); err != nil || holder != id {
			t.Fatalf("realm %d: %q %v", i, holder, err)
		}
		if _, err := one.Put(ctx, id, Devices, id, id, map[string]any{"presence_id": "1@" + realm}, nil); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		switch i % 3 {
		case 0:
			two.AskRealm(realm, func(err error) { answer <- err })
		case 1:
			_, err := two.AccountByAPIKey(ctx, key)
			answer <- err
		case 2:
			_, err := two.Get(ctx, Devices, id, id)
			answer <- err
		}
		if err := <-answer; err != nil {
			t.Fatalf("asked another way (%d): %v", i, err)
		}
	}
}

// A flood of unknown names waits in a bounded queue, costs the bucket few questions, and blocks no caller.
func TestFloodOfUnknownRealms(t *testing.T) {
	b := newBed(t)
	d := b.open()
	const flood = 50_000
	var unknown, busy, other atomic.Int64
	done := make(chan struct{})
	left := atomic.Int64{}
	left.Store(flood)
	before := b.conn.Stats().OutMsgs
	for i := range flood {
		d.AskRealm(fmt.Sprintf("none%d.test", i), func(err error) {
			switch {
			case errors.Is(err, ErrUnknown):
				unknown.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				other.Add(1)
			}
			if left.Add(-1) == 0 {
				close(done)
			}
		})
		d.ask.mu.Lock()
		n := len(d.ask.waiting)
		d.ask.mu.Unlock()
		if n > maxAsking {
			t.Fatalf("%d wait", n)
		}
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%d were never answered", left.Load())
	}
	if unknown.Load() == 0 || busy.Load() == 0 || other.Load() != 0 {
		t.Errorf("%d unknown, %d refused, %d otherwise", unknown.Load(), busy.Load(), other.Load())
	}
	if asked := b.conn.Stats().OutMsgs - before; asked > flood/10 {
		t.Errorf("%d questions for %d names", asked, flood)
	}
}

// When the directory stops, callers that wait get an answer, and so do later ones.
func TestStopAnswersWhoWaits(t *testing.T) {
	b := newBed(t)
	d := b.open()
	answers := make(chan error, 101)
	for range 100 {
		d.AskRealm("none.test", func(err error) { answers <- err })
	}
	_ = d.Stop(t.Context())
	d.AskRealm("none.test", func(err error) { answers <- err })
	for range 101 {
		select {
		case err := <-answers:
			if err == nil {
				t.Fatal("an unknown realm is known")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no answer")
		}
	}
}
