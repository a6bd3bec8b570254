package actors

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
)

// journal is a Journal of which the test says what becomes durable. Its hooks run in the shard's turn.
type journal struct {
	writes  chan uint64 // tickets, as they are written
	reloads chan func([]Stored, error)

	mu         sync.Mutex
	ticket     uint64
	notMine    bool
	flushed    chan struct{}
	records    []Stored
	standing   Standing
	onWrite    func()
	onStanding func()
	silent     chan struct{} // not nil: the shard may not notify, and asked for a number
}

func (j *journal) Write(_ int, _ uint64, _ Address, records []presence.Record, _ bool) {
	j.mu.Lock()
	j.ticket++
	ticket := j.ticket
	for _, r := range records {
		j.records = append(j.records, Stored{Kind: r.Kind, Data: r.Data, At: time.Now()})
	}
	hook := j.onWrite
	j.mu.Unlock()
	j.writes <- ticket
	if hook != nil {
		hook()
	}
}

func (j *journal) Mine(int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.notMine
}

func (j *journal) Flushed(int, uint64) { j.flushed <- struct{}{} }

func (j *journal) Vouch(generations *[Shards]uint64) bool {
	standing := j.Standing(0, 0)
	if standing == Unsure {
		*generations = [Shards]uint64{}
	}
	return standing == CutOff
}

func (j *journal) Standing(int, uint64) Standing {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.onStanding != nil {
		j.onStanding()
	}
	return j.standing
}

func (j *journal) Number(_ int, _ uint64, counter uint32) (sequence, next uint32, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.silent != nil {
		j.silent <- struct{}{}
		return 0, counter, false
	}
	return 1000 + counter, counter + 1, true
}

func (j *journal) Reload(_ int, give func([]Stored, error)) { j.reloads <- give }

func (j *journal) set(change func(*journal)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(j)
}

// kept is all that was written so far.
func (j *journal) kept() []Stored {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Stored(nil), j.records...)
}

// stage is a System with one open shard, and what it told.
type stage struct {
	*testing.T
	sys     *System
	journal *journal
	claim   Claim
	shard   int
	told    chan Notification
	lamps   chan LampNews
	metrics *prometheus.Registry
}

func (s *stage) Notify(n Notification) { s.told <- n }
func (s *stage) Lamp(l LampNews)       { s.lamps <- l }

const patience = 10 * time.Second

// open makes a System whose shard 7 is ours.
func open(t *testing.T, mailbox int) *stage {
	s := closed(t, mailbox)
	s.sys.Open(s.shard, Opening{Claim: s.claim})
	return s
}

func closed(t *testing.T, mailbox int) *stage {
	s := &stage{T: t, shard: 7, claim: Claim{Generation: 1, Epoch: time.Unix(1, 0)},
		journal: &journal{writes: make(chan uint64, 100), reloads: make(chan func([]Stored, error), 1), flushed: make(chan struct{}, 10)},
		told:    make(chan Notification, 100), lamps: make(chan LampNews, 100), metrics: prometheus.NewRegistry()}
	rules := presence.Rules{CallLease: time.Hour, Grace: 20 * time.Second, TombstoneLife: time.Minute, MaxWatchers: 10, MaxCalls: 10, MaxTombstones: 10, Transitions: 8}
	s.sys = NewSystem(Config{Node: "a", Rules: rules, Mailbox: mailbox, Journal: s.journal, Notifier: s, Log: slog.New(slog.DiscardHandler), Registerer: s.metrics})
	_ = s.sys.Start(t.Context())
	t.Cleanup(func() { _ = s.sys.Stop(context.Background()) })
	return s
}

// extension is the nth name of the stage's shard.
func (s *stage) extension(n int) Address {
	for i := 0; ; i++ {
		a := Address{Realm: "acme.test", User: strconv.Itoa(i)}
		if ShardOf(a) != s.shard {
			continue
		}
		if n--; n < 0 {
			return a
		}
	}
}

// ask sends a request and gives the channel that its answer comes on. Mostly this is the goroutine that does it.
func (s *stage) ask(to Address, m Message, wait time.Duration) <-chan Answer {
	return s.send(to, m, wait, true)
}

func (s *stage) send(to Address, m Message, wait time.Duration, here bool) <-chan Answer {
	answer := make(chan Answer, 1)
	s.sys.Do(Request{To: to, Message: m, Deadline: time.Now().Add(patience), Wait: wait}, func(a Answer) { answer <- a }, here)
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
func (s *stage) good(from <-chan Answer) Answer {
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
	s.good(s.ask(s.extension(99), Show{}, 0))
}

// heard returns when the shard has heard all that was sent to it, whatever its lease: it refuses what comes too late.
func (s *stage) heard() {
	s.Helper()
	refused := make(chan Answer, 1)
	s.sys.Do(Request{To: s.extension(0), Message: Show{}, Deadline: time.Now().Add(-time.Second)}, func(a Answer) { refused <- a }, true)
	get(s, "a refusal", refused)
}

// silent fails if anything was told.
func (s *stage) silent(answers ...<-chan Answer) {
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
	s.sys.Durable(s.shard, get(s, "a write", s.journal.writes))
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
