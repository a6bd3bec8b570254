package bus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// A search with Lit answers with Lamps, in parts if there are many; one lamp that fills a part shows its most important dialog.
func TestLitSearch(t *testing.T) {
	b := newBed(t)
	const topic = "presence.search_req.acme%2Etest"
	if a := b.request(topic, "search_req", `"Realm":"acme.test","Lit":true`)[0]; string(a["Lamps"]) != "{}" || a["Subscriptions"] != nil || a.text("Event-Name") != "search_resp" {
		t.Errorf("none: %s", a)
	}
	dialogs := []presence.DialogView{{CallID: "k1", State: presence.Early, Source: "call", Since: time.Unix(1, 0), From: strings.Repeat("x", 4000)}}
	for range 100 {
		dialogs = append(dialogs, dialogs[0])
	}
	const lamps = 3000
	for i := range lamps {
		v := &presence.View{State: presence.Early, Dialogs: dialogs[:1]}
		if i == 7 {
			v.Dialogs = dialogs
		}
		b.router.rows = append(b.router.rows, actors.SubscriptionView{User: fmt.Sprint(10000 + i), Lamp: v})
	}
	b.router.cover = actors.Coverage{Missing: []int{3, 5}}
	begun := time.Now()
	all := b.request(topic, "search_req", `"Realm":"acme.test","Lit":"true","Older-Than":"30m","State":"Early","Source":"call"`)
	seen := map[string]bool{}
	for i, d := range all {
		var part map[string]struct {
			State   string           `json:"state"`
			Dialogs []jsontext.Value `json:"dialogs"`
		}
		if err := json.Unmarshal(d["Lamps"], &part); err != nil {
			t.Fatal(err)
		}
		for user, l := range part {
			if seen[user] || l.State != "early" || len(l.Dialogs) != 1 {
				t.Errorf("%s: %s with %d dialogs, seen before: %v", user, l.State, len(l.Dialogs), seen[user])
			}
			seen[user] = true
		}
		if i < len(all)-1 && (string(d["Part"]) != fmt.Sprint(i+1) || d.text("Event-Name") != "search_partial_resp") {
			t.Errorf("part %d: %s, numbered %s", i+1, d.text("Event-Name"), d["Part"])
		}
	}
	if last := all[len(all)-1]; len(seen) != lamps || len(all) < 5 || string(last["Part"]) != fmt.Sprint(len(all)-1) || string(last["missing_shards"]) != "[3,5]" {
		t.Errorf("%d lamps in %d messages, %s missing", len(seen), len(all), last["missing_shards"])
	}
	q := b.router.asked()
	if age := begun.Sub(q.Until); age > 30*time.Minute || age < 29*time.Minute {
		t.Errorf("a lamp must be older than %v", age)
	}
	q.Until = time.Time{}
	if q != (actors.Query{Realm: "acme.test", Lit: true, State: presence.Early, Source: "call"}) {
		t.Errorf("%+v", q)
	}
	// A summary counts, and a show of an extension is the same whatever else it asks for.
	b.router.rows = []actors.SubscriptionView{{User: "1", CallID: "c1"}, {User: "1", CallID: "c2"}}
	if a := b.request(topic, "search_req", `"Realm":"acme.test","Summary":true`)[0]; string(a["Subscriptions"]) != `{"1":{"dialog":2}}` || b.router.asked().Bodies {
		t.Errorf("a summary: %s", a)
	}
	for i := range 20_000 {
		b.router.answer.Subscriptions = append(b.router.answer.Subscriptions, actors.SubscriptionView{User: "1", CallID: fmt.Sprint("call", i)})
	}
	b.router.answer.View = &presence.View{State: presence.Early}
	if a := b.request("presence.show.acme%2Etest.1", "show_req", `"Realm":"acme.test","Username":"1","Lit":true,"Summary":true`)[0]; a.text("Event-Name") != "show_partial_resp" || !strings.HasPrefix(string(a["Subscriptions"]), `{"1":{"dialog":{"call0":{`) {
		t.Errorf("a show: %.200s", a)
	}
	b.router.cover = actors.Coverage{Extensions: 7}
	if a := b.request("presence.reset.acme%2Etest.%2A", "reset", `"Realm":"acme.test","Username":"*"`)[0]; a.text("Status") != "ok" || string(a["Extensions"]) != "7" {
		t.Errorf("a realm's reset: %s", a)
	}
	for fields, word := range map[string]string{
		`"Lit":true,"Older-Than":"4"`: "Older-Than", `"Lit":true,"State":"terminated"`: "State", `"Lit":true,"Source":"phone"`: "Source", `"Lit":1`: "Lit",
		`"Lit":true,"Event-Package":"dialog"`: "Event-Package", `"Lit":true,"Summary":true`: "Summary", `"Older-Than":"4h"`: "Older-Than", `"State":"early"`: "State", `"Lit":false,"Source":"call"`: "Source",
	} {
		if a := b.request(topic, "search_req", `"Realm":"acme.test",`+fields)[0]; a.text("Code") != "400" || !strings.HasPrefix(a.text("Details"), word) {
			t.Errorf("%s: %s %s", fields, a.text("Code"), a.text("Details"))
		}
	}
}

// asked returns the last listing's query.
func (r *router) asked() actors.Query {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.query
}
