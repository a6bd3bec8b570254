package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/status"
	"lamplight/cluster/subject"
	"lamplight/transport/audit"
	"lamplight/transport/kazoo"
	"lamplight/transport/report"
)

// headers are the fields that every document has, but for Event-Name.
const headers = `"App-Name":"test","App-Version":"1","Event-Category":"presence","Msg-ID":"m1",`

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

// router is a Router that gives the same answer to every request and keeps the requests.
type router struct {
	mu     sync.Mutex
	kept   []actors.Request
	answer actors.Answer             // to every request
	rows   []actors.SubscriptionView // of every listing
	cover  actors.Coverage           // of every listing and reset of a realm
	query  actors.Query              // of the last listing

	audited []audit.Entry
	reports []string              // with the account before each
	hangs   bool                  // reports can't be kept
	gone    []presence.SwitchGone // that were given to EndSwitch
	goneErr error                 // of EndSwitch
}

func (r *router) Go(q actors.Request, done func(actors.Answer)) {
	r.mu.Lock()
	r.kept = append(r.kept, q)
	a := r.answer
	r.mu.Unlock()
	if _, show := q.Message.(actors.Show); show && a.View == nil && a.Err == nil {
		a.View = presence.Idle
	}
	done(a)
}

// Request is what reports ask. It is not kept.
func (r *router) Request(_ context.Context, q actors.Request) actors.Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.answer
	if a.View == nil {
		a.View = presence.Idle
	}
	return a
}

func (r *router) keep(ctx context.Context, account string, data []byte) string {
	if r.hangs {
		<-ctx.Done()
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, account+" "+string(data))
	return fmt.Sprint("report-", len(r.reports))
}

// lastReport returns the last report that was kept, and the last command that was told of.
func (r *router) lastReport() (report string, e audit.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reports[len(r.reports)-1], r.audited[len(r.audited)-1]
}

func (r *router) audit(e audit.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.audited = append(r.audited, e)
}

func (r *router) List(_ context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	r.mu.Lock()
	r.query = q
	r.mu.Unlock()
	for _, row := range r.rows {
		if q.Lit && row.Lamp == nil {
			continue
		}
		if err := yield(row); err != nil {
			return r.cover, err
		}
	}
	return r.cover, nil
}

func (r *router) ResetRealm(context.Context, string, presence.Origin) (actors.Coverage, error) {
	return r.cover, nil
}

func (r *router) EndSwitch(_ context.Context, gone presence.SwitchGone) (actors.Coverage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = append(r.gone, gone)
	return r.cover, r.goneErr
}

func (r *router) requests() []actors.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]actors.Request(nil), r.kept...)
}

// bed is a Bus and a Fanout on a NATS server of the test's own, and a connection that plays the programs outside.
type bed struct {
	t      *testing.T
	conn   *nats.Conn // of the programs outside
	router *router
	fanout *Fanout
	bus    *Bus
	ask    func(realm string, then func(error)) // Config.AskRealm
	idle   sync.Map                             // the names of the edges that have no watchers
	secret error                                // of Config.EdgeSecret
	budget error                                // of Config.News and Config.Question
}

func newBed(t *testing.T) *bed { return newBedThatLogs(t, slog.New(slog.DiscardHandler)) }

func newBedThatLogs(t *testing.T, log *slog.Logger) *bed {
	t.Helper()
	return newBedAt(t, natstest.Start(t, ""), log)
}

// newBedAt makes a bed on a server that runs already.
func newBedAt(t *testing.T, s *server.Server, log *slog.Logger) *bed {
	t.Helper()
	connect := func() *nats.Conn { return natstest.Connect(t, s) }
	b := &bed{t: t, conn: connect(), router: &router{}, ask: func(_ string, then func(error)) { then(directory.ErrUnknown) }}
	conn, registry := connect(), prometheus.NewRegistry()
	b.fanout = NewFanout(FanoutConfig{Conn: conn, Node: "n", Version: "0", Incarnation: func() string { return "i" }, Account: func(string) string { return "" }, Log: log, Registerer: registry})
	b.fanout.Watches = func(edge string) bool { _, idle := b.idle.Load(edge); return !idle }
	if err := b.fanout.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.fanout.Stop(context.Background()) })
	x := New(Config{Conn: conn, Node: "n", Version: "0.1.0", Timeout: 5 * time.Second, Router: b.router, Fanout: b.fanout, Audit: b.router.audit, Log: log, Registerer: registry,
		KnownRealm: func(r string) bool { return r == "acme.test" }, AskRealm: func(r string, then func(error)) { b.ask(r, then) },
		Credentials: func(realm, user string) kazoo.Credentials {
			return kazoo.Credentials{Realm: realm == "acme.test", User: user != "" && user != "nobody", MD5: "md5 of " + user, SHA256: "sha of " + user}
		},
		News: func(_ string, then func(error)) { then(b.budget) }, Question: func(string) error { return b.budget },
		EdgeSecret: func(context.Context) ([]byte, error) { return []byte("secret"), b.secret },
		Report:     report.New(report.Config{Presence: b.router, Keep: b.router.keep, Timeout: 5 * time.Second}), Account: func(realm string) string { return "account of " + realm }})
	if err := x.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.bus = x
	t.Cleanup(func() { _ = x.Stop(context.Background()) })
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return b
}

// doc is a document from the node.
type doc map[string]jsontext.Value

// text returns a field that is a string, else "".
func (d doc) text(name string) string {
	var s string
	_ = json.Unmarshal(d[name], &s)
	return s
}

// request sends a document and returns all answers in their order.
func (b *bed) request(subject, event, fields string) []doc {
	b.t.Helper()
	inbox := b.conn.NewRespInbox()
	s, err := b.conn.SubscribeSync(inbox)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = s.Unsubscribe() }()
	if err := b.conn.PublishRequest(subject, inbox, []byte(`{`+headers+`"Event-Name":"`+event+`",`+fields+`}`)); err != nil {
		b.t.Fatal(err)
	}
	var all []doc
	for {
		m, err := s.NextMsg(10 * time.Second)
		if err != nil {
			b.t.Fatalf("%s: %v after %d answers", subject, err, len(all))
		}
		var d doc
		if err := json.Unmarshal(m.Data, &d); err != nil {
			b.t.Fatal(err)
		}
		if all = append(all, d); !strings.HasSuffix(d.text("Event-Name"), "_partial_resp") {
			return all
		}
	}
}

// eventually waits until done returns true, for at most 10 s.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// The node takes a notified document only if it names the edge of its subject and has at most 500 replies.
func TestNotified(t *testing.T) {
	b := newBed(t)
	reply := `{"Presentity":"1@acme.test","Event-Package":"dialog","Call-ID":"c","Sequence":"7","Reply":503,"Retry-After":30}`
	for _, bad := range []string{`{"Edge":"e2","Replies":[` + reply + `]}`, `{"Edge":"e1","Replies":[` + strings.Repeat(reply+",", 500) + reply + `]}`, `{"Edge":"e1","Replies":5}`, `x`} {
		if err := b.conn.Publish("lamplight.notified.n.e1", []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Publish("lamplight.notified.n.e1", []byte(`{"Edge":"e1","Replies":[`+strings.Repeat(reply+",", 499)+reply+`]}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "500 replies reach the router", func() bool { return len(b.router.requests()) >= 500 })
	if n := len(b.router.requests()); n != 500 {
		t.Errorf("%d replies reached the router, 500 are good", n)
	}
	want := presence.Notified{Package: presence.Dialog, HasPackage: true, CallID: "c", Sequence: 7, Reply: 503, RetryAfter: 30, Edge: "e1"}
	if got := b.router.requests()[499].Message; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// However many documents are refused, each kind is one line of the log a minute, with a sample.
func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	b := newBedThatLogs(t, slog.New(slog.NewTextHandler(writer(func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, string(line))
	}), &slog.HandlerOptions{Level: slog.LevelDebug})))
	begun := time.Now()
	const documents = 2000
	for i := range documents {
		if err := b.conn.Publish("presence.dialog.acme%2Etest.k", []byte(`{"Event-Category":"presence","Event-Name":"dialog_update","From":"`+strconv.Itoa(i)+`","To":"x"}`)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are refused", func() bool {
		return counted(t, b.bus.metrics.refused.WithLabelValues("dialog_update", "validation error")) >= documents
	})
	mu.Lock()
	defer mu.Unlock()
	if most := 1 + int(time.Since(begun)/time.Minute); len(lines) < 1 || len(lines) > most || !strings.Contains(lines[0], "dialog_update") ||
		!strings.Contains(lines[0], "code=400") || !strings.Contains(lines[0], "subject=presence.dialog.acme%2Etest.k") {
		t.Errorf("%d lines for %d documents, at most %d: %q", len(lines), documents, most, lines)
	}
}

// writer takes what a logger writes.
type writer func(line []byte)

func (w writer) Write(line []byte) (int, error) { w(line); return len(line), nil }

// Stop answers the documents that came before it. Documents that come later find no responder.
func TestStopAnswersWhatCame(t *testing.T) {
	b := newBed(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	b.ask = func(_ string, then func(error)) { close(begun); <-goOn; then(directory.ErrUnknown) }
	inbox := b.conn.NewRespInbox()
	answers, err := b.conn.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	send := func(realm string) {
		if err := b.conn.PublishRequest(subject.Subscription(realm, "1"), inbox,
			[]byte(`{`+headers+`"Event-Name":"subscription","User":"1@`+realm+`","Expires":60,"Call-ID":"c"}`)); err != nil {
			t.Fatal(err)
		}
	}
	send("other.test")
	<-begun // the handler is held up, and with it all documents that come behind this one
	const more = 20
	for range more {
		send("acme.test")
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- b.bus.Stop(t.Context()) }()
	for {
		_, err := b.conn.Request("omnipresence.subscribe.acme%2Etest.2", nil, 20*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		} else if !errors.Is(err, nats.ErrTimeout) {
			t.Error(err)
			break
		}
	}
	close(goOn)
	for i := range more + 1 {
		if m, err := answers.NextMsg(5 * time.Second); err != nil || m.Header.Get("Status") != "" {
			t.Fatalf("answer %d: %v %v", i, m, err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

// The node takes in no document whose reply subject is no inbox: it would publish its answer there with its own permissions, also
// into the journal of another installation on the same NATS. That holds for every document and every control subject.
func TestReplySubjectsAreInboxes(t *testing.T) {
	b := newBed(t)
	b.router.answer.View = presence.Idle
	if err := AnswerStatus(b.conn, "", func(status.Ask) status.Status { return status.Status{} }); err != nil {
		t.Fatal(err)
	}
	replies := []string{"lamplight.journal.0.17.claim", "east.lamplight.journal.0.17.claim", "lamplight.claims.0", "orders.new", "_INBOXES.x", "presence.reset.acme%2Etest.1"}
	all, err := b.conn.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	events := map[string]string{"presence.mwi_updates.acme%2Etest.1": "mwi_update", "presence.set.acme%2Etest.1": "set", "presence.reset.acme%2Etest.1": "reset",
		"presence.show.acme%2Etest.1": "show_req", "presence.search_req.acme%2Etest": "search_req", "presence.probes.dialog": "probe", "presence.dialog.acme%2Etest.k": "dialog_update",
		"presence.update.acme%2Etest.k": "update", "omnipresence.subscribe.acme%2Etest.1": "subscription", "presence.subscriptions.acme%2Etest": "subscription",
		"presence.publications.acme%2Etest.1": "publication", "omnipresence.notify.acme%2Etest.1": "notify", "lamplight.status": ""}
	fields := `"To":"1@acme.test","Messages-New":1,"Messages-Saved":0,"Realm":"acme.test","Username":"1","State":"early"`
	sent := 0
	for topic, event := range events {
		for _, reply := range replies {
			sent++
			if err := b.conn.PublishRequest(topic, reply, []byte(`{`+headers+`"Event-Name":"`+event+`",`+fields+`}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for topic, event := range events { // each of these is handled behind those of the same subject
		if event != "" {
			b.request(topic, event, fields)
		} else if _, err := b.conn.Request(topic, nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for n, _, _ := all.Pending(); n > 0; n-- {
		m, err := all.NextMsg(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, asked := events[m.Subject]; asked && m.Reply != "" {
			sent--
			continue
		}
		if !subject.MayAnswer(m.Subject) && !strings.HasPrefix(m.Subject, "lamplight.notify.") {
			t.Errorf("the node published on %s: %s", m.Subject, m.Data)
		}
	}
	if sent != -len(events) {
		t.Errorf("%d requests were not seen", sent+len(events))
	}
}

// The answer to a SUBSCRIBE that refreshes nothing is 481, and that to news which changed nothing says why. A subscription document says
// with In-Dialog that it refreshes.
func TestAnswersForPhones(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]struct {
		fields string
		answer actors.Answer
		want   [3]string // Status, Code and Ignored
		in     bool
	}{
		"no subscription": {`"In-Dialog":true`, actors.Answer{Err: presence.ErrNoSubscription}, [3]string{"error", "481", ""}, true},
		"in a string":     {`"In-Dialog":"true"`, actors.Answer{}, [3]string{"ok", "", ""}, true},
		"out of a dialog": {`"In-Dialog":false`, actors.Answer{}, [3]string{"ok", "", ""}, false},
		"overtaken":       {`"CSeq":5`, actors.Answer{Ignored: presence.IgnoredOvertaken}, [3]string{"ok", "", "overtaken"}, false},
		"a newer reason":  {`"CSeq":5`, actors.Answer{Ignored: 99}, [3]string{"ok", "", ""}, false},
	} {
		b.router.mu.Lock()
		b.router.answer = c.answer
		b.router.mu.Unlock()
		a := b.request(subject.Subscription("acme.test", "1"), "subscription", `"User":"1@acme.test","Expires":60,"Call-ID":"c",`+c.fields)[0]
		if got := [3]string{a.text("Status"), a.text("Code"), a.text("Ignored")}; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		all := b.router.requests()
		if ev, _ := all[len(all)-1].Message.(presence.Subscribe); ev.InDialog != c.in {
			t.Errorf("%s: %+v", name, ev)
		}
	}
}
