package amqp

import (
	"context"
	"errors"
	"testing"
	"time"

	"lamplight/actors/presence"
)

// acks notes what is acknowledged.
type acks chan uint64

func (a acks) Ack(tag uint64, multiple bool) error {
	if !multiple {
		return errors.New("one by one")
	}
	a <- tag
	return nil
}

// No message is acknowledged before all that came before it are done.
func TestAcknowledge(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	sent, done, ended := make(acks, 10), make(chan uint64), make(chan struct{})
	go func() { acknowledge(ctx, sent, done); close(ended) }()
	for _, tag := range []uint64{2, 3, 1} {
		done <- tag
	}
	if tag := <-sent; tag != 3 {
		t.Errorf("%d is acknowledged first; 2 and 3 came before 1 was done", tag)
	}
	done <- 4
	if tag := <-sent; tag != 4 {
		t.Errorf("%d is acknowledged instead of 4", tag)
	}
	cancel()
	<-ended
}

// A call ends when two answers in a row about its switch do not list it, and not while it is young.
func TestEnded(t *testing.T) {
	c := calls{known: map[callKey]knownCall{}}
	now := time.Now()
	of := presence.Address{Realm: realm, User: "1001"}
	for id, uri := range map[string]string{"runs": fs1, "lost": fs1, "elsewhere": another} {
		c.note(of, &presence.CallEvent{CallID: id, State: presence.Confirmed, SwitchURI: uri}, now)
	}
	c.note(of, &presence.CallEvent{CallID: "young", State: presence.Early, SwitchURI: fs1URL}, now.Add(time.Minute))
	about := map[string]bool{fs1: true}
	now = now.Add(time.Minute)
	for i, want := range []int{0, 1} {
		if all := c.ended(map[string]bool{"runs": true}, about, 30*time.Second, now); len(all) != want || want == 1 && all[0].callID != "lost" {
			t.Errorf("answer %d ends %v", i+1, all)
		}
	}
	c.note(of, &presence.CallEvent{CallID: "runs", State: presence.Terminated, Undirected: true}, now)
	if all := c.ended(map[string]bool{}, about, 30*time.Second, now.Add(time.Minute)); len(all) != 1 || all[0].callID != "young" {
		t.Errorf("the young call and the one whose end came: %v", all)
	}
	if len(c.known) != 1 {
		t.Errorf("%v are remembered; only that of another switch should be", c.known)
	}
}
