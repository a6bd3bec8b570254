package route

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// When a node dies, its callers get an answer at once. Only calls that may be repeated are sent to the next owner.
func TestDeadPeer(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	shard := actors.ShardOf(to)
	dead := n.mute("dead")
	n.table.set(shard, "dead")
	n.of["b"].system.Drop(shard, allInDoubt)
	messages := []actors.Message{actors.Show{}, presence.Subscribe{CallID: "s", From: "w@acme.test", Expires: 60}, presence.CallEvent{CallID: "k", State: presence.Early},
		presence.SetManual{State: presence.Early}, presence.Reset{}, presence.End{Reason: "noresource"},
		presence.RegisterEvent{Name: "r", State: presence.Early, Timestamp: time.Now()}, presence.MailboxEvent{Source: to.String(), New: 1}}
	answers := make([]chan actors.Answer, len(messages))
	for i, m := range messages {
		answers[i] = make(chan actors.Answer, 1)
		n.of["a"].router.Go(actors.Request{To: to, Message: m}, func(a actors.Answer) { answers[i] <- a })
	}
	until(t, "all are asked", func() bool { return len(dead.heard()) == len(messages) })
	n.take(shard, "b")
	n.of["a"].router.Gone("dead")
	for i, m := range messages {
		a := <-answers[i]
		if repeated := i < 3; repeated && a.Err != nil || !repeated && !errors.Is(a.Err, actors.ErrUnknown) {
			t.Errorf("%T: %v", m, a.Err)
		}
	}
	if a := n.must("b", to, actors.Show{}); len(a.Subscriptions) != 1 || a.View.State != presence.Early || len(a.View.Dialogs) != 1 {
		t.Errorf("%+v", a)
	}
	if got := len(dead.heard()); got != len(messages) {
		t.Errorf("the dead node was asked %d times", got)
	}
}

// When a shard was taken over, its former owner is not waited for, even if nobody says that it is dead.
func TestTakenOver(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	shard := actors.ShardOf(to)
	frozen := n.mute("frozen")
	n.table.set(shard, "frozen")
	n.of["b"].system.Drop(shard, allInDoubt)
	read, command := make(chan actors.Answer, 1), make(chan actors.Answer, 1)
	deadline := time.Now().Add(time.Minute)
	n.of["a"].router.Go(actors.Request{To: to, Message: actors.Show{}, Deadline: deadline}, func(a actors.Answer) { read <- a })
	n.of["a"].router.Go(actors.Request{To: to, Message: presence.SetManual{State: presence.Early}, Deadline: deadline}, func(a actors.Answer) { command <- a })
	until(t, "both are asked", func() bool { return len(frozen.heard()) == 2 })
	n.take(shard, "b")
	if a := <-read; a.Err != nil {
		t.Errorf("read: %v", a.Err)
	}
	if a := <-command; !errors.Is(a.Err, actors.ErrUnknown) {
		t.Errorf("command: %v", a.Err)
	}
	if n.table.count(to) != 0 {
		t.Error("a command was repeated")
	}
}

// Calls to a frozen node are bounded. Their callers get an answer soon after their deadlines, and calls to other nodes go
// on as before.
func TestFrozenPeer(t *testing.T) {
	const most = 100
	n := startNodes(t, func(c *Config) { c.MaxCalls = most }, "a", "b")
	to := n.at("b", 0)
	frozen := n.mute("frozen")
	n.table.set(actors.ShardOf(to), "frozen")
	n.of["b"].system.Drop(actors.ShardOf(to), allInDoubt)
	r := n.of["a"].router
	answers := make(chan error, 3*most)
	for range 3 * most {
		r.Go(actors.Request{To: to, Message: presence.SetManual{State: presence.Early}, Deadline: time.Now().Add(300 * time.Millisecond)}, func(a actors.Answer) { answers <- a.Err })
	}
	if p := r.peer("frozen"); len(p.pending) > most || p.bytes > most*200 {
		t.Errorf("%d calls, %d bytes in flight", len(p.pending), p.bytes)
	}
	n.must("a", n.at("b", 1), presence.SetManual{State: presence.Early})
	busy, unknown := 0, 0
	for range 3 * most {
		switch err := <-answers; {
		case errors.Is(err, actors.ErrBusy):
			busy++
		case errors.Is(err, actors.ErrUnknown):
			unknown++
		default:
			t.Error(err)
		}
	}
	if busy != 2*most || unknown != most || len(frozen.heard()) != most {
		t.Errorf("%d busy, %d unknown, %d asked", busy, unknown, len(frozen.heard()))
	}
	if p := r.peer("frozen"); len(p.pending) != 0 || p.bytes != 0 {
		t.Errorf("%d calls, %d bytes are left", len(p.pending), p.bytes)
	}
	r.Go(actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(50 * time.Millisecond)}, func(a actors.Answer) { answers <- a.Err })
	if err := <-answers; !errors.Is(err, actors.ErrUnavailable) {
		t.Errorf("a read of a frozen node: %v", err)
	}
}

// The owner drops calls that come too late, whatever the caller's clock shows.
func TestTooLate(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	stray := n.connect()
	replies, err := stray.SubscribeSync("test.lamplight.answers.x.0")
	if err != nil {
		t.Fatal(err)
	}
	send := func(id, deadline, now uint64) error {
		b := wire.AppendHead(nil, presence.Schema, "x")
		b = wire.AppendCall(b, wire.Call{ID: id, Deadline: deadline, Request: actors.Request{To: to, Message: presence.SetManual{State: presence.Early}}})
		if err := stray.Publish("test.lamplight.node.b", wire.AppendNow(b, now, 7)); err != nil {
			t.Fatal(err)
		}
		m, err := replies.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, parts, err := wire.ReadParts(nil, m.Data)
		if err != nil || len(parts) != 1 || parts[0].ID != id {
			t.Fatal(parts, err)
		}
		a, err := wire.ReadAnswer(parts[0].Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.Err
	}
	const far = 1 << 50
	if err := send(1, far+5000, far); err != nil {
		t.Errorf("in time: %v", err)
	}
	if err := send(2, far, far); !errors.Is(err, actors.ErrTimeout) {
		t.Errorf("past its deadline: %v", err)
	}
	if err := send(3, far-90_000, far-100_000); !errors.Is(err, actors.ErrTimeout) {
		t.Errorf("held up on its way for 100 s: %v", err)
	}
	if err := send(4, 0, 1<<62); !errors.Is(err, actors.ErrTimeout) {
		t.Errorf("times that no clock has: %v", err)
	}
	if got := n.table.count(to); got != 1 {
		t.Errorf("set %d times", got)
	}
}

func TestSkew(t *testing.T) {
	var s skew
	for i, step := range []struct{ ours, theirs, late int64 }{
		{1_000_000, 50, 0}, {1_000_100, 150, 0}, {1_000_300, 150, 200}, {1_000_310, 365, 0}, {1_031_000, 31_055, 0}, {1_031_500, 31_055, 500},
		{1_062_000, 61_955, 100}, {1_093_000, 92_955, 0}, // the other clock was slow; a new window no longer counts that
	} {
		if got := s.late(step.ours, step.theirs); got != step.late {
			t.Errorf("step %d: late by %d, want %d", i, got, step.late)
		}
	}
}

// Whatever a peer sends that is not a node of ours, it does no harm.
func TestStrayMessages(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	stray := n.connect()
	call := wire.AppendCall(wire.AppendHead(nil, presence.Schema, "x"), wire.Call{ID: 1, Deadline: 1000, Request: actors.Request{Message: actors.Show{}}})
	for _, data := range [][]byte{nil, {}, {1, 2, 3}, make([]byte, 100_000), call, wire.AppendHead(nil, presence.Schema, ""), wire.AppendNow(call, 1, 1)} {
		for _, subject := range []string{"node.a", "node.b", "answers.a.0", "answers.a.77", "answers.b.xx"} {
			if err := stray.PublishRequest("test.lamplight."+subject, "test.lamplight.node.a", data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stray.Flush(); err != nil {
		t.Fatal(err)
	}
	n.must("a", n.at("b", 0), presence.SetManual{State: presence.Early})
	n.must("b", n.at("a", 0), presence.SetManual{State: presence.Early})
}

// When the connection is lost, calls that were sent over it are not waited for.
func TestConnectionLost(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	frozen := n.mute("frozen")
	n.table.set(actors.ShardOf(to), "frozen")
	n.of["b"].system.Drop(actors.ShardOf(to), allInDoubt)
	command := make(chan error, 1)
	n.of["a"].router.Go(actors.Request{To: to, Message: presence.SetManual{State: presence.Early}, Deadline: time.Now().Add(time.Minute)}, func(a actors.Answer) { command <- a.Err })
	until(t, "it is asked", func() bool { return len(frozen.heard()) == 1 })
	if err := n.of["a"].conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	if err := <-command; !errors.Is(err, actors.ErrUnknown) {
		t.Error(err)
	}
	n.must("a", n.at("b", 1), actors.Show{}) // works as soon as the connection is there again
}

// Without NATS a node answers soon that the other nodes are out of reach. Its callers need not wait until their deadlines.
func TestCutOff(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to, r := n.at("b", 0), n.of["a"].router
	n.server.Shutdown()
	n.server.WaitForShutdown()
	errs := make(chan error, 3)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		errs <- r.Request(ctx, actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(time.Hour)}).Err
		_, err := r.ResetRealm(ctx, to.Realm, presence.Origin{})
		errs <- err
		cover, _ := r.List(ctx, actors.Query{Realm: to.Realm}, func(actors.SubscriptionView) error { return nil })
		if len(cover.Missing) == 0 {
			errs <- errors.New("b's shards are not missing")
			return
		}
		errs <- nil
	}()
	for _, want := range []error{actors.ErrUnavailable, actors.ErrUnknown, nil} {
		select {
		case err := <-errs:
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no answer, want %v", want)
		}
	}
}

// Stop leaves no request of this node without an answer, and after it the node answers no other node.
func TestStop(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	n.mute("frozen")
	n.table.set(actors.ShardOf(to), "frozen")
	n.of["b"].system.Drop(actors.ShardOf(to), allInDoubt)
	nobody := n.at("b", 1)
	n.drop(actors.ShardOf(nobody), "b")
	answers := make(chan error, 2)
	for _, a := range []actors.Address{to, nobody} {
		n.of["a"].router.Go(actors.Request{To: a, Message: presence.SetManual{State: presence.Early}}, func(a actors.Answer) { answers <- a.Err })
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.of["a"].router.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-answers; err == nil {
			t.Error("answered without an owner")
		}
	}
	if a := n.of["b"].ask(n.at("a", 0), actors.Show{}, 200*time.Millisecond); !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("a stopped node answers: %v", a.Err)
	}
}

// Nodes of earlier releases acknowledge a command that changes nothing while they have lost NATS, and mark the answer as stale.
// Such an answer acknowledges nothing (docs/contract/journal.md, rule 1). A read may be stale.
func TestRule1StaleAnswerToACommand(t *testing.T) {
	n := startNodes(t, nil, "a")
	n.mute("b")
	r := n.of["a"].router
	for _, m := range []actors.Message{actors.Show{}, presence.SetManual{State: presence.Early}, presence.CallEvent{CallID: "k", State: presence.Early}} {
		answer := make(chan actors.Answer, 1)
		q := &try{router: r, req: actors.Request{Message: m, Deadline: time.Now().Add(time.Minute)}, done: func(a actors.Answer) { answer <- a }}
		if err := r.peer("b").send(q); err != nil {
			t.Fatal(err)
		}
		data := wire.AppendPart(wire.AppendHead(nil, presence.Schema, "b"), wire.Part{ID: q.id}, wire.AppendAnswer(nil, &actors.Answer{Stale: true}))
		r.answered(&nats.Msg{Subject: r.answersPrefix + "0", Data: data})
		if _, read := m.(actors.Show); read {
			if a := <-answer; a.Err != nil || !a.Stale {
				t.Errorf("a stale read: %+v", a)
			}
		} else if a := <-answer; !errors.Is(a.Err, actors.ErrUnavailable) {
			t.Errorf("%T: %+v", m, a)
		}
	}
}

// An answer in parts counts only when all parts have come. When one was lost, the call ends at its deadline.
func TestParts(t *testing.T) {
	n := startNodes(t, nil, "a")
	n.mute("b")
	r := n.of["a"].router
	p := r.peer("b")
	send := func() (*try, chan actors.Answer) {
		answer := make(chan actors.Answer, 1)
		q := &try{router: r, req: actors.Request{Message: actors.Show{}, Deadline: time.Now().Add(time.Minute)}, done: func(a actors.Answer) { answer <- a }}
		if err := p.send(q); err != nil {
			t.Fatal(err)
		}
		return q, answer
	}
	body := string(wire.AppendAnswer(nil, &actors.Answer{Subscriptions: []actors.SubscriptionView{{CallID: "c1"}, {CallID: "c2"}}}))
	part := func(q *try, number, from, to int) *nats.Msg {
		data := wire.AppendPart(wire.AppendHead(nil, presence.Schema, "b"), wire.Part{ID: q.id, Number: number, More: to < len(body)}, []byte(body[from:to]))
		return &nats.Msg{Subject: r.answersPrefix + "0", Data: data}
	}
	whole, answer := send()
	holed, none := send()
	for _, m := range []*nats.Msg{part(whole, 0, 0, 3), part(holed, 0, 0, 3), part(whole, 0, 0, 3), part(whole, 1, 3, 5), part(holed, 2, 5, len(body)), part(whole, 2, 5, len(body))} {
		r.answered(m)
	}
	if a := <-answer; a.Err != nil || len(a.Subscriptions) != 2 || a.Subscriptions[1].CallID != "c2" {
		t.Errorf("%+v", a)
	}
	select {
	case a := <-none:
		t.Errorf("an answer with a hole: %+v", a)
	default:
	}
	p.mu.Lock()
	left := len(p.pending)
	bytes := p.bytes
	p.mu.Unlock()
	if left != 1 || bytes != holed.size+3 {
		t.Errorf("%d calls, %d bytes in flight", left, bytes)
	}
}
