package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
)

// handJournal is a journal in the test's hand.
type handJournal struct {
	mu          sync.Mutex
	mine        bool
	standing    atomic.Uint32
	holdBack    bool // writes stay without an answer
	held        []func()
	system      *System
	number      atomic.Uint32
	generations [Shards]uint64
	tickets     [Shards]uint64
}

func (j *handJournal) Write(shard int, generation uint64, _ Address, _ []presence.Record, _ bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.generations[shard] != generation {
		j.generations[shard], j.tickets[shard] = generation, 0
	}
	j.tickets[shard]++
	ticket := j.tickets[shard]
	durable := func() { j.system.Durable(shard, ticket) }
	if j.holdBack {
		j.held = append(j.held, durable)
		return
	}
	durable()
}
func (j *handJournal) Standing(int, uint64) Standing { return Standing(j.standing.Load()) }
func (j *handJournal) Flushed(int, uint64)           {}
func (j *handJournal) Vouch(generations *[Shards]uint64) bool {
	if j.Standing(0, 0) == Unsure {
		*generations = [Shards]uint64{}
	}
	return j.Standing(0, 0) == CutOff
}
func (j *handJournal) Mine(int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mine
}
func (j *handJournal) set(mine, holdBack bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mine, j.holdBack = mine, holdBack
}
func (j *handJournal) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, durable := range j.held {
		durable()
	}
	j.held, j.holdBack = nil, false
}
func (j *handJournal) Number(_ int, _ uint64, counter uint32) (uint32, uint32, bool) {
	return j.number.Add(1), counter + 1, true
}
func (j *handJournal) Reload(int, func([]Stored, error)) {}

type deaf struct{}

func (deaf) Notify(Notification) {}
func (deaf) Lamp(LampNews)       {}

func startSystem(t *testing.T) (*System, *handJournal) {
	t.Helper()
	j := &handJournal{}
	s := NewSystem(Config{Node: "a", Mailbox: 16, Journal: j, Notifier: deaf{}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Rules: presence.Rules{CallLease: time.Hour, Grace: 20 * time.Second, TombstoneLife: time.Minute, MaxWatchers: 100, MaxCalls: 100, MaxTombstones: 100}})
	j.system = s
	_ = s.Start(t.Context())
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s, j
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

var desk = Address{Realm: "acme.test", User: "1001"}

func ask(s *System, to Address, m Message) <-chan Answer {
	answer := make(chan Answer, 2) // a second answer would be seen
	s.Do(Request{To: to, Message: m, Deadline: time.Now().Add(time.Minute)}, func(a Answer) { answer <- a }, false)
	return answer
}

func (s *System) openAll(t *testing.T, generation uint64) {
	t.Helper()
	for shard := range Shards {
		s.Open(shard, Opening{Claim: Claim{Generation: generation}, Since: time.Now()})
	}
	for shard := range Shards {
		until(t, "the shard is open", func() bool { return s.Generation(shard) == generation })
	}
}

// A shard that is not open keeps requests waiting only while it is to be opened here.
func TestWaitingForAShard(t *testing.T) {
	s, j := startSystem(t)
	shard := ShardOf(desk)
	if a := <-ask(s, desk, Show{}); !errors.Is(a.Err, ErrNotMine) {
		t.Errorf("another's shard: %v", a.Err)
	}
	for name, end := range map[string]func(){
		"dropped":                   func() { s.Drop(shard, 1<<60) },
		"lost without a word of it": func() { j.set(false, false) },
	} {
		j.set(true, false)
		answers := []<-chan Answer{ask(s, desk, Show{}), ask(s, desk, presence.SetManual{State: presence.Early})}
		end()
		for _, answer := range answers {
			if a := <-answer; !errors.Is(a.Err, ErrNotMine) {
				t.Errorf("%s: %v", name, a.Err)
			}
		}
	}
	j.set(true, false)
	answer := ask(s, desk, presence.SetManual{State: presence.Early})
	s.Open(shard, Opening{Claim: Claim{Generation: 3}, Since: time.Now()})
	if a := <-answer; a.Err != nil || s.Generation(shard) != 3 {
		t.Errorf("opened: %v, generation %d", a.Err, s.Generation(shard))
	}
	s.Drop(shard, 1<<60)
	until(t, "it is closed", func() bool { return s.Generation(shard) == 0 })
	j.set(false, false)
	if a := <-ask(s, desk, Show{}); !errors.Is(a.Err, ErrNotMine) {
		t.Errorf("after the drop: %v", a.Err)
	}
}

// A listing that gave up on a shard leaves it whole.
func TestWindowGivesUp(t *testing.T) {
	s, j := startSystem(t)
	s.openAll(t, 1)
	other := Address{Realm: desk.Realm, User: "1002"}
	for _, to := range []Address{desk, other} {
		if a := <-ask(s, to, presence.Subscribe{CallID: "c", From: "w@acme.test", Expires: 60}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	j.set(true, true)
	set := ask(s, desk, presence.SetManual{State: presence.Early})
	until(t, "the write is on its way", func() bool { j.mu.Lock(); defer j.mu.Unlock(); return len(j.held) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	w := s.Window(ctx, Query{Realm: desk.Realm}, "", nil)
	if len(w.Rows) != 1 || w.Rows[0].User != "1002" || w.Covers[ShardOf(desk)] != 0 || w.Covers[ShardOf(other)] != 1 {
		t.Errorf("%d rows, generations %d and %d", len(w.Rows), w.Covers[ShardOf(desk)], w.Covers[ShardOf(other)])
	}
	var only ShardSet
	only.Add(ShardOf(desk))
	if w := s.Window(ctx, Query{Realm: desk.Realm}, "", &only); w.Covers != [Shards]uint64{} {
		t.Error("a shard that did not answer is covered")
	}
	late := make(chan Answer, 1) // by the time that it is given up, so is the listing
	s.Do(Request{To: desk, Message: Show{}, Deadline: time.Now().Add(20 * time.Millisecond)}, func(a Answer) { late <- a }, false)
	if a := <-late; !errors.Is(a.Err, ErrUnavailable) {
		t.Errorf("a read behind a write without an answer: %v", a.Err)
	}
	j.release()
	if a := <-set; a.Err != nil {
		t.Error(a.Err)
	}
	if a := <-ask(s, desk, Show{}); a.Err != nil || a.View.State != presence.Early {
		t.Errorf("%+v", a)
	}
}

func TestWindows(t *testing.T) {
	s, j := startSystem(t)
	s.openAll(t, 7)
	for i := range 10 {
		to := Address{Realm: "acme.test", User: fmt.Sprint(i)}
		if a := <-ask(s, to, presence.Subscribe{CallID: "c", From: "w@acme.test", Expires: 60}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	window := func(from, before string, most int, only *ShardSet) (users, next string, covered int) {
		w := s.Window(context.Background(), Query{Realm: "acme.test", From: from, Limit: most}, before, only)
		for _, r := range w.Rows {
			users += r.User
		}
		for _, generation := range w.Covers {
			if generation == 7 {
				covered++
			}
		}
		return users, w.Next, covered
	}
	var odd ShardSet
	odd.Add(ShardOf(Address{Realm: "acme.test", User: "3"}))
	for _, c := range []struct {
		from, before string
		most         int
		only         *ShardSet
		users, next  string
		covered      int
	}{
		{"", "", 0, nil, "0123456789", "", Shards},
		{"3", "", 4, nil, "3456", "7", Shards},
		{"3", "5", 4, nil, "34", "", Shards},
		{"8", "", 2, nil, "89", "", Shards},
		{"", "", 0, &odd, "3", "", 1},
	} {
		if users, next, covered := window(c.from, c.before, c.most, c.only); users != c.users || next != c.next || covered != c.covered {
			t.Errorf("%+v: %q, next %q, %d covered", c, users, next, covered)
		}
	}
	j.standing.Store(uint32(Unsure))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if w := s.Window(ctx, Query{Realm: "acme.test"}, "", nil); w.Covers != [Shards]uint64{} {
		t.Error("shards are covered without a lease")
	}
	j.standing.Store(uint32(CutOff))
	if w := s.Window(context.Background(), Query{Realm: "acme.test"}, "", nil); !w.Stale || len(w.Rows) != 10 {
		t.Errorf("cut off: stale %v, %d rows", w.Stale, len(w.Rows))
	}
}

func TestCommandRealm(t *testing.T) {
	s, j := startSystem(t)
	s.openAll(t, 1)
	for i := range 200 {
		if a := <-ask(s, Address{Realm: "acme.test", User: fmt.Sprint(i)}, presence.SetManual{State: presence.Early}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	all := AllShards()
	closed := ShardOf(Address{Realm: "acme.test", User: "5"})
	s.Drop(closed, 1<<60)
	until(t, "it is closed", func() bool { return s.Generation(closed) == 0 })
	result := s.CommandRealm(context.Background(), "acme.test", &all, time.Now().Add(time.Minute), presence.Reset{})
	if missing := result.Done.Missing(); len(missing) != 1 || missing[0] != closed || !result.Unknown.Empty() {
		t.Errorf("%v not done, %v unknown", missing, result.Unknown.List())
	}
	if a := <-ask(s, Address{Realm: "acme.test", User: "9"}, Show{}); a.View == nil || a.View.State != presence.Terminated {
		t.Errorf("%+v", a)
	}
	// A write without an answer: its shard is unknown, the others are done.
	to := Address{Realm: "acme.test", User: "9"}
	if a := <-ask(s, to, presence.SetManual{State: presence.Early}); a.Err != nil {
		t.Fatal(a.Err)
	}
	j.set(true, true)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	result = s.CommandRealm(ctx, "acme.test", &all, time.Now().Add(time.Minute), presence.Reset{})
	if !result.Unknown.Has(ShardOf(to)) || result.Done.Has(ShardOf(to)) {
		t.Errorf("%v unknown", result.Unknown.List())
	}
	j.release()
}
