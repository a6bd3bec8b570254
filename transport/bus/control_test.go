package bus

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

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
	b.budget = fmt.Errorf("%w: account a", presence.ErrOverBudget)
	for subject, event := range map[string]string{"presence.set.acme%2Etest.1": "set", "presence.search_req.acme%2Etest": "search_req", "presence.probes.dialog": "probe", "omnipresence.subscribe.acme%2Etest.1": "subscription"} {
		fields := map[string]string{"subscription": `"User":"1@acme.test","Expires":60`, "probe": `"Realm":"acme.test","Username":"1","Event-Package":"dialog"`}[event]
		if a := b.request(subject, event, cmp.Or(fields, set("acme.test")))[0]; a.text("Code") != "429" || a.text("Reason") != kazoo.OverBudget || a.text("Details") != b.budget.Error() {
			t.Errorf("%s above the budget: %s", event, a)
		}
	}
	if a := b.request("lamplight.source.up.s", "source_up", `"Source":"s","Expires":60`)[0]; a.text("Code") == "429" {
		t.Errorf("a source pays for an account: %s", a)
	}
	b.budget = nil
	b.router.cover.Missing = []int{3, 5}
	if a := b.request("presence.reset.acme%2Etest.%2A", "reset", `"Realm":"acme.test","Username":"*"`)[0]; a.text("Code") != "503" || a.text("Reason") != "datastore_unreachable" {
		t.Errorf("a realm's reset with holes: %s", a)
	}
	if a := b.request("presence.search_req.acme%2Etest", "search_req", `"Realm":"acme.test"`)[0]; string(a["missing_shards"]) != "[3,5]" || string(a["timeout"]) != "true" {
		t.Errorf("a listing with holes: %s", a)
	}
	b.router.mu.Lock()
	b.router.answer = actors.Answer{Err: presence.ErrTooNew}
	b.router.mu.Unlock()
	b.router.mu.Lock()
	b.router.answer = actors.Answer{Err: presence.ErrTooManySubscriptions}
	b.router.mu.Unlock()
	if a = b.request("omnipresence.subscribe.acme%2Etest.1", "subscription", `"User":"1@acme.test","Expires":60`)[0]; a.text("Code") != "480" || a.text("Reason") != kazoo.TooManySubscriptions {
		t.Errorf("an account with too many subscriptions: %s", a)
	}
	b.router.mu.Lock()
	b.router.answer = actors.Answer{Err: presence.ErrTooNew}
	b.router.mu.Unlock()
	a = b.request("omnipresence.subscribe.acme%2Etest.1", "subscription", `"User":"1@acme.test","Expires":60`)[0]
	if a.text("Code") != "503" || a.text("Reason") != "datastore_unreachable" || a.text("Details") != presence.ErrTooNew.Error() {
		t.Errorf("an event package that not all nodes read: %s", a)
	}
}

// However a document and its subject write the name of an extension, it is one extension; and a document needs no fields that
// only Kazoo has.
func TestNamesOverNATS(t *testing.T) {
	b := newBed(t)
	for i, c := range []struct{ subject, document, want string }{
		{"presence.set.acme%2Etest.%2A3107", `"Event-Name":"set","Realm":"acme.test","Username":"%2A3107","State":"early"`, "*3107@acme.test"},
		{"presence.set.acme%2Etest.%252A3107", `"Event-Name":"set","Realm":"acme.test","Username":"*3107@acme.test","State":"early"`, "*3107@acme.test"},
		{"presence.reset.acme%2Etest.1001%40acme%2Etest", `"Event-Name":"reset","Realm":"acme.test","Username":"1001@acme.test"`, "1001@acme.test"},
		{"presence.show.acme%2Etest.1001", `"Event-Name":"show_req","Realm":"acme.test","Username":"1001@acme.test"`, "1001@acme.test"},
		{"presence.probes.dialog", `"Event-Name":"probe","Realm":"acme.test","Username":"sip:1001@acme.test","Event-Package":"dialog;sla"`, "1001@acme.test"},
		{"omnipresence.subscribe.acme%2Etest.%2A3107", `"Event-Name":"subscription","User":"sip:%2a3107@acme.test:5060","Expires":60,"Event-Package":"dialog;id=77"`, "*3107@acme.test"},
		{"presence.mwi_updates.acme%2Etest.1001", `"Event-Name":"mwi_update","To":"pres:1001@acme.test","Messages-New":0,"Messages-Saved":0`, "1001@acme.test"},
		{"omnipresence.notify.acme%2Etest.%252A3107", `"Event-Name":"notify","To":"a","From":"b","Call-ID":"c"`, "*3107@acme.test"},
	} {
		b.router.mu.Lock()
		b.router.kept, b.router.answer.View = nil, presence.Idle
		b.router.mu.Unlock()
		m, err := b.conn.Request(c.subject, []byte(`{"Event-Category":"presence",`+c.document+`}`), 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", c.subject, err)
		}
		if r := b.router.requests(); len(r) == 0 || r[0].To.String() != c.want {
			t.Errorf("%s %s went to %v: %s", c.subject, c.document, r, m.Data)
		}
		if n := int(counted(t, b.bus.metrics.anonymous)); n != i+1 {
			t.Errorf("%d anonymous documents count after %d", n, i+1)
		}
	}
	for subject, document := range map[string]string{
		"presence.set.acme%2Etest.1001":                  `"Event-Name":"set","Realm":"acme.test","Username":"1001@other.test","State":"early"`,
		"presence.reset.acme%2Etest.%2A":                 `"Event-Name":"reset","Realm":"acme.test","Username":"%2A"`,
		"presence.set.acme%2Etest.1001%40other%2Etest":   `"Event-Name":"set","Realm":"acme.test","Username":"1001@acme.test","State":"early"`,
		"presence.reset.acme%2Etest.1001%40other%2Etest": `"Event-Name":"reset","Realm":"other.test","Username":"1001@other.test"`,
	} {
		b.router.mu.Lock()
		b.router.kept = nil
		b.router.mu.Unlock()
		m, err := b.conn.Request(subject, []byte(`{"Event-Category":"presence",`+document+`}`), 10*time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"Code":"400"`) || len(b.router.requests()) != 0 {
			t.Errorf("%s %s: %s %v", subject, document, m.Data, err)
		}
	}
}

// An extension that a mailbox lit before, and that its document does not name any more, is put out, after the mailbox's own
// extension has said which one that is.
func TestFormerExtendedExtensionGoesDark(t *testing.T) {
	b := newBed(t)
	b.router.answer.Former = []string{"7001", "7002", "7003"}
	if a := b.request("presence.mwi_updates.acme%2Etest.1001", "mwi_update", `"To":"1001@acme.test","Messages-New":2,"Messages-Saved":0,"Extended-Presence-ID":"7002"`)[0]; a.text("Status") != "ok" {
		t.Fatal(a)
	}
	lit := map[string]uint32{}
	for i, r := range b.router.requests() {
		e := r.Message.(presence.MailboxEvent)
		if e.Lamp == (i == 0) || e.Source != "1001@acme.test" || i == 0 && e.Extended != "7002" {
			t.Errorf("message %d to %v: %+v", i, r.To, e)
		}
		lit[r.To.String()] = e.New
	}
	if want := map[string]uint32{"1001@acme.test": 2, "*981001@acme.test": 2, "7002@acme.test": 2, "7001@acme.test": 0, "7003@acme.test": 0}; !maps.Equal(lit, want) {
		t.Errorf("%v, want %v", lit, want)
	}
}

// counted returns the value of a counter.
func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// Every kind of document in docs/contract/nats.md, "Control", is an endpoint of the micro service, which names its schema and
// version.
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
	if info.Version != "0.1.0" || info.Metadata["schema"] == "" || info.Metadata["version"] != "0.1.0" || info.Metadata["node"] != "n" || len(info.Endpoints) != 6 {
		t.Errorf("%+v", info)
	}
	for _, e := range info.Endpoints {
		switch e.Subject {
		case "presence.search_req.*", "presence.show.*.*", "presence.set.*.*", "presence.reset.*.*", "presence.probes.*", "presence.switch_gone":
		default:
			t.Errorf("an endpoint %s", e.Subject)
		}
		if e.Queue != subject.Queue || e.Metadata["request"] == "" || e.Metadata["response"] == "" {
			t.Errorf("%+v", e)
		}
	}
}

// The answer for an extension with 10,000 watchers comes in parts, each of which fits into a NATS message. Together the parts
// hold each watcher once.
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
