package actors_test

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

// stage is a System with one open shard, and what it told.
type stage struct {
	*testing.T
	sys     *actors.System
	journal *actorstest.Journal
	kept    actorstest.Kept
	writes  chan uint64 // tickets, as they are written; nothing is durable until the test says so
	reloads chan func([]actors.Stored, error)
	flushed chan struct{}
	claim   actors.Claim
	shard   int
	told    chan actors.Notification
	lamps   chan actors.LampNews
	metrics *prometheus.Registry
	watched chan string
	ends    chan presence.SwitchGone // switches whose calls are to end on all nodes
	endErr  chan error               // what comes of that
	edges   sync.Map                 // by edge: presence.EdgeNobody and the like
}

// wrote notes a write.
func (s *stage) wrote(w actorstest.Write) {
	s.kept.OnWrite(w)
	s.writes <- w.Ticket
}

func (s *stage) endSwitch(ctx context.Context, gone presence.SwitchGone) (int, error) {
	s.ends <- gone
	select {
	case err := <-s.endErr:
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (s *stage) edgeState(edge string, _ time.Time) presence.EdgeState {
	listens, _ := s.edges.Load(edge)
	word, _ := listens.(string)
	return presence.EdgeState{Listens: word}
}

func (s *stage) Notify(n actors.Notification) { s.told <- n }
func (s *stage) Lamp(l actors.LampNews)       { s.lamps <- l }
func (s *stage) Watched(to actors.Address, p presence.Package) {
	s.watched <- to.String() + " " + p.String()
}

const patience = 10 * time.Second

// open makes a System whose shard 7 is ours.
func open(t *testing.T, mailbox int) *stage {
	s := closed(t, mailbox)
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim})
	return s
}

func closed(t *testing.T, mailbox int) *stage {
	s := &stage{T: t, shard: 7, claim: actors.Claim{Generation: 1, Epoch: time.Unix(1, 0)},
		journal: &actorstest.Journal{}, writes: make(chan uint64, 100), reloads: make(chan func([]actors.Stored, error), 1), flushed: make(chan struct{}, 10),
		told: make(chan actors.Notification, 100), lamps: make(chan actors.LampNews, 100), metrics: prometheus.NewRegistry(), ends: make(chan presence.SwitchGone, 10), watched: make(chan string, 100), endErr: make(chan error, 10)}
	rules := presence.Rules{CallLease: time.Hour, TombstoneLife: time.Minute, MaxWatchers: 10, MaxCalls: 10, MaxTombstones: 10, Transitions: 8}
	s.sys = actors.NewSystem(actors.Config{Node: "a", Rules: rules, Mailbox: mailbox, Journal: s.journal, Notifier: s, EndSwitch: s.endSwitch, EdgeState: s.edgeState, Log: slog.New(slog.DiscardHandler), Registerer: s.metrics})
	s.journal.System = s.sys
	s.journal.Set(func(j *actorstest.Settings) {
		j.Hold = true
		j.OnWrite = s.wrote
		j.OnReload = func(give func([]actors.Stored, error)) { s.reloads <- give }
		j.OnFlushed = func(int) { s.flushed <- struct{}{} }
	})
	_ = s.sys.Start(t.Context())
	t.Cleanup(func() { _ = s.sys.Stop(context.Background()) })
	return s
}

// extension is the nth name of the stage's shard.
func (s *stage) extension(n int) actors.Address {
	for i := 0; ; i++ {
		a := actors.Address{Realm: "acme.test", User: strconv.Itoa(i)}
		if actors.ShardOf(a) != s.shard {
			continue
		}
		if n--; n < 0 {
			return a
		}
	}
}

// ask sends a request and gives the channel that its answer comes on. Mostly this is the goroutine that does it.
func (s *stage) ask(to actors.Address, m actors.Message, wait time.Duration) <-chan actors.Answer {
	return s.send(to, m, wait, true)
}

func (s *stage) send(to actors.Address, m actors.Message, wait time.Duration, lend bool) <-chan actors.Answer {
	answer := make(chan actors.Answer, 1)
	s.sys.Do(actors.Request{To: to, Message: m, Deadline: time.Now().Add(patience), Wait: wait}, func(a actors.Answer) { answer <- a }, lend)
	return answer
}

func get[T any](s *stage, what string, from <-chan T) (v T) {
	s.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		s.Fatalf("waited in vain for %s", what)
	}
	return v
}

// good is an answer without error.
func (s *stage) good(from <-chan actors.Answer) actors.Answer {
	s.Helper()
	a := get(s, "an answer", from)
	if a.Err != nil {
		s.Fatal(a.Err)
	}
	return a
}

// settle returns when the shard has handled all that was sent to it: it answers a read of something that is idle.
func (s *stage) settle() {
	s.Helper()
	s.good(s.ask(s.extension(99), actors.Show{}, 0))
}

// heard returns when the shard has heard all that was sent to it, whatever its lease: it refuses what comes too late.
func (s *stage) heard() {
	s.Helper()
	refused := make(chan actors.Answer, 1)
	s.sys.Do(actors.Request{To: s.extension(0), Message: actors.Show{}, Deadline: time.Now().Add(-time.Second)}, func(a actors.Answer) { refused <- a }, true)
	get(s, "a refusal", refused)
}

// silent fails if anything was told.
func (s *stage) silent(answers ...<-chan actors.Answer) {
	s.Helper()
	s.settle()
	if len(s.told)+len(s.lamps) > 0 {
		s.Fatal("told before it was kept")
	}
	for _, a := range answers {
		if len(a) > 0 {
			s.Fatalf("answered before it was kept: %+v", <-a)
		}
	}
}

// durable says that the next write is kept.
func (s *stage) durable() {
	s.Helper()
	s.sys.Durable(s.shard, get(s, "a write", s.writes))
}

// counted is the value of a counter.
func (s *stage) counted(name string) float64 {
	s.Helper()
	all, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	s.Fatalf("no metric %s", name)
	return 0
}

func watch(call string) presence.Subscribe {
	return presence.Subscribe{CallID: call, From: "1@acme.test", ServerID: "edge", Expires: 600}
}
