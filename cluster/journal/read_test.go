package journal

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/natsd/natstest"
)

// replicas answers the direct gets of stream S as the replicas of a stream do. answer is called for the first question with 1, for
// the next with 2, and so on, always on the same goroutine.
func replicas(t *testing.T, answer func(question int, say func(status, data string))) *store {
	server := natstest.Start(t, "")
	replica := natstest.Connect(t, server)
	asked := 0
	_, err := replica.Subscribe("$JS.API.DIRECT.GET.S", func(m *nats.Msg) {
		asked++
		answer(asked, func(status, data string) {
			header := nats.Header{nats.JSSubject: []string{"lamplight.journal.0.7.claim"}, nats.JSSequence: []string{"5"}}
			if status != "" {
				header = nats.Header{"Status": []string{status}}
			}
			_ = replica.PublishMsg(&nats.Msg{Subject: m.Reply, Header: header, Data: []byte(data)})
		})
	})
	if err == nil {
		err = replica.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &store{nc: natstest.Connect(t, server), name: "S"}
}

// A direct get that NATS gives to a replica whose server is frozen, or freezes while it answers, is asked again, also when NATS
// chooses the frozen replica several times in a row. It does not wait until its time is over.
func TestFrozenReplica(t *testing.T) {
	const frozen = 6
	s := replicas(t, func(question int, say func(status, data string)) {
		switch {
		case question == 2: // it freezes between two messages
			say("", "half an answer")
		case question > frozen:
			say("", "all")
			say("204", "")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*frozen*replicaPatience)
	defer cancel()
	found, _, err := s.last(ctx, "7.claim")
	if err != nil || len(found) != 1 || string(found[0].Data) != "all" {
		t.Errorf("%d messages, %v", len(found), err)
	}
}

// A replica that takes longer than replicaPatience to answer is asked again, but its first answer counts.
func TestSlowReplica(t *testing.T) {
	var first func(status, data string)
	s := replicas(t, func(question int, say func(status, data string)) {
		switch question {
		case 1:
			first = say
			say("", "a")
		case 2:
			say("", "another")
		case 3:
			first("", "b")
			first("204", "")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	found, _, err := s.last(ctx, "7.claim")
	var all []string
	for _, m := range found {
		all = append(all, string(m.Data))
	}
	if got := strings.Join(all, " "); err != nil || got != "a b" {
		t.Errorf("the answer is %q, %v", got, err)
	}
}

// Every shard is read with the switches that are gone, which the first shard of its stream keeps, and with nothing else of that shard.
func TestSwitchesGoneAreReadWithEveryShard(t *testing.T) {
	s := newStage(t)
	s.write("ours", "ours")
	s.durable()
	generation := uint64(0)
	for late := time.Now().Add(testTimeout); generation == 0 && time.Now().Before(late); time.Sleep(time.Millisecond) {
		stream := s.journal.of(0)
		stream.mu.Lock()
		generation = s.shards.generations[0]
		stream.mu.Unlock()
	}
	s.journal.Write(0, generation, actors.Address{}, []presence.Record{{Kind: presence.KindGone, Key: "sip:one", Data: []byte("gone"), Life: time.Minute}})
	s.journal.Write(0, generation, someone, []presence.Record{{Kind: presence.KindManual, Key: "m", Data: []byte("of shard 0")}})
	for late := time.Now().Add(testTimeout); !s.kept()["gone"] && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	s.holds("ours", "gone")
	want := []string{"ours", "gone"}
	for i := range 1100 {
		s.write(strconv.Itoa(i), strconv.Itoa(i))
		want = append(want, strconv.Itoa(i))
	}
	s.durable()
	s.holds(want...)
}
