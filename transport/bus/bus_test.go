package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// headers are what every document carries besides its name.
const headers = `"App-Name":"test","App-Version":"1","Event-Category":"presence","Msg-ID":"m1",`

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"))
}

// router answers as told and keeps what it was asked.
type router struct {
	mu     sync.Mutex
	asked  []actors.Request
	answer actors.Answer
	rows   []actors.SubscriptionView
	cover  actors.Coverage
}

func (r *router) Go(q actors.Request, done func(actors.Answer)) {
	r.mu.Lock()
	r.asked = append(r.asked, q)
	a := r.answer
	r.mu.Unlock()
	done(a)
}

func (r *router) List(_ context.Context, _ actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error) {
	for _, row := range r.rows {
		if err := yield(row); err != nil {
			return r.cover, err
		}
	}
	return r.cover, nil
}

func (r *router) ResetRealm(context.Context, string) (actors.Coverage, error) { return r.cover, nil }

func (r *router) requests() []actors.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]actors.Request(nil), r.asked...)
}

type bed struct {
	t      *testing.T
	conn   *nats.Conn
	router *router
	fanout *Fanout
	bus    *Bus
	ask    func(realm string, then func(error))
	found  atomic.Pointer[looked] // what a look for watched edges finds
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := natstest.Start(t, "")
	connect := func() *nats.Conn {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	b := &bed{t: t, conn: connect(), router: &router{}, ask: func(_ string, then func(error)) { then(directory.ErrUnknown) }}
	conn, log, registry := connect(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	b.fanout = NewFanout(FanoutConfig{Conn: conn, Node: "n", Version: "0", Incarnation: func() string { return "i" }, Account: func(string) string { return "" }, Log: log, Registerer: registry})
	b.watched()
	b.fanout.Watched = func(context.Context) (map[string]struct{}, error) { l := b.found.Load(); return l.edges, l.err }
	if err := b.fanout.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.fanout.Stop(context.Background()) })
	x := New(Config{Conn: conn, Node: "n", Version: "0.1.0", Timeout: 5 * time.Second, Router: b.router, Fanout: b.fanout, Log: log, Registerer: registry,
		KnownRealm: func(r string) bool { return r == "acme.test" }, AskRealm: func(r string, then func(error)) { b.ask(r, then) }})
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

type doc map[string]jsontext.Value

func (d doc) text(name string) string {
	var s string
	_ = json.Unmarshal(d[name], &s)
	return s
}

// request sends a document and gives all answers, the last one last.
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

// `Code` and `Reason` are the code and message of docs/contract/http.md, "Errors"; Details says more.
func TestErrorReplies(t *testing.T) {
	b := newBed(t)
	b.ask = func(realm string, then func(error)) {
		switch realm {
		case "new.test":
			then(nil)
		case "away.test":
			then(errors.New("no answer"))
		case "flood.test":
			then(directory.ErrBusy)
		default:
			then(directory.ErrUnknown)
		}
	}
	b.router.answer.View = &presence.View{State: presence.Early}
	set := func(realm string) string { return `"Realm":"` + realm + `","Username":"1","State":"early"` }
	for name, c := range map[string]struct{ subject, event, fields, code, reason string }{
		"bad state":             {"presence.set.acme%2Etest.1", "set", `"Realm":"acme.test","Username":"1","State":"lit"`, "400", "validation error"},
		"missing Realm":         {"presence.set.acme%2Etest.1", "set", `"Username":"1","State":"early"`, "400", "validation error"},
		"another realm":         {"presence.set.acme%2Etest.1", "set", set("other.test"), "400", "validation error"},
		"bare asterisk":         {"presence.show.acme%2Etest.%2A", "show_req", `"Realm":"acme.test","Username":"*"`, "400", "validation error"},
		"Explain a number":      {"presence.show.acme%2Etest.1", "show_req", `"Realm":"acme.test","Username":"1","Explain":1`, "400", "validation error"},
		"unknown realm":         {"presence.set.other%2Etest.1", "set", set("other.test"), "404", "bad_identifier"},
		"unknown, search":       {"presence.search_req.other%2Etest", "search_req", `"Realm":"other.test"`, "404", "bad_identifier"},
		"unknown, subscribe":    {"omnipresence.subscribe.other%2Etest.1", "subscription", `"User":"1@other.test","Expires":60`, "404", "bad_identifier"},
		"directory away":        {"presence.set.away%2Etest.1", "set", set("away.test"), "503", "datastore_unreachable"},
		"flood of unknown":      {"presence.set.flood%2Etest.1", "set", set("flood.test"), "429", "too_many_requests"},
		"long document":         {"presence.set.acme%2Etest.1", "set", `"x":"` + strings.Repeat("x", kazoo.MaxDocument) + `"`, "413", "request_too_large"},
		"probe without package": {"presence.probes.dialog", "probe", `"Realm":"acme.test","Username":"1"`, "400", "validation error"},
		"probe of another":      {"presence.probes.dialog", "probe", `"Realm":"acme.test","Username":"1","Event-Package":"presence"`, "400", "validation error"},
		"new on another node":   {"presence.set.new%2Etest.1", "set", set("new.test"), "", ""},
		"only what is required": {"omnipresence.subscribe.acme%2Etest.1", "subscription", `"User":"1@acme.test","Expires":60`, "", ""},
		"duplicate key":         {"presence.set.acme%2Etest.1", "set", `"State":"early","State":"early"`, "400", "validation error"},
	} {
		a := b.request(c.subject, c.event, c.fields)[0]
		if a.text("Code") != c.code || a.text("Reason") != c.reason || (c.code == "") != (a.text("Status") == "ok") || (c.code == "") == (a.text("Details") != "") {
			t.Errorf("%s: %s", name, a)
		}
	}
	a := b.request("presence.probes.dialog", "probe", `"Realm":"acme.test","Username":"1","Event-Package":"dialog"`)[0]
	if a.text("Event-Name") != "update" || a.text("State") != "early" || a.text("Presence-ID") != "1@acme.test" {
		t.Errorf("probe: %s", a)
	}
	b.router.cover.Missing = []int{3, 5}
	if a := b.request("presence.reset.acme%2Etest.%2A", "reset", `"Realm":"acme.test","Username":"*"`)[0]; a.text("Code") != "503" || a.text("Reason") != "datastore_unreachable" {
		t.Errorf("a realm's reset with holes: %s", a)
	}
	if a := b.request("presence.search_req.acme%2Etest", "search_req", `"Realm":"acme.test"`)[0]; string(a["missing_shards"]) != "[3,5]" || string(a["timeout"]) != "true" {
		t.Errorf("a listing with holes: %s", a)
	}
}

// Every row of the table in docs/contract/nats.md, "Control", is an endpoint of the micro service, with its schema and version.
func TestMicroService(t *testing.T) {
	b := newBed(t)
	m, err := b.conn.Request("$SRV.INFO.lamplight", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Version   string            `json:"version"`
		Metadata  map[string]string `json:"metadata"`
		Endpoints []struct {
			Subject  string            `json:"subject"`
			Queue    string            `json:"queue_group"`
			Metadata map[string]string `json:"metadata"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		t.Fatal(err)
	}
	if info.Version != "0.1.0" || info.Metadata["schema"] == "" || info.Metadata["version"] != "0.1.0" || info.Metadata["node"] != "n" || len(info.Endpoints) != 5 {
		t.Errorf("%+v", info)
	}
	for _, e := range info.Endpoints {
		switch e.Subject {
		case "presence.search_req.*", "presence.show.*.*", "presence.set.*.*", "presence.reset.*.*", "presence.probes.*":
		default:
			t.Errorf("an endpoint %s", e.Subject)
		}
		if e.Queue != queue || e.Metadata["request"] == "" || e.Metadata["response"] == "" {
			t.Errorf("%+v", e)
		}
	}
}

// An extension with 10,000 watchers is listed and shown in parts that NATS carries; together they hold each once.
func TestLargeAnswersComeInParts(t *testing.T) {
	b := newBed(t)
	const watchers = 10_000
	for i := range watchers {
		b.router.rows = append(b.router.rows, actors.SubscriptionView{User: "1001", CallID: fmt.Sprintf("call-%05d@10.0.0.9", i), From: "w@acme.test", Stalker: "edge-1",
			Granted: 1820, Renewed: time.Unix(1, 0), Version: 1, Body: strings.Repeat("<dialog/>", 30)})
	}
	b.router.rows[7].Body = strings.Repeat("x", 900_000)
	b.router.answer = actors.Answer{View: &presence.View{State: presence.Early}, Subscriptions: b.router.rows}
	for _, c := range []struct{ subject, event, fields, last string }{
		{"presence.search_req.acme%2Etest", "search_req", `"Realm":"acme.test"`, "search_resp"},
		{"presence.show.acme%2Etest.1001", "show_req", `"Realm":"acme.test","Username":"1001"`, "show_resp"},
	} {
		all := b.request(c.subject, c.event, c.fields)
		seen := map[string]bool{}
		for i, d := range all {
			part := map[string]map[string]map[string]jsontext.Value{}
			if v := d["Subscriptions"]; v != nil {
				if err := json.Unmarshal(v, &part); err != nil {
					t.Fatal(err)
				}
			}
			for id := range part["1001"]["dialog"] {
				if seen[id] {
					t.Fatalf("%s comes twice", id)
				}
				seen[id] = true
			}
			if i < len(all)-1 && string(d["Part"]) != fmt.Sprint(i+1) {
				t.Errorf("part %d is numbered %s", i+1, d["Part"])
			}
		}
		if last := all[len(all)-1]; len(seen) != watchers || string(last["Part"]) != fmt.Sprint(len(all)-1) || len(all) < 5 || last.text("Event-Name") != c.last {
			t.Errorf("%s: %d watchers in %d messages, the last is %s", c.event, len(seen), len(all), last.text("Event-Name"))
		}
	}
}

// A NOTIFY message has at most 500 targets and 256 KiB, and its Edge-Seq has no gaps.
func TestFanoutBounds(t *testing.T) {
	b := newBed(t)
	for name, size := range map[string]int{"short": 10, "long": 4000} {
		s, err := b.conn.SubscribeSync("lamplight.notify.edge" + name)
		if err != nil {
			t.Fatal(err)
		}
		_ = b.conn.Flush()
		n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1001"}, Body: []byte(strings.Repeat("<dialog id=\"1\"/>\n", 2000)), Now: time.Now()}
		const watchers = 1201
		for i := range watchers {
			n.Watchers = append(n.Watchers, &presence.Subscription{CallID: fmt.Sprint(i), ServerID: "edge" + name, Contact: strings.Repeat(`"`, size), From: strings.Repeat(`\`, size)})
		}
		b.fanout.Notify(n)
		for next, told := 1, 0; told < watchers; next++ {
			m, err := s.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatalf("%s: %d of %d told: %v", name, told, watchers, err)
			}
			var d struct {
				Seq     int `json:"Edge-Seq"`
				Targets []map[string]any
			}
			if err := json.Unmarshal(m.Data, &d); err != nil {
				t.Fatal(err)
			}
			if told += len(d.Targets); len(d.Targets) > 500 || len(m.Data) > 256<<10 || d.Seq != next {
				t.Fatalf("%s: %d targets in %d bytes, Edge-Seq %d after %d", name, len(d.Targets), len(m.Data), d.Seq, next-1)
			}
		}
	}
}

// A lamp with more dialogs than a message holds is told with the most important ones, not kept silent.
func TestLampBounds(t *testing.T) {
	b := newBed(t)
	heard, err := b.conn.SubscribeSync("lamplight.state.*.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	v := presence.View{State: presence.Early}
	for i := range 100 {
		v.Dialogs = append(v.Dialogs, presence.DialogView{CallID: strconv.Itoa(i), State: presence.Early, From: strings.Repeat("f", 4000), To: strings.Repeat("t", 4000), SwitchURI: strings.Repeat("s", 4000)})
	}
	b.fanout.Lamp(actors.LampNews{To: actors.Address{Realm: "acme.test", User: "1001"}, Change: presence.LampChange{State: presence.Early, View: &v}})
	m, err := heard.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		State   string `json:"state"`
		Dialogs []struct {
			CallID string `json:"call_id"`
		} `json:"dialogs"`
	}
	if err := json.Unmarshal(m.Data, &d); err != nil || d.State != "early" || len(d.Dialogs) == 0 || d.Dialogs[0].CallID != "0" || len(m.Data) > kazoo.MaxMessage {
		t.Errorf("%v: %d bytes, %s, %d dialogs", err, len(m.Data), d.State, len(d.Dialogs))
	}
}

func (b *bed) up(edge, incarnation, seen string) {
	b.t.Helper()
	if err := b.conn.Publish("lamplight.edge.up."+edge, []byte(`{"Edge":"`+edge+`","Incarnation":"`+incarnation+`","Seen":{`+seen+`}}`)); err != nil {
		b.t.Fatal(err)
	}
}

// An edge that nobody hears is marked down once it has spoken, gets nothing until it says that it is up, and then what it
// missed. One that this node has nothing for is looked for once, not at each of its words.
func TestEdgeDownAndUp(t *testing.T) {
	b := newBed(t)
	looked := make(chan string, 100)
	b.fanout.Renotify = func(edge string) { looked <- edge }
	n := actors.Notification{To: actors.Address{Realm: "acme.test", User: "1"}, Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: "e1"}}}
	b.up("e1", "x", "")
	b.up("e1", "x", "")
	b.up("e2", "x", "")
	for _, want := range []string{"e1", "e2"} {
		if got := <-looked; got != want {
			t.Fatalf("looked for %s, want %s", got, want)
		}
	}
	b.fanout.Notify(n) // nobody listens
	down := func() bool {
		return b.fanout.find("e1").downSince.Load() != 0
	}
	for end := time.Now().Add(10 * time.Second); !down(); {
		if time.Now().After(end) {
			t.Fatal("the edge is not marked down")
		}
		time.Sleep(time.Millisecond)
	}
	s, err := b.conn.SubscribeSync("lamplight.notify.e1")
	if err != nil {
		t.Fatal(err)
	}
	_ = b.conn.Flush()
	b.fanout.Notify(n)
	b.up("e1", "x", `"n/i":0`)
	for seq := 1; seq <= 2; seq++ {
		m, err := s.NextMsg(10 * time.Second)
		if err != nil || !strings.Contains(string(m.Data), fmt.Sprintf(`"Edge-Seq":%d,`, seq)) {
			t.Fatalf("after it came up: %v, want Edge-Seq %d", err, seq)
		}
	}
	if len(looked) != 0 {
		t.Errorf("looked again for %s", <-looked)
	}
}

// An edge that stays down is known as such after 10 s, and not any more when it is back.
func TestEdgeStaysDown(t *testing.T) {
	b := newBed(t)
	b.up("e1", "x", "")
	b.up("silent", "x", "")
	eventually(t, "the edges are known", func() bool { return b.fanout.find("e1") != nil && b.fanout.find("silent") != nil })
	for _, edge := range []string{"e1", "never-spoke"} {
		b.fanout.Notify(actors.Notification{Now: time.Now(), Watchers: []*presence.Subscription{{CallID: "c", ServerID: edge}}}) // nobody listens
	}
	eventually(t, "the edge is down", func() bool { return b.fanout.find("e1").downSince.Load() != 0 })
	now := time.Now()
	if down := b.fanout.Down(now.Add(9 * time.Second)); len(down) != 0 {
		t.Errorf("down after 9 s: %v", down)
	}
	if down := b.fanout.Down(now.Add(11 * time.Second)); !slices.Equal(down, []string{"e1"}) {
		t.Errorf("down after 11 s: %v", down)
	}
	b.up("e1", "x", "")
	eventually(t, "the edge is back", func() bool { return len(b.fanout.Down(now.Add(time.Hour))) == 0 })
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// What an edge gathered counts only under its own name, and only as much as is agreed.
func TestNotified(t *testing.T) {
	b := newBed(t)
	reply := `{"Presentity":"1@acme.test","Event-Package":"dialog","Call-ID":"c","Sequence":"7","Reply":200}`
	for _, bad := range []string{`{"Edge":"e2","Replies":[` + reply + `]}`, `{"Edge":"e1","Replies":[` + strings.Repeat(reply+",", 500) + reply + `]}`, `{"Edge":"e1","Replies":5}`, `x`} {
		if err := b.conn.Publish("lamplight.notified.n.e1", []byte(bad)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Publish("lamplight.notified.n.e1", []byte(`{"Edge":"e1","Replies":[`+strings.Repeat(reply+",", 499)+reply+`]}`)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); len(b.router.requests()) < 500; {
		if time.Now().After(end) {
			t.Fatalf("%d replies heard", len(b.router.requests()))
		}
		time.Sleep(time.Millisecond)
	}
	if n := len(b.router.requests()); n != 500 {
		t.Errorf("%d replies heard, 500 are good", n)
	}
}

// A document whose reply subject is one that only a node may publish to is not taken in: its answer would be written there.
// What came before the intake was closed is answered, and what comes later finds nobody.
func TestStopAnswersWhatCame(t *testing.T) {
	b := newBed(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	b.ask = func(_ string, then func(error)) { close(asked); <-answer; then(directory.ErrUnknown) }
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
	<-asked // holds up all that comes behind it
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
	close(answer)
	for i := range more + 1 {
		if m, err := answers.NextMsg(5 * time.Second); err != nil || m.Header.Get("Status") != "" {
			t.Fatalf("answer %d: %v %v", i, m, err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

func TestReplySubjectIsNotOurs(t *testing.T) {
	b := newBed(t)
	journal, err := b.conn.SubscribeSync("lamplight.journal.>")
	if err != nil {
		t.Fatal(err)
	}
	for subject, event := range map[string]string{"presence.mwi_updates.acme%2Etest.1": "mwi_update", "presence.set.acme%2Etest.1": "set"} {
		fields := `"To":"1@acme.test","Messages-New":1,"Messages-Saved":0,"Realm":"acme.test","Username":"1","State":"early"`
		if err := b.conn.PublishRequest(subject, "lamplight.journal.0.17.claim", []byte(`{`+headers+`"Event-Name":"`+event+`",`+fields+`}`)); err != nil {
			t.Fatal(err)
		}
		if all := b.request(subject, event, fields); all[0].text("Status") != "ok" {
			t.Errorf("%s with an inbox: %v", event, all)
		}
	}
	if n, _, err := journal.Pending(); err != nil || n != 0 {
		t.Errorf("%d answers in the journal, %v", n, err)
	}
	if asked := b.router.requests(); len(asked) != 3 { // the counts and the lamp of the mailbox, and the manual state
		t.Errorf("%d messages for extensions: %+v", len(asked), asked)
	}
}

// Watchers are grouped by edge in the order in which they came, however many edges there are.
func TestGrouping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := groupings.Get().(*grouping)
		defer groupings.Put(g)
		var watchers []*presence.Subscription
		want, order := map[string][]*presence.Subscription{}, []string{}
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 20)).Draw(t, "edges") {
			w := &presence.Subscription{ServerID: strconv.Itoa(n)}
			if watchers = append(watchers, w); want[w.ServerID] == nil {
				order = append(order, w.ServerID)
			}
			want[w.ServerID] = append(want[w.ServerID], w)
		}
		g.group(watchers)
		if !slices.Equal(g.edges, order) {
			t.Fatalf("%v, want %v", g.edges, order)
		}
		for i, name := range order {
			if !slices.Equal(g.behind(i), want[name]) {
				t.Fatalf("%s: %v, want %v", name, g.behind(i), want[name])
			}
		}
	})
}
