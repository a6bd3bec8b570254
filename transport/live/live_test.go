package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/natsd/natstest"
	"lamplight/transport/client"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

const account = "00000000000000000000000000000001"

// bed is a Hub whose account, router and state feed the test plays.
type bed struct {
	t         *testing.T
	hub       *Hub
	entry     *directory.Entry
	connected atomic.Bool
	watchers  chan client.Watcher // of each Watch that begins

	mu    sync.Mutex
	lit   map[string]*presence.View
	rows  []actors.SubscriptionView
	cover actors.Coverage
	err   error
	mute  map[string]bool // extensions that do not answer
}

func (b *bed) Request(_ context.Context, q actors.Request) actors.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mute[q.To.User] {
		return actors.Answer{Err: actors.ErrUnavailable}
	}
	if v := b.lit[q.To.User]; v != nil {
		return actors.Answer{View: v}
	}
	return actors.Answer{View: &presence.View{State: presence.Terminated, Registered: q.To.User == "1001"}}
}

func (b *bed) List(_ context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.cover, b.err
	}
	if q.Lit {
		for user, v := range b.lit {
			if err := yield(actors.SubscriptionView{User: user, Lamp: v}); err != nil {
				return b.cover, err
			}
		}
		return b.cover, nil
	}
	for _, row := range b.rows {
		if err := yield(row); err != nil {
			return b.cover, err
		}
	}
	return b.cover, nil
}

// view is a lamp that a call lights.
func view(state presence.State) *presence.View {
	return &presence.View{State: state, Registered: true, Dialogs: []presence.DialogView{{CallID: "k", State: state, Source: "call", Since: time.Unix(1000, 0), Held: state == presence.Confirmed}}}
}

func begin(t *testing.T) *bed {
	conn := natstest.Connect(t, natstest.Start(t, t.TempDir()))
	d := directory.New(directory.Config{Conn: conn, Log: slog.New(slog.DiscardHandler)})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop(context.Background()) })
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(`{"id":"`+account+`","name":"A","realm":"a.test",
		"users":[{"username":"ada","first_name":"Ada","last_name":"L","presence_id":"1001"}],
		"devices":[{"name":"desk","presence_id":"1001","sip":{"username":"1001"}},{"name":"other desk","sip":{"username":"1002"}}]}`), &fields); err != nil {
		t.Fatal(err)
	}
	for n := range 2 * showParallel { // more devices than are asked at a time
		fields["devices"] = append(fields["devices"].([]any), map[string]any{"presence_id": fmt.Sprint(2000 + n)})
	}
	if _, err := d.Import(t.Context(), directory.Import{Accounts: []map[string]any{fields}}); err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, watchers: make(chan client.Watcher, 100), lit: map[string]*presence.View{"*3101": view(presence.Confirmed)},
		rows: []actors.SubscriptionView{{User: "1001", Behind: true}, {User: "1001"}}}
	b.connected.Store(true)
	var err error
	if b.entry, err = d.Get(t.Context(), directory.Accounts, account, account); err != nil {
		t.Fatal(err)
	}
	b.hub = New(Config{Presence: b, Directory: d, Connected: b.connected.Load, Log: slog.New(slog.DiscardHandler),
		Watch: func(ctx context.Context, realm, user string, w client.Watcher) error {
			if realm != "a.test" || user != "" {
				t.Errorf("it watches %q of %q", user, realm)
			}
			b.watchers <- w
			w.Ready()
			<-ctx.Done()
			return nil
		}})
	t.Cleanup(func() { _ = b.hub.Stop(context.Background()) })
	return b
}

// open opens a stream and runs it. Its events come on the channel, which is closed when the stream ends.
func (b *bed) open(last string, check func(context.Context) error) <-chan string {
	b.t.Helper()
	s, err := b.hub.Open(b.t.Context(), b.entry, account, last)
	if err != nil {
		b.t.Fatal(err)
	}
	events := make(chan string, 10000)
	go func() {
		defer close(events)
		defer s.Close()
		s.Run(func(e []byte) error {
			if !strings.HasSuffix(string(e), "\n\n") {
				b.t.Errorf("no whole event: %q", e)
			}
			events <- string(e)
			return nil
		}, check)
	}()
	return events
}

func fine(context.Context) error { return nil }

// await returns the first event whose name is this one and which has a text, and passes over events that say that the stream lives.
func (b *bed) await(events <-chan string, name, text string) string {
	b.t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case e, open := <-events:
			if strings.HasPrefix(e, "event: "+name+"\n") && strings.Contains(e, text) {
				return e
			}
			if !open || !strings.HasPrefix(e, "event: alive\n") {
				b.t.Fatalf("%q instead of %s with %q", e, name, text)
			}
		case <-late:
			b.t.Fatalf("no event %s with %q", name, text)
		}
	}
}

// id returns the id of an event.
func id(e string) string {
	_, rest, _ := strings.Cut(e, "\nid: ")
	id, _, _ := strings.Cut(rest, "\n")
	return id
}

func change(user, state, previous string) client.Change {
	c := client.Change{Extension: user, Realm: "a.test", State: state, Previous: previous, At: "2026-11-28T04:01:34Z", Dialogs: []byte("[]")}
	if state != "terminated" {
		c.Dialogs = []byte(`[{"call_id":"k","source":"call","since":"2026-11-28T04:01:33Z"}]`)
	}
	return c
}

// A client gets the whole state first: extensions of users and devices, lit and watched ones. Then it gets changes in their order.
func TestOrder(t *testing.T) {
	b := begin(t)
	events := b.open("", fine)
	b.await(events, "reload", "the stream begins")
	lamps := b.await(events, "lamps", "")
	for _, want := range []string{
		`"1001":{"state":"terminated","watchers":2,"behind":1,"name":"Ada L"}`,
		`"1002":{"state":"terminated","offline":true,"name":"other desk"}`,
		`"*3101":{"state":"confirmed","since":"1970-01-01T00:16:40Z","source":"call","held":true}`,
	} {
		if !strings.Contains(lamps, want) {
			t.Errorf("no %s in %s", want, lamps)
		}
	}
	if e := b.await(events, "whole", `{"lamps":131}`); id(e) == "" {
		t.Errorf("no id in %q", e)
	}
	w := <-b.watchers
	for _, state := range []string{"early", "confirmed", "terminated"} {
		if err := w.Change(change("1002", state, "")); err != nil {
			t.Fatal(err)
		}
		e := b.await(events, "change", `"1002":{"state":"`+state+`"`)
		if (state == "terminated") != strings.Contains(e, `"since":"2026-11-28T04:01:34Z"`) {
			t.Errorf("since when: %s", e)
		}
	}
	other := change("1002", "early", "")
	other.Realm = "b.test"
	_ = w.Change(other)
	_ = w.Change(change("1001", "early", ""))
	if e := b.await(events, "change", `"1001":{"state":"early"`); strings.Contains(e, "1002") {
		t.Errorf("a change of another realm was told: %s", e)
	}
}

// A client that comes back gets what changed since its last event, and nothing else. With an id of another feed, or one that is too old, it
// is told to forget everything.
func TestResume(t *testing.T) {
	b := begin(t)
	events := b.open("", fine)
	b.await(events, "reload", "")
	b.await(events, "lamps", "")
	last := id(b.await(events, "whole", ""))
	w := <-b.watchers
	_ = w.Change(change("1001", "early", "terminated"))
	last2 := id(b.await(events, "change", ""))
	_ = w.Change(change("1002", "early", "terminated"))
	b.await(events, "change", `"1002"`)
	if e := b.await(b.open(last2, fine), "change", `"1002":{"state":"early"`); strings.Contains(e, "1001") {
		t.Errorf("a change that the client has was told again: %s", e)
	}
	b.await(b.open(last, fine), "change", `{"1001":{"state":"early"`)
	for _, bad := range []string{"x-5", "", "-", last + "9999999999999", strings.Split(last, "-")[0] + "-0", "1"} {
		b.await(b.open(bad, fine), "reload", "")
	}
	for n := range lastKept + 1 {
		_ = w.Change(change("1001", []string{"early", "confirmed"}[n%2], ""))
	}
	b.await(b.open(last, fine), "reload", "")
}

// Whatever may have lost a change makes clients forget everything: a gap of the state feed, and a client that takes nothing for long. While
// NATS is out of reach, clients hear that the lamps may be old.
func TestGap(t *testing.T) {
	b := begin(t)
	events := b.open("", fine)
	b.await(events, "reload", "")
	b.await(events, "lamps", "")
	b.await(events, "whole", "")
	w := <-b.watchers
	b.connected.Store(false)
	b.await(events, "alive", `{"stale":true,"reason":"the node can't reach NATS`)
	b.mu.Lock()
	b.lit["1002"] = view(presence.Early)
	b.mu.Unlock()
	b.connected.Store(true)
	_ = w.Gap(t.Context(), client.Gap{Reason: "the connection to NATS was lost"})
	b.await(events, "reload", "the connection to NATS was lost")
	b.await(events, "lamps", `"1002":{"state":"early"`)
	b.await(events, "whole", "")
	b.await(events, "alive", `{"stale":false}`)
	// A reading that fails is made again, and the clients are told all the same.
	b.mu.Lock()
	b.err = errors.New("no answer")
	b.mu.Unlock()
	_ = w.Gap(t.Context(), client.Gap{Reason: "another node took shards over"})
	b.await(events, "alive", `{"stale":true,"reason":"the node could not read the lamps: no answer"}`)
	b.mu.Lock()
	b.err, b.cover.Missing = nil, []int{7}
	b.mu.Unlock()
	b.await(events, "reload", "another node took shards over")
	b.await(events, "lamps", "")
	b.await(events, "whole", "")
	b.await(events, "alive", `1 of 1024 shards do not answer`)
	b.mu.Lock()
	b.cover.Missing = nil
	b.mu.Unlock()
	b.await(events, "alive", `{"stale":false}`)
}

// A client that takes nothing while more changes come than are kept is told to forget everything, and the changes cost no memory meanwhile.
func TestSlowClient(t *testing.T) {
	b := begin(t)
	s, err := b.hub.Open(t.Context(), b.entry, account, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range s.changes() {
	}
	w := <-b.watchers
	for n := range 3 * lastKept {
		_ = w.Change(change(fmt.Sprint(1000+n%2), []string{"early", "confirmed"}[n/2%2], ""))
	}
	all := ""
	for e := range s.changes() {
		all += string(e)
	}
	if !strings.HasPrefix(all, "event: reload\ndata: {\"reason\":\"the client was too slow, or away for too long\"}\n") || !strings.Contains(all, "event: whole\n") {
		t.Errorf("%s", all)
	}
	for n := range lastKept - 1 {
		_ = w.Change(change(fmt.Sprint(1000+n%2), []string{"early", "confirmed"}[n/2%2], ""))
	}
	all = ""
	for e := range s.changes() {
		all += string(e)
	}
	if !strings.HasPrefix(all, "event: change\n") || strings.Count(all, "event: ") != 1 || strings.Count(all, "state") != 2 {
		t.Errorf("changes of one lamp are one: %s", all)
	}
}

// A stream ends with the reason when its client may see the account no more, and with the Hub.
func TestEnd(t *testing.T) {
	b := begin(t)
	allowed := b.open("", fine)
	b.await(allowed, "reload", "")
	b.await(allowed, "lamps", "")
	b.await(allowed, "whole", "")
	events := b.open("", func(context.Context) error { return errors.New("invalid credentials") })
	b.await(events, "reload", "")
	b.await(events, "lamps", "")
	b.await(events, "whole", "")
	b.await(events, "end", "invalid credentials")
	if e, open := <-events; open {
		t.Errorf("%q after the end", e)
	}
	if err := b.hub.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range allowed { // it is closed
	}
	if _, err := b.hub.Open(t.Context(), b.entry, account, ""); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
}

// The number of accounts is bounded; one that nobody watches makes room.
func TestMaxFeeds(t *testing.T) {
	b := begin(t)
	for n := range MaxFeeds {
		f := newFeed(b.hub, fmt.Sprint(n), "a.test")
		f.clients = 1
		b.hub.feeds[fmt.Sprint(n)] = f
	}
	if _, err := b.hub.Open(t.Context(), b.entry, account, ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
	b.hub.leave(b.hub.feeds["7"], "x")
	b.await(b.open("", fine), "reload", "")
	if b.hub.feeds["7"] != nil {
		t.Error("the feed that nobody watches is there")
	}
}

// One account can't use up all feeds. It may watch one account as often as it likes, and a feed that it leaves makes room.
func TestFeedsOfOne(t *testing.T) {
	b := begin(t)
	var last *Stream
	for n := range FeedsOfOne {
		f := newFeed(b.hub, fmt.Sprint(n), "")
		close(f.ready)
		b.hub.feeds[f.account] = f
		for range 2 {
			s, err := b.hub.Open(t.Context(), &directory.Entry{ID: f.account}, "reseller", "")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			last = s
		}
	}
	if _, err := b.hub.Open(t.Context(), b.entry, "reseller", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	b.await(b.open("", fine), "reload", "") // another account
	last.Close()
	if _, err := b.hub.Open(t.Context(), b.entry, "reseller", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("it still has a stream of each: %v", err)
	}
	b.hub.feeds["0"].end()
	b.hub.leave(b.hub.feeds["0"], "reseller")
	b.hub.leave(b.hub.feeds["0"], "reseller")
	s, err := b.hub.Open(t.Context(), b.entry, "reseller", "")
	if err != nil {
		t.Fatalf("after one was left: %v", err)
	}
	s.Close()
}

// Extensions and shards that do not answer take no lamp away and make none dark. The others are shown, and clients hear of it.
func TestSomeDoNotAnswer(t *testing.T) {
	b := begin(t)
	b.mute = map[string]bool{"1002": true, "2000": true}
	events := b.open("", fine)
	b.await(events, "reload", "")
	b.await(events, "lamps", `"*3101":{"state":"confirmed"`)
	b.await(events, "whole", `{"lamps":131}`)
	b.await(events, "alive", `{"stale":true,"reason":"2 of 130 extensions do not answer; their lamps may be old"}`)
	b.mu.Lock()
	b.mute = nil
	b.lit["1002"] = view(presence.Early)
	b.lit["1002"].Messages.New = 3
	b.mu.Unlock()
	b.await(events, "change", `"1002":{"state":"early"`)
	b.await(events, "alive", `{"stale":false}`)

	f := newFeed(b.hub, account, "a.test")
	defer f.end()
	parked := actors.SubscriptionView{User: "*3101"}
	b.mu.Lock()
	b.rows = append(b.rows, parked)
	b.lit["2000"] = &presence.View{State: presence.Terminated} // it has no account at a registrar
	b.lit["2000"].Messages.New = 2
	b.mu.Unlock()
	_ = f.read("the test begins")
	b.mu.Lock()
	b.mute = map[string]bool{"1001": true, "1002": true, "2000": true}
	view := b.lit["1002"]
	delete(b.lit, "1002")
	delete(b.lit, "*3101")
	b.rows = []actors.SubscriptionView{parked}
	b.cover.Missing = []int{7}
	b.mu.Unlock()
	before := map[string]Lamp{}
	for _, name := range []string{"1001", "1002", "2000", "*3101"} {
		before[name] = *f.lamps[name]
	}
	if err := f.read(""); !errors.Is(err, errMissing) {
		t.Errorf("%v", err)
	}
	for name, was := range before {
		if l := f.lamps[name]; l == nil || *l != was {
			t.Errorf("%s: %+v, and it was %+v", name, l, was)
		}
	}
	b.mu.Lock()
	b.cover.Missing, b.rows = nil, nil
	b.mu.Unlock()
	_ = f.read("")
	if l := f.lamps["1002"]; l.State != "terminated" || l.Messages != view.Messages.New || f.lamps["*3101"] != nil || f.lamps["1001"].Watchers != 0 {
		t.Errorf("the listings are whole: %+v, %+v", l, f.lamps["1001"])
	}
}

// A node of the router that answers nothing costs a reading little time.
func TestNobodyAnswers(t *testing.T) {
	b := begin(t)
	b.mute = map[string]bool{"1001": true, "1002": true}
	for n := range 2 * showParallel {
		b.mute[fmt.Sprint(2000+n)] = true
	}
	f := newFeed(b.hub, account, "a.test")
	defer f.end()
	if err := f.read(""); !errors.Is(err, errMissing) || f.lamps["*3101"].State != "confirmed" {
		t.Errorf("%v", err)
	}
	b.err = errors.New("no answer")
	if err := f.read(""); !errors.Is(err, b.err) {
		t.Errorf("%v", err)
	}
}

// An account with too many extensions still loses those that it has no more.
func TestLeftOut(t *testing.T) {
	b := begin(t)
	for n := range MaxLamps {
		b.rows = append(b.rows, actors.SubscriptionView{User: fmt.Sprint("x", n)})
	}
	f := newFeed(b.hub, account, "a.test")
	defer f.end()
	if err := f.read(""); err != nil || len(f.lamps) != MaxLamps || !strings.Contains(f.trouble, "are left out") {
		t.Fatalf("%v, %d lamps, %q", err, len(f.lamps), f.trouble)
	}
	delete(b.lit, "*3101")
	if err := f.read(""); err != nil || len(f.lamps) != MaxLamps || f.lamps["*3101"] != nil {
		t.Errorf("%v, %d lamps, %+v", err, len(f.lamps), f.lamps["*3101"])
	}
}

// Streams that begin at about the same time share a snapshot, and get what changed after it.
func TestShare(t *testing.T) {
	b := begin(t)
	var shots []*snapshot
	var all []string
	for n := range 2 {
		s, err := b.hub.Open(t.Context(), b.entry, account, "")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.feed.mu.Lock()
		shots = append(shots, s.feed.snapshot())
		s.feed.mu.Unlock()
		text := ""
		for e := range s.changes() {
			text += string(e)
		}
		all = append(all, text)
		_ = s.feed.change(change("1002", []string{"early", "confirmed"}[n], ""))
	}
	if shots[0] != shots[1] || strings.Contains(all[0], "event: change") || !strings.Contains(all[1], "event: change") || !strings.Contains(all[1], `"1002":{"state":"early"`) {
		t.Errorf("%v\n%s", shots, all[1])
	}
}

// What changes while the account is read again is newer than what the reading found.
func TestReadingMeetsChange(t *testing.T) {
	b := begin(t)
	f := newFeed(b.hub, account, "a.test")
	defer f.end()
	_ = f.read("the test begins")
	f.touched = map[string]bool{}
	_ = f.change(change("1001", "early", ""))
	_ = f.change(change("1003", "early", ""))
	f.merge(map[string]*Lamp{"1001": {State: "terminated", Watchers: 5}, "1002": {State: "early"}}, "", "", true)
	if l := f.lamps["1001"]; l.State != "early" || l.Watchers != 5 {
		t.Errorf("1001: %+v", l)
	}
	if f.lamps["1003"] == nil || f.lamps["1002"].State != "early" || f.lamps["*3101"] != nil {
		t.Errorf("%+v", f.lamps)
	}
}
