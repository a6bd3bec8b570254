package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/backup"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

const (
	ours        = 7 // the shard that the tests write to
	testTimeout = 20 * time.Second
)

// our is the range of that shard, in a journal with one stream.
var our = newLayout(1, 1, 0).of(ours)

var someone = actors.Address{Realm: "acme.test", User: "1001"}

// heard is one call of the journal to the shards.
type heard struct {
	what   string
	claim  actors.Claim
	ticket uint64
}

// shards is a Shards that passes on what the journal tells of the shard ours. It has nothing to flush.
type shards struct {
	journal     *Journal
	calls       chan heard
	generations [actors.Shards]uint64 // guarded by the journal's lock, under which it calls
}

func (s *shards) hear(shard int, h heard) {
	if shard == ours {
		s.calls <- h
	}
}

func (s *shards) Open(shard int, o actors.Opening) {
	s.generations[shard] = o.Claim.Generation
	if o.End {
		s.Flush(shard)
	}
	s.hear(shard, heard{what: "open", claim: o.Claim})
}
func (s *shards) Pause(shard int) { s.hear(shard, heard{what: "pause"}) }
func (s *shards) Resume(shard int, c actors.Claim, _ bool) {
	s.generations[shard] = c.Generation
	s.hear(shard, heard{what: "resume", claim: c})
}
func (s *shards) Flush(shard int) {
	generation := s.generations[shard]
	s.journal.done.Go(func() { s.journal.Flushed(shard, generation) })
}
func (s *shards) Drop(shard int, _ uint64) { s.hear(shard, heard{what: "drop"}) }
func (s *shards) Wanted(shard int) bool    { return shard == ours }
func (s *shards) Durable(shard int, ticket uint64) {
	s.hear(shard, heard{what: "durable", ticket: ticket})
}

// proxy stands between the journal and NATS. While back is locked, nothing that NATS sends arrives.
type proxy struct {
	ln   net.Listener
	back sync.RWMutex
	done sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln}
	t.Cleanup(func() { _ = ln.Close(); p.done.Wait() })
	p.done.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			nats, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				return
			}
			p.done.Go(func() { _, _ = io.Copy(nats, client); _ = nats.Close() })
			p.done.Go(func() { p.answers(client, nats); _ = client.Close() })
		}
	})
	return p
}

func (p *proxy) answers(client io.Writer, nats io.Reader) {
	b := make([]byte, 32<<10)
	for {
		n, err := nats.Read(b)
		if err != nil {
			return
		}
		p.back.RLock()
		_, err = client.Write(b[:n])
		p.back.RUnlock()
		if err != nil {
			return
		}
	}
}

// stage is the journal of one node on a NATS server.
type stage struct {
	*testing.T
	journal *Journal
	shards  *shards
	proxy   *proxy
	direct  *nats.Conn // a connection that is not the journal's
	logged  logged
	metrics *prometheus.Registry
	claim   actors.Claim
	ticket  uint64
}

func newStage(t *testing.T, change ...func(*Config)) *stage {
	srv := natstest.Start(t, t.TempDir())
	s := &stage{T: t, metrics: prometheus.NewRegistry(), shards: &shards{calls: make(chan heard, 10000)}, proxy: newProxy(t, strings.TrimPrefix(srv.ClientURL(), "nats://"))}
	connect := func(url string) *nats.Conn {
		nc, err := nats.Connect(url, nats.ReconnectBufSize(-1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	s.direct = connect(srv.ClientURL())
	c := Config{Conn: connect("nats://" + s.proxy.ln.Addr().String()), Node: "a", Quiet: time.Millisecond, Missing: time.Second, AcceptLoss: true, Owner: func(int, []string) string { return "a" },
		Fatal: func(err error) { t.Error(err) }, Log: slog.New(slog.NewTextHandler(&s.logged, nil)), Registerer: s.metrics}
	for _, f := range change {
		f(&c)
	}
	s.journal = New(c)
	s.shards.journal = s.journal
	s.journal.SetShards(s.shards)
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := s.journal.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.journal.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	s.claim = s.until("open").claim
	return s
}

// logged is what the journal has logged. Any goroutine may use it.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// until waits for a call to the shards, and skips others before it.
func (s *stage) until(what string) heard {
	s.Helper()
	late := time.After(testTimeout)
	for {
		select {
		case h := <-s.shards.calls:
			if h.what == what {
				return h
			}
		case <-late:
			s.Fatalf("waited in vain for %q", what)
		}
	}
}

func (s *stage) write(key, value string) {
	s.ticket++
	s.journal.Write(ours, s.claim.Generation, someone, []presence.Record{{Kind: presence.KindManual, Key: key, Data: []byte(value)}})
}

// durable waits until the last write is durable, and checks that tickets rise.
func (s *stage) durable() {
	s.Helper()
	for last := uint64(0); last < s.ticket; {
		h := s.until("durable")
		if h.ticket <= last {
			s.Fatalf("ticket %d after %d", h.ticket, last)
		}
		last = h.ticket
	}
}

// kept returns the values of the records that the stream holds.
func (s *stage) kept() map[string]bool {
	s.Helper()
	type result struct {
		records []actors.Stored
		err     error
	}
	got := make(chan result, 1)
	r := result{err: errBehind}
	for late := time.Now().Add(testTimeout); errors.Is(r.err, errBehind) && time.Now().Before(late); { // the claim may be changing
		s.journal.Reload(ours, func(r []actors.Stored, err error) { got <- result{r, err} })
		r = <-got
	}
	if r.err != nil {
		s.Fatal(r.err)
	}
	values := map[string]bool{}
	for _, v := range r.records {
		values[string(v.Data)] = true
	}
	return values
}

func (s *stage) holds(want ...string) {
	s.Helper()
	got := s.kept()
	for _, w := range want {
		if !got[w] {
			s.Errorf("%q is not kept", w)
		}
	}
	if len(got) != len(want) {
		s.Errorf("kept are %v, want %v", got, want)
	}
}

func TestWritesAreKeptInOrder(t *testing.T) {
	s := newStage(t)
	for i := range 1000 { // many groups of writes to the same three records
		s.write(strconv.Itoa(i%3), fmt.Sprintf("%d is %d", i%3, i))
	}
	s.durable()
	s.holds("0 is 999", "1 is 997", "2 is 998")
}

// The records of one write are kept together, and more of them than one message holds are kept as well.
func TestManyRecordsInOneWrite(t *testing.T) {
	s := newStage(t)
	for _, n := range []int{200, 20000} {
		records := make([]presence.Record, n)
		for i := range records {
			records[i] = presence.Record{Kind: presence.KindCall, Key: strconv.Itoa(i), Data: []byte(strconv.Itoa(i)), Life: time.Minute}
		}
		s.ticket++
		s.journal.Write(ours, s.claim.Generation, someone, records)
		for last := uint64(0); last < s.ticket; {
			last = s.until("durable").ticket
		}
		if kept := len(s.kept()); kept != n {
			t.Errorf("%d of %d records are kept", kept, n)
		}
	}
}

// What comes while a message of the range has no answer goes together in the next one, under the fence of the claim.
func TestWritesGoTogether(t *testing.T) {
	s := newStage(t)
	seen := make(chan *nats.Msg, 100)
	if _, err := s.direct.ChanSubscribe("lamplight.journal.0."+subject.AnySlot(our), seen); err != nil {
		t.Fatal(err)
	}
	if err := s.direct.Flush(); err != nil {
		t.Fatal(err)
	}
	next := func() *nats.Msg {
		select {
		case m := <-seen:
			return m
		case <-time.After(testTimeout):
			t.Fatal("nothing is written")
			return nil
		}
	}
	s.proxy.back.Lock()
	s.write("k", "first")
	next()
	for _, v := range []string{"second", "third", "fourth"} {
		s.write("k", v)
	}
	s.write("l", "other")
	s.proxy.back.Unlock()
	s.durable()
	m := next()
	if got := m.Header.Get("Nats-Expected-Last-Subject-Sequence-Subject"); got != "lamplight.journal.0."+subject.Claim(our) {
		t.Errorf("the fence is %q", got)
	}
	for _, v := range []string{"second", "third", "fourth", "other"} {
		if !strings.Contains(string(m.Data), v) {
			t.Errorf("the second message lacks %q: %q", v, m.Data)
		}
	}
	s.holds("fourth", "other")
}

// The ranges take turns: one that has more to be written after an answer comes behind those that wait.
func TestRangesTakeTurns(t *testing.T) {
	s := newStage(t)
	for late := time.Now().Add(testTimeout); s.journal.OpenShards() < actors.Shards && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	seen := make(chan *nats.Msg, 100)
	if _, err := s.direct.ChanSubscribe("lamplight.journal.0.*.log.*", seen); err != nil {
		t.Fatal(err)
	}
	if err := s.direct.Flush(); err != nil {
		t.Fatal(err)
	}
	st := s.journal.of(ours)
	s.proxy.back.Lock()
	for range 2 { // of each, one message goes, and the next one waits for its answer
		for shard := 100; shard < 100+maxSending; shard++ {
			st.mu.Lock()
			generation := s.shards.generations[shard]
			st.mu.Unlock()
			s.journal.Write(shard, generation, someone, []presence.Record{{Kind: presence.KindManual, Key: "m", Data: []byte("busy")}})
		}
	}
	s.write("k", "quiet")
	s.proxy.back.Unlock()
	s.durable()
	for n := range maxSending + 2 {
		m := <-seen
		if n < maxSending == strings.Contains(string(m.Data), "quiet") && n <= maxSending {
			t.Errorf("message %d is %q", n, m.Data)
		}
	}
}

// A range that is written for long needs few slots: its messages hold little more than twice what lives. What lives is carried on, and what was replaced
// is forgotten.
func TestSlotsAreWrittenAgain(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Age = time.Millisecond })
	for i := range 300 {
		s.write("stays "+strconv.Itoa(i), fmt.Sprint("stays ", i))
	}
	s.durable()
	for i := range 3000 { // one after the other, so that each is a message of its own
		s.write(strconv.Itoa(i%50), fmt.Sprintf("%d is %d, and is long: %s", i%50, i, strings.Repeat("x", 200)))
		s.durable()
	}
	if n := len(s.kept()); n != 350 {
		t.Errorf("%d records are kept, want 350", n)
	}
	if !s.kept()["stays 7"] {
		t.Error("an old record is lost")
	}
	found, _, err := s.journal.of(ours).store.last(t.Context(), subject.AnySlot(our))
	if err != nil || len(found) > 500 { // of 3,300 messages; how many are dead and have not aged depends on the machine
		t.Errorf("%d slots, %v", len(found), err)
	}
}

// The slots of a range may be more than one answer of NATS holds. All of them are read, for a backup and under a claim that is newer than they are, as
// after a takeover.
func TestMoreSlotsThanOneAnswerHolds(t *testing.T) {
	s := newStage(t, func(c *Config) { c.Age = time.Hour }) // slots are not written again before all are taken
	const records = 2000
	for i := range records {
		s.write(strconv.Itoa(i), fmt.Sprint(i))
	}
	s.durable()
	for i := range mostAnswers + 50 {
		s.write(strconv.Itoa(i), fmt.Sprintf("%d again", i))
		s.durable()
	}
	stream := s.journal.of(ours)
	store := stream.store
	if _, _, err := store.last(t.Context(), subject.AnySlot(our)); !errors.Is(err, errTooMany) {
		t.Errorf("there are too few slots to show anything: %v", err)
	}
	stream.mu.Lock()
	stream.act(stream.machine.Spent(stream.now(), our))
	stream.mu.Unlock()
	s.until("resume")
	kept := s.kept()
	if len(kept) != records || !kept["0 again"] || !kept[strconv.Itoa(records-1)] {
		t.Errorf("%d records are kept, want %d", len(kept), records)
	}
	backedUp, claims := 0, 0
	if err := Backup(t.Context(), s.journal.cfg, func(e backup.Entry) error {
		if strings.HasSuffix(e.Name, ".claim") {
			claims++
		} else {
			backedUp++
		}
		return nil
	}); err != nil || backedUp != records || claims != store.layout.ranges() {
		t.Errorf("%d records and %d claims are in the backup, want %d and %d; %v", backedUp, claims, records, store.layout.ranges(), err)
	}
	// The same while the range is written all the time: slots change between the questions, and the backup ends all the same.
	if none, more, err := store.page(t.Context(), subject.AnySlot(our+1), 1); err != nil || len(none) > 0 || more {
		t.Errorf("%d messages of a range that was never written, %v", len(none), err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.write(strconv.Itoa(i%records), fmt.Sprintf("%d once more", i%records))
				s.durable()
			}
		}
	}()
	kept = map[string]bool{}
	err := Backup(t.Context(), s.journal.cfg, func(e backup.Entry) error { kept[e.Name] = true; return nil })
	close(stop)
	<-stopped
	if err != nil || len(kept) != records+store.layout.ranges() {
		t.Errorf("%d entries are in the backup of a range that is written, want %d; %v", len(kept), records+store.layout.ranges(), err)
	}
}

// When another node has claimed the shard, a write under our claim is not kept, is not reported as durable, and makes the
// journal drop the shard (docs/contract/journal.md, rule 4). As the other node has no lease, the shard is then taken over.
func TestFencedWriteLosesTheShard(t *testing.T) {
	s := newStage(t)
	s.write("k", "before")
	s.durable()
	other := ownership.Claim{Node: "b", Incarnation: "other", Nonce: 1, Generation: s.claim.Generation + 1, Base: 1 << 20, Epoch: s.claim.Epoch.UnixNano()}
	if _, err := s.direct.Request("lamplight.journal.0."+subject.Claim(our), encodeClaim(presence.Schema, other), testTimeout); err != nil {
		t.Fatal(err)
	}
	s.write("k", "after")
	for h := (heard{}); h.what != "drop"; {
		select {
		case h = <-s.shards.calls:
		case <-time.After(testTimeout):
			t.Fatal("the shard is not dropped")
		}
		if h.what == "durable" {
			t.Fatal("a fenced write is reported as durable")
		}
	}
	s.holds("before")
	if again := s.until("open").claim; again.Generation <= other.Generation {
		t.Errorf("taken over as generation %d, the claim before is %d", again.Generation, other.Generation)
	}
}

// A write without an answer may land at any time. So the shard is claimed again, and all pending writes are written again
// under the new claim (docs/contract/journal.md, rule 5).
func TestUnknownOutcomeSpendsTheClaim(t *testing.T) {
	s := newStage(t)
	s.proxy.back.Lock()
	s.write("k", "first")
	s.write("k", "second")
	s.write("l", "other")
	time.AfterFunc(writeTimeout+500*time.Millisecond, s.proxy.back.Unlock)
	s.until("pause")
	if c := s.until("resume").claim; c.Generation <= s.claim.Generation {
		t.Errorf("resumed as generation %d after %d", c.Generation, s.claim.Generation)
	}
	s.write("l", "newest")
	s.durable()
	s.holds("second", "newest")
}

// When the stream has another leader, writes from before are given up, and later ones are not. A write that nobody
// received is surely not kept.
func TestLeaderElected(t *testing.T) {
	s := newStage(t)
	st := &store{nc: s.direct, name: "S", inbox: s.direct.NewInbox(), claims: "claims", waiting: map[uint64]wait{}}
	if err := st.start(func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	defer st.close()
	outcomes := make(chan error, 3)
	before := st.await(time.Hour, func(_ uint64, err error) { outcomes <- err })
	st.elected(nil)
	after := st.await(time.Hour, func(_ uint64, err error) { outcomes <- err })
	if err := s.direct.Publish("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.other", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-outcomes; outcome(err) != ownership.Unknown {
		t.Errorf("before the election: %v", err)
	}
	st.mu.Lock()
	_, first := st.waiting[before]
	_, second := st.waiting[after]
	st.mu.Unlock()
	if first || !second {
		t.Errorf("waiting: %v, %v", first, second)
	}
	if err := s.direct.Publish("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.S", nil); err != nil {
		t.Fatal(err)
	}
	if err := <-outcomes; outcome(err) != ownership.Unknown {
		t.Errorf("when NATS tells of it: %v", err)
	}
	st.publish(&nats.Msg{Subject: "nobody.listens"}, time.Hour, func(_ uint64, err error) { outcomes <- err })
	if err := <-outcomes; outcome(err) != ownership.Busy || !errors.Is(err, errNoLeader) {
		t.Errorf("to nobody: %v", err)
	}
}
