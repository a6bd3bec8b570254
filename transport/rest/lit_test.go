package rest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// lit is a row of a listing of lit lamps.
func lit(user string) actors.SubscriptionView {
	return actors.SubscriptionView{User: user, Lamp: &presence.View{State: presence.Confirmed, Dialogs: []presence.DialogView{
		{CallID: "k1", State: presence.Confirmed, Source: "call", Since: time.Unix(1_790_000_000, 0), From: user + "@root.test", To: "2@root.test"},
		{CallID: "r1", State: presence.Trying, Source: "register", Since: time.Unix(1_780_000_000, 0)}}}}
}

// ?lit=true lists lamps, with their filters, pages and holes, and streams a large listing.
func TestLitLamps(t *testing.T) {
	e := newBed(t, 0)
	mine, path := e.tokens[root], "/v2/accounts/"+root+"/presence"
	if r := e.do("GET", path+"?lit=true", mine, ""); r.Code != 200 || !strings.Contains(r.Raw, `"data":{"lamps":{}}`) {
		t.Errorf("none: %s", r.Raw)
	}
	e.router.mu.Lock()
	e.router.rows, e.router.cover = []actors.SubscriptionView{lit("1001")}, actors.Coverage{Missing: []int{3, 9}, Next: "1002", Stale: true}
	e.router.mu.Unlock()
	begun := time.Now()
	r := e.do("GET", path+"?lit=true&older_than=4h&source=call&state=confirmed&page_size=1&start_key=1001", mine, "")
	want := `"data":{"lamps":{"1001":{"state":"confirmed","since":"2026-09-21T14:13:20Z","source":"call","dialogs":[{"call_id":"k1","state":"confirmed","direction":"initiator","source":"call","from":"1001@root.test","to":"2@root.test","since":"2026-09-21T14:13:20Z"},` +
		`{"call_id":"r1","state":"trying","direction":"initiator","source":"register","from":"","to":"","since":"2026-05-28T20:26:40Z"}]}},"timeout":true,"missing_shards":[3,9]}`
	if r.Code != 200 || r.Next != "1002" || !strings.Contains(r.Raw, want) || !strings.Contains(r.Raw, `"stale":true`) {
		t.Errorf("%s\nwant %s", r.Raw, want)
	}
	q := e.router.query
	if age := begun.Sub(q.Until); age > 4*time.Hour || age < 4*time.Hour-10*time.Second {
		t.Errorf("a lamp must be older than %v", age)
	}
	q.Until = time.Time{}
	if q != (actors.Query{Realm: "root.test", From: "1001", Limit: 1, Lit: true, State: presence.Confirmed, Source: "call"}) {
		t.Errorf("%+v", q)
	}
	e.router.mu.Lock()
	e.router.rows, e.router.cover = nil, actors.Coverage{}
	for i := range 9000 {
		e.router.rows = append(e.router.rows, lit("u"+strconv.Itoa(10000+i)))
	}
	e.router.mu.Unlock()
	r = e.do("GET", path+"?lit=true", mine, "")
	m, _ := r.Data.(map[string]any)
	if lamps, _ := m["lamps"].(map[string]any); len(r.Raw) < streamFrom || len(lamps) != 9000 || r.Header.Get("ETag") != "" || r.Status != "success" {
		t.Errorf("streamed: %d bytes, %d lamps, ETag %q, %s", len(r.Raw), len(lamps), r.Header.Get("ETag"), r.Status)
	}
}

// Wrong values, and values that do not go together, are refused with the field's name. The account tree is that of the listing.
func TestLitRefusals(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence?"
	for query, field := range map[string]string{
		"lit=yes": "lit", "summary=x": "summary", "summary=1": "summary", "lit=1": "lit", "lit=true&older_than=4": "older_than", "lit=true&older_than=-4h": "older_than", "lit=true&older_than=0s": "older_than", "lit=true&older_than=": "older_than",
		"lit=true&state=terminated": "state", "lit=true&state=lit": "state", "lit=true&state=": "state", "lit=true&source=phone": "source", "lit=true&source=": "source",
		"lit=true&event=dialog": "event", "lit=true&summary=true": "summary", "lit=true&page_size=0": "page_size",
		"older_than=4h": "older_than", "state=early": "state", "source=call": "source", "lit=false&state=early": "state",
	} {
		r := e.do("GET", path+query, e.tokens[root], "")
		if m, _ := r.Data.(map[string]any); r.Code != 400 || r.Message != "validation error" || m[field] == nil {
			t.Errorf("%s: %d %s, want an error that names %s", query, r.Code, r.Raw, field)
		}
	}
	for _, c := range []struct {
		token, account string
		code           int
	}{{e.tokens[root], child, 200}, {e.tokens[child], root, 403}, {e.tokens[other], root, 403}, {"", root, 401}} {
		if r := e.do("GET", "/v2/accounts/"+c.account+"/presence?lit=true", c.token, ""); r.Code != c.code {
			t.Errorf("%s: %d, want %d", c.account, r.Code, c.code)
		}
	}
	if e.router.query.Realm != "child.test" || !e.router.query.Lit {
		t.Errorf("%+v", e.router.query)
	}
}
