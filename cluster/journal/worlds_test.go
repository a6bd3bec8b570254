package journal

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

func (s *stage) stream() (jetstream.JetStream, jetstream.Stream) {
	s.Helper()
	js, err := jetstream.New(s.direct)
	if err != nil {
		s.Fatal(err)
	}
	st, err := js.Stream(s.Context(), streamName("", 0))
	if err != nil {
		s.Fatal(err)
	}
	return js, st
}

// openedAnew checks that the shard is dropped, opened again, and takes writes.
func (s *stage) openedAnew() {
	s.Helper()
	s.until("drop")
	s.claim = s.until("open").claim
	s.ticket = 0
	s.write("k", "afterwards")
	s.durable()
	s.holds("afterwards")
}

// A stream that somebody deletes while nodes run counts as another one when it is there again (docs/contract/journal.md,
// rule 10), whether an operator makes it again at once or the nodes do so later.
func TestStreamDeleted(t *testing.T) {
	for name, byHand := range map[string]bool{"and made again": true, "and not made again": false} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			before := s.claim
			s.write("k", "before")
			s.durable()
			js, st := s.stream()
			settings := st.CachedInfo().Config
			if err := js.DeleteStream(context.Background(), settings.Name); err != nil {
				t.Fatal(err)
			}
			if byHand {
				if _, err := js.CreateStream(context.Background(), settings); err != nil {
					t.Fatal(err)
				}
			}
			s.openedAnew()
			if s.claim.Epoch.Equal(before.Epoch) {
				t.Error("the claim is of the stream before")
			}
		})
	}
}

// A stream in files that is deleted while nodes run is not made again, empty: what it held is not for a node to give up. The log says
// what to do.
func TestStreamDeletedIsNotMadeAgain(t *testing.T) {
	s := newStage(t, func(c *Config) { c.AcceptLoss = false })
	js, st := s.stream()
	settings := st.CachedInfo().Config
	if err := js.DeleteStream(context.Background(), settings.Name); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(testTimeout); strings.Count(s.logged.String(), "--accept-loss") < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log says nothing:\n%s", s.logged.String())
		}
	}
	if _, err := js.Stream(context.Background(), settings.Name); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream is there again: %v", err)
	}
	if _, err := js.CreateStream(context.Background(), settings); err != nil { // so that the journal can stop
		t.Fatal(err)
	}
	s.openedAnew()
}

// A stream that an operator purges has lost its end: its shards are claimed anew, with higher generations (rule 10).
func TestStreamPurged(t *testing.T) {
	s := newStage(t)
	before := s.claim
	_, st := s.stream()
	if err := st.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.openedAnew()
	if s.claim.Generation <= before.Generation || !s.claim.Epoch.Equal(before.Epoch) {
		t.Errorf("%+v after %+v", s.claim, before)
	}
}

// The reading of shards for a claim of another stream ends, and does not keep other shards from being read.
func TestReplaysOfAnotherWorldEnd(t *testing.T) {
	s := newStage(t)
	st := s.journal.of(ours)
	st.mu.Lock()
	for range 2 * maxReplays {
		old := ownership.Action{Kind: ownership.Replay, Range: our + 1, Expect: 1 << 40, Claim: ownership.Claim{Node: "a", Nonce: 1, Generation: 1}}
		st.act([]ownership.Action{old})
	}
	st.mu.Unlock()
	other := ownership.Claim{Node: "b", Incarnation: "other", Nonce: 1, Generation: s.claim.Generation + 1, Epoch: s.claim.Epoch.UnixNano()}
	if _, err := s.direct.Request("lamplight.journal.0."+subject.Claim(our), encodeClaim(1, other), testTimeout); err != nil {
		t.Fatal(err)
	}
	s.openedAnew()
}

// A process that was frozen does not conclude that NATS was away. It answers nothing from old memory, not even marked as
// stale, before it has learned what became of its shards (docs/contract/journal.md, rule 1).
func TestFrozenProcessAnswersNothing(t *testing.T) {
	s := newStage(t)
	st := s.journal.of(ours)
	st.mu.Lock()
	defer st.mu.Unlock() // with the lock held, tick does not run
	long := int64(boottime() - 10*cutOffAfter)
	st.answerUntil.Store(long)
	st.ticked.Store(long)
	if got := s.journal.Standing(ours, s.claim.Generation); got != actors.Unsure {
		t.Errorf("standing %d", got)
	}
	st.ticked.Store(int64(boottime())) // the process runs again, since a moment ago
	st.awakeSince.Store(int64(boottime()))
	if got := s.journal.Standing(ours, s.claim.Generation); got != actors.Unsure {
		t.Errorf("standing %d right after it woke up", got)
	}
	st.awakeSince.Store(long)
	st.ticked.Store(int64(boottime())) // the process ran all the time, and NATS took no heartbeat
	if got := s.journal.Standing(ours, s.claim.Generation); got != actors.CutOff {
		t.Errorf("standing %d without NATS", got)
	}
}

// Leases stay when their nodes are gone for good. A node can start even when there are more of them than one answer holds.
func TestMoreLeasesThanOneAnswerHolds(t *testing.T) {
	s := newStage(t)
	js, _ := s.stream()
	for i := range 1100 {
		l := ownership.Lease{Node: "n" + strconv.Itoa(i), Incarnation: "gone", Left: true}
		if _, err := js.PublishAsync("lamplight.journal.0.lease."+l.Node, encodeLease(1, l)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	st := s.journal.of(ours)
	st.mu.Lock()
	clear(st.cursor) // as if the node started
	st.mu.Unlock()
	for late := time.Now().Add(testTimeout); !st.readNew("lease.*"); {
		if time.Now().After(late) {
			t.Fatal("the leases are never seen")
		}
	}
	n := 0
	st.mu.Lock()
	st.machine.Leases(func(ownership.Lease) { n++ })
	st.mu.Unlock()
	if n != 1101 {
		t.Errorf("%d leases are seen", n)
	}
}

// A node that runs does not begin in a journal that is being restored until the restore has ended.
func TestRestoreWhileANodeRuns(t *testing.T) {
	s := newStage(t)
	js, st := s.stream()
	settings := st.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), settings.Name); err != nil {
		t.Fatal(err)
	}
	settings.Metadata[restoringKey] = "some"
	if _, err := js.CreateStream(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	our := s.journal.of(ours)
	our.readLease(ownership.Action{Kind: ownership.ReadLease, Node: "a"})
	our.mu.Lock()
	if !our.store.created.Equal(s.claim.Epoch) {
		t.Error("the node has begun in a journal that is not whole")
	}
	our.mu.Unlock()
	delete(settings.Metadata, restoringKey)
	if _, err := js.UpdateStream(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	s.openedAnew()
}
