package journal

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
)

// A direct get that NATS gives to a replica whose server is frozen is asked again, and does not wait until its time is over.
func TestFrozenReplica(t *testing.T) {
	s := newStage(t)
	var asked atomic.Int32
	const replicas = "_sys_" // the queue group of the replicas that answer direct gets
	if _, err := s.direct.QueueSubscribe("$JS.API.DIRECT.GET."+streamName("", 0), replicas, func(*nats.Msg) { asked.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := s.direct.Flush(); err != nil {
		t.Fatal(err)
	}
	for reads := 0; reads < 3 || asked.Load() == 0; reads++ {
		ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
		found, err := s.journal.of(ours).store.last(ctx, subject.Claim(ours))
		cancel()
		if err != nil || len(found) != 1 {
			t.Fatalf("read %d: %d messages, %v, while the frozen replica was asked %d times", reads, len(found), err, asked.Load())
		}
		if reads > 1000 {
			t.Fatal("the frozen replica is never asked")
		}
	}
}
