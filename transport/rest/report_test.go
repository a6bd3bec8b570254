package rest

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Every reset keeps a report of what was there before, and its answer names it. The report is given to whoever may act on the account. A
// report that can't be kept does not hinder the reset, and a set keeps none.
func TestReports(t *testing.T) {
	e := newBed(t, 0)
	e.router.rows = []actors.SubscriptionView{{User: "1009", Lamp: &presence.View{State: presence.Early, Dialogs: []presence.DialogView{{CallID: "k", State: presence.Early}}}}}
	at := "/v2/accounts/" + root
	for path, want := range map[string]string{
		at + "/presence/1001":                  `"extensions":{"1001@root.test":{"extension":"1001","state":"terminated",`,
		at + "/presence/1001@child.test":       `"extensions":{"1001@child.test":{`,
		at + "/devices/" + phone + "/presence": `"extensions":{"1001@root.test":{`,
		at + "/users/" + user + "/presence":    `"extensions":{"1001@root.test":{`,
		at + "/presence":                       `"lamps":{"1009":{"state":"early"`,
	} {
		r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`, "X-Request-ID", "why-1")
		if r.Code != 200 || len(r.Report) != 32 {
			t.Errorf("%s: %d %s", path, r.Code, r.Raw)
			continue
		}
		report := at + "/presence/report-" + r.Report
		got := e.do("GET", report, e.tokens[root], "")
		var fields struct {
			Account string `json:"account_id"`
			Realm   string `json:"realm"`
			Action  string `json:"action"`
			By      string `json:"by"`
			Address string `json:"address"`
			Request string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(got.Raw), &fields); err != nil || fields.Account != root || fields.Realm != "root.test" || fields.Action != "reset" || fields.By != "a token of account "+root ||
			fields.Address == "" || fields.Request != "why-1" || !strings.Contains(got.Raw, want) {
			t.Errorf("%s: %v %s", path, err, got.Raw)
		}
		if got.Header.Get("Content-Disposition") != "attachment; filename="+r.Report+".json" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", path, got.Header)
		}
		if last := e.router.audited[len(e.router.audited)-1]; last.Report != r.Report {
			t.Errorf("%s: the audit names the report %q", path, last.Report)
		}
		for _, c := range []struct {
			method, path, token string
			code                int
		}{{"POST", report, root, 405}, {"GET", report, other, 403}, {"GET", "/v2/accounts/" + child + "/presence/report-" + r.Report, root, 404}, {"GET", report, "", 401},
			{"GET", at + "/presence/report-" + child, root, 404}, {"GET", at + "/presence/report-1", root, 200}} {
			if r := e.do(c.method, c.path, e.tokens[c.token], ""); r.Code != c.code {
				t.Errorf("%s %s with the token of %q: %d %s", c.method, c.path, c.token, r.Code, r.Raw)
			}
		}
	}
	before := len(e.router.reports)
	if r := e.do("POST", at+"/presence/1001", e.tokens[root], `{"data":{"action":"set","state":"early"}}`); r.Code != 200 || r.Report != "" || len(e.router.reports) != before {
		t.Errorf("a set: %d %s", r.Code, r.Raw)
	}
	e.router.unkept = true
	if r := e.do("POST", at+"/presence/1001", e.tokens[root], ""); r.Code != 200 || strings.Contains(r.Raw, "report_id") {
		t.Errorf("a reset whose report can't be kept: %d %s", r.Code, r.Raw)
	}
}
