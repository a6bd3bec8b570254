package actors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

type deaf struct{}

func (deaf) Notify(actors.Notification)               {}
func (deaf) Lamp(actors.LampNews)                     {}
func (deaf) Watched(actors.Address, presence.Package) {}

// own says whether every shard is this node's.
func own(j *actorstest.Journal, mine bool) {
	j.Set(func(s *actorstest.Settings) { s.Mine = func(int) bool { return mine } })
}

func startSystem(t *testing.T) (*actors.System, *actorstest.Journal) {
	t.Helper()
	j := &actorstest.Journal{}
	own(j, false)
	s := actors.NewSystem(actors.Config{Node: "a", Mailbox: 16, Journal: j, Notifier: deaf{}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		Rules: presence.Rules{CallLease: time.Hour, TombstoneLife: time.Minute, MaxWatchers: 100, MaxCalls: 100, MaxTombstones: 100}})
	j.System = s
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

var desk = actors.Address{Realm: "acme.test", User: "1001"}

func ask(s *actors.System, to actors.Address, m actors.Message) <-chan actors.Answer {
	answer := make(chan actors.Answer, 2) // a second answer would be seen
	s.Do(actors.Request{To: to, Message: m, Deadline: time.Now().Add(time.Minute)}, func(a actors.Answer) { answer <- a }, false)
	return answer
}

func openAll(t *testing.T, s *actors.System, generation uint64) {
	t.Helper()
	for shard := range actors.Shards {
		s.Open(shard, actors.Opening{Claim: actors.Claim{Generation: generation}, Since: time.Now()})
	}
	for shard := range actors.Shards {
		until(t, "the shard is open", func() bool { return s.Generation(shard) == generation })
	}
}

// A shard that is not open keeps requests waiting only while it is to be opened here.
func TestWaitingForAShard(t *testing.T) {
	s, j := startSystem(t)
	shard := actors.ShardOf(desk)
	if a := <-ask(s, desk, actors.Show{}); !errors.Is(a.Err, actors.ErrNotMine) {
		t.Errorf("another's shard: %v", a.Err)
	}
	for name, end := range map[string]func(){
		"dropped":                   func() { s.Drop(shard, 1<<60) },
		"lost without a word of it": func() { own(j, false) },
	} {
		own(j, true)
		answers := []<-chan actors.Answer{ask(s, desk, actors.Show{}), ask(s, desk, presence.SetManual{State: presence.Early})}
		end()
		for _, answer := range answers {
			if a := <-answer; !errors.Is(a.Err, actors.ErrNotMine) {
				t.Errorf("%s: %v", name, a.Err)
			}
		}
	}
	own(j, true)
	answer := ask(s, desk, presence.SetManual{State: presence.Early})
	s.Open(shard, actors.Opening{Claim: actors.Claim{Generation: 3}, Since: time.Now()})
	if a := <-answer; a.Err != nil || s.Generation(shard) != 3 {
		t.Errorf("opened: %v, generation %d", a.Err, s.Generation(shard))
	}
	s.Drop(shard, 1<<60)
	until(t, "it is closed", func() bool { return s.Generation(shard) == 0 })
	own(j, false)
	if a := <-ask(s, desk, actors.Show{}); !errors.Is(a.Err, actors.ErrNotMine) {
		t.Errorf("after the drop: %v", a.Err)
	}
}

// A listing that gave up on a shard leaves it whole.
func TestWindowGivesUp(t *testing.T) {
	s, j := startSystem(t)
	openAll(t, s, 1)
	other := actors.Address{Realm: desk.Realm, User: "1002"}
	for _, to := range []actors.Address{desk, other} {
		if a := <-ask(s, to, presence.Subscribe{CallID: "c", From: "w@acme.test", Expires: 60}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	written := make(chan struct{})
	j.Set(func(j *actorstest.Settings) { j.Hold, j.OnWrite = true, func(actorstest.Write) { close(written) } })
	set := ask(s, desk, presence.SetManual{State: presence.Early})
	<-written
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	w := s.Window(ctx, actors.Query{Realm: desk.Realm}, "", nil)
	if len(w.Rows) != 1 || w.Rows[0].User != "1002" || w.Covers[actors.ShardOf(desk)] != 0 || w.Covers[actors.ShardOf(other)] != 1 {
		t.Errorf("%d rows, generations %d and %d", len(w.Rows), w.Covers[actors.ShardOf(desk)], w.Covers[actors.ShardOf(other)])
	}
	var only actors.ShardSet
	only.Add(actors.ShardOf(desk))
	if w := s.Window(ctx, actors.Query{Realm: desk.Realm}, "", &only); w.Covers != [actors.Shards]uint64{} {
		t.Error("a shard that did not answer is covered")
	}
	late := make(chan actors.Answer, 1) // by the time that it is given up, so is the listing
	s.Do(actors.Request{To: desk, Message: actors.Show{}, Deadline: time.Now().Add(20 * time.Millisecond)}, func(a actors.Answer) { late <- a }, false)
	if a := <-late; !errors.Is(a.Err, actors.ErrUnavailable) {
		t.Errorf("a read behind a write without an answer: %v", a.Err)
	}
	j.Release()
	if a := <-set; a.Err != nil {
		t.Error(a.Err)
	}
	if a := <-ask(s, desk, actors.Show{}); a.Err != nil || a.View.State != presence.Early {
		t.Errorf("%+v", a)
	}
}

func TestWindows(t *testing.T) {
	s, j := startSystem(t)
	openAll(t, s, 7)
	for i := range 10 {
		to := actors.Address{Realm: "acme.test", User: fmt.Sprint(i)}
		if a := <-ask(s, to, presence.Subscribe{CallID: "c", From: "w@acme.test", Expires: 60}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	window := func(from, before string, most int, only *actors.ShardSet) (users, next string, covered int) {
		w := s.Window(context.Background(), actors.Query{Realm: "acme.test", From: from, Limit: most}, before, only)
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
	var odd actors.ShardSet
	odd.Add(actors.ShardOf(actors.Address{Realm: "acme.test", User: "3"}))
	for _, c := range []struct {
		from, before string
		most         int
		only         *actors.ShardSet
		users, next  string
		covered      int
	}{
		{"", "", 0, nil, "0123456789", "", actors.Shards},
		{"3", "", 4, nil, "3456", "7", actors.Shards},
		{"3", "5", 4, nil, "34", "", actors.Shards},
		{"8", "", 2, nil, "89", "", actors.Shards},
		{"", "", 0, &odd, "3", "", 1},
	} {
		if users, next, covered := window(c.from, c.before, c.most, c.only); users != c.users || next != c.next || covered != c.covered {
			t.Errorf("%+v: %q, next %q, %d covered", c, users, next, covered)
		}
	}
	j.Set(func(j *actorstest.Settings) { j.Standing = actors.Unsure })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if w := s.Window(ctx, actors.Query{Realm: "acme.test"}, "", nil); w.Covers != [actors.Shards]uint64{} {
		t.Error("shards are covered without a lease")
	}
	j.Set(func(j *actorstest.Settings) { j.Standing = actors.CutOff })
	if w := s.Window(context.Background(), actors.Query{Realm: "acme.test"}, "", nil); !w.Stale || len(w.Rows) != 10 {
		t.Errorf("cut off: stale %v, %d rows", w.Stale, len(w.Rows))
	}
}

func TestCommandRealm(t *testing.T) {
	s, j := startSystem(t)
	openAll(t, s, 1)
	for i := range 200 {
		if a := <-ask(s, actors.Address{Realm: "acme.test", User: fmt.Sprint(i)}, presence.SetManual{State: presence.Early}); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	all := actors.AllShards()
	closed := actors.ShardOf(actors.Address{Realm: "acme.test", User: "5"})
	s.Drop(closed, 1<<60)
	until(t, "it is closed", func() bool { return s.Generation(closed) == 0 })
	result := s.CommandRealm(context.Background(), "acme.test", &all, time.Now().Add(time.Minute), presence.Reset{}, presence.Origin{})
	if missing := result.Done.Missing(); len(missing) != 1 || missing[0] != closed || !result.Unknown.Empty() {
		t.Errorf("%v not done, %v unknown", missing, result.Unknown.List())
	}
	if a := <-ask(s, actors.Address{Realm: "acme.test", User: "9"}, actors.Show{}); a.View == nil || a.View.State != presence.Terminated {
		t.Errorf("%+v", a)
	}
	// A write without an answer: its shard is unknown, the others are done.
	to := actors.Address{Realm: "acme.test", User: "9"}
	if a := <-ask(s, to, presence.SetManual{State: presence.Early}); a.Err != nil {
		t.Fatal(a.Err)
	}
	j.Set(func(j *actorstest.Settings) { j.Hold = true })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	result = s.CommandRealm(ctx, "acme.test", &all, time.Now().Add(time.Minute), presence.Reset{}, presence.Origin{})
	if !result.Unknown.Has(actors.ShardOf(to)) || result.Done.Has(actors.ShardOf(to)) {
		t.Errorf("%v unknown", result.Unknown.List())
	}
	j.Release()
}
