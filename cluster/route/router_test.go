package route

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

func TestAnyNodeAnswers(t *testing.T) {
	n := startNodes(t, nil, "a", "b.example", "c d*")
	for i, owner := range n.named {
		to := n.at(owner, i)
		for _, from := range n.named {
			n.must(from, to, presence.Subscribe{CallID: "sub-" + from, From: "w@acme.test", ServerID: "edge", Expires: 600})
			n.must(from, to, presence.CallEvent{CallID: "call-" + from, State: presence.Early, Timestamp: time.Now()})
			n.must(from, to, presence.MailboxEvent{Source: to.String(), New: 2})
			n.must(from, to, presence.SetManual{State: presence.Confirmed})
			n.must(from, to, presence.Notified{CallID: "sub-" + from, Sequence: 1, Reply: 200})
		}
		for _, from := range n.named {
			a := n.must(from, to, actors.Show{Explain: true})
			if a.View.State != presence.Early || len(a.View.Dialogs) != 4 || len(a.Subscriptions) != 3 || a.Explanation.Node != owner || a.View.Messages.New != 2 {
				t.Errorf("%v from %s: %+v", to, from, a)
			}
		}
		n.must("a", to, presence.RegisterEvent{Name: "park", State: presence.Confirmed})
		n.must("a", to, presence.Reset{Then: presence.Confirmed})
		if a := n.must("b.example", to, actors.Show{}); a.View.State != presence.Confirmed || len(a.View.Dialogs) != 1 {
			t.Errorf("after a reset: %+v", a.View)
		}
		if a := n.of["a"].ask(to, presence.Subscribe{CallID: "", Expires: 5}, time.Second); !errors.Is(a.Err, presence.ErrInvalid) {
			t.Errorf("no Call-ID: %v", a.Err)
		}
	}
}

func TestCallsAreGathered(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	var messages atomic.Int32
	if _, err := n.of["b"].conn.Subscribe("test.lamplight.node.b", func(*nats.Msg) { messages.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := n.of["b"].conn.Flush(); err != nil {
		t.Fatal(err)
	}
	p := n.of["a"].router.peer("b")
	p.mu.Lock()
	p.sending = true // as if flush were running, so that the calls wait for the test to run it
	p.mu.Unlock()
	var answers sync.WaitGroup
	const calls = 2*batchCalls + 10
	for range calls {
		answers.Add(1)
		n.of["a"].router.Go(actors.Request{To: n.at("b", 0), Message: actors.Show{}}, func(a actors.Answer) {
			if a.Err != nil {
				t.Error(a.Err)
			}
			answers.Done()
		})
	}
	p.flush()
	answers.Wait()
	until(t, "the messages are counted", func() bool { return messages.Load() >= 3 })
	if got := messages.Load(); got != 3 {
		t.Errorf("%d calls went in %d messages", calls, got)
	}
}

// While shards move, only requests fail that were on their way to the journal, and no command is carried out twice.
func TestShardsMoveUnderLoad(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	stop := make(chan struct{})
	var moving, load sync.WaitGroup
	to := []actors.Address{n.at("a", 0), n.at("b", 0), n.at("c", 0), n.at("c", 1)}
	moving.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			shard := actors.ShardOf(to[i%len(to)])
			n.drop(shard, n.table.Holder(shard))
			n.take(shard, n.named[i%3])
		}
	})
	const rounds = 60
	var done [4]int
	for w, a := range to {
		load.Go(func() {
			for i := range rounds {
				from := n.of[n.named[(w+i)%3]]
				state := []presence.State{presence.Early, presence.Confirmed}[i%2]
				switch an := from.ask(a, presence.SetManual{State: state}, 20*time.Second); {
				case an.Err == nil:
					done[w]++
				case errors.Is(an.Err, actors.ErrUnknown):
					continue
				default:
					t.Errorf("set: %v", an.Err)
				}
				if an := n.of[n.named[i%3]].ask(a, actors.Show{}, 20*time.Second); an.Err != nil || an.View.State != state {
					t.Errorf("show: %v %+v", an.Err, an.View)
				}
			}
		})
	}
	load.Wait()
	close(stop)
	moving.Wait()
	for w, a := range to {
		if got := n.table.count(a); got < done[w] || got > rounds || done[w] == 0 {
			t.Errorf("%v was set %d times, acknowledged %d times, asked %d times", a, got, done[w], rounds)
		}
	}
}

// A request waits for a shard that has no owner yet, and for an owner that does not answer yet.
func TestWaitsForTheOwner(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	shard := actors.ShardOf(to)
	n.drop(shard, "b")
	for _, message := range []actors.Message{presence.SetManual{State: presence.Early}, actors.Show{}} {
		if a := n.of["a"].ask(to, message, 60*time.Millisecond); !errors.Is(a.Err, actors.ErrUnavailable) {
			t.Errorf("%T without an owner: %v", message, a.Err)
		}
	}
	answer := make(chan actors.Answer, 2)
	ask := func() {
		n.of["a"].router.Go(actors.Request{To: to, Message: presence.SetManual{State: presence.Early}}, func(a actors.Answer) { answer <- a })
	}
	ask() // no holder
	until(t, "it waits", func() bool { return n.of["a"].router.waits() == 1 })
	n.table.set(shard, "nowhere") // a holder that does not exist
	ask()
	until(t, "they were tried", func() bool { return counted(n.of["a"].router.metrics.retried) >= 4 })
	n.take(shard, "b")
	for range 2 {
		if a := <-answer; a.Err != nil {
			t.Error(a.Err)
		}
	}
}

// When an owner cannot tell whether a command is durable, the caller learns so and the command is not sent again. News is.
func TestUnknownAtTheOwner(t *testing.T) {
	n := startNodes(t, nil, "a", "b", "c")
	to := n.at("b", 0)
	shard := actors.ShardOf(to)
	n.of["b"].journal.Set(func(j *actorstest.Settings) { j.Hold = true })
	command, news := make(chan error, 1), make(chan error, 1)
	n.of["a"].router.Go(actors.Request{To: to, Message: presence.SetManual{State: presence.Early}}, func(a actors.Answer) { command <- a.Err })
	n.of["a"].router.Go(actors.Request{To: to, Message: presence.CallEvent{CallID: "k", State: presence.Confirmed}}, func(a actors.Answer) { news <- a.Err })
	until(t, "both are written", func() bool {
		n.table.mu.Lock()
		defer n.table.mu.Unlock()
		return n.table.written[presence.KindManual] == 1 && n.table.written[presence.KindCall] == 1
	})
	n.drop(shard, "b")
	n.take(shard, "c")
	if err := <-command; !errors.Is(err, actors.ErrUnknown) {
		t.Errorf("command: %v", err)
	}
	if err := <-news; err != nil {
		t.Errorf("news: %v", err)
	}
	if got := n.table.count(to); got != 1 {
		t.Errorf("set %d times", got)
	}
}

func TestLargeAnswers(t *testing.T) {
	n := startNodes(t, nil, "a", "b")
	to := n.at("b", 0)
	const watchers = 5_000 // over a megabyte, in several parts
	var done sync.WaitGroup
	for i := range watchers {
		done.Add(1)
		n.of["a"].router.Go(actors.Request{To: to, Message: presence.Subscribe{CallID: fmt.Sprintf("call-%d@10.0.0.9", i), From: fmt.Sprintf("%d@acme.test", i),
			Contact: fmt.Sprintf("<sip:%d@10.0.0.9:5060>", i), ServerID: "edge", Expires: 3600}}, func(a actors.Answer) {
			if a.Err != nil {
				t.Error(a.Err)
			}
			done.Done()
		})
		if i%500 == 0 {
			done.Wait()
		}
	}
	done.Wait()
	far, near := n.must("a", to, actors.Show{Explain: true}), n.must("b", to, actors.Show{Explain: true})
	if len(far.Subscriptions) != watchers {
		t.Fatalf("%d watchers", len(far.Subscriptions))
	}
	for i := range near.Subscriptions { // a time from another node has no monotonic part
		if !near.Subscriptions[i].Renewed.Equal(far.Subscriptions[i].Renewed) {
			t.Fatal("Renewed differs")
		}
		near.Subscriptions[i].Renewed = far.Subscriptions[i].Renewed
	}
	if !reflect.DeepEqual(far.Subscriptions, near.Subscriptions) || !reflect.DeepEqual(far.Explanation.Watchers, near.Explanation.Watchers) {
		t.Error("the answer of another node differs from the owner's own")
	}
}
