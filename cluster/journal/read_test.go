package journal

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

// A direct get that NATS gives to a replica whose server is frozen, or freezes while it answers, is asked again. It does not wait
// until its time is over.
func TestFrozenReplica(t *testing.T) {
	server := natstest.Start(t, "")
	replica := natstest.Connect(t, server)
	answer := func(m *nats.Msg, header nats.Header, data string) {
		_ = replica.PublishMsg(&nats.Msg{Subject: m.Reply, Header: header, Data: []byte(data)})
	}
	record := nats.Header{nats.JSSubject: []string{"lamplight.journal.0.7.claim"}, nats.JSSequence: []string{"5"}}
	asked := 0
	_, err := replica.Subscribe("$JS.API.DIRECT.GET.S", func(m *nats.Msg) {
		switch asked++; asked {
		case 1: // frozen
		case 2: // it freezes between two messages
			answer(m, record, "half an answer")
		default:
			answer(m, record, "all")
			answer(m, nats.Header{"Status": []string{"204"}}, "")
		}
	})
	if err == nil {
		err = replica.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	found, err := (&store{nc: natstest.Connect(t, server), name: "S"}).last(ctx, "7.claim")
	if err != nil || len(found) != 1 || string(found[0].Data) != "all" || asked != 3 {
		t.Errorf("%d messages, %v, asked %d times", len(found), err, asked)
	}
}
