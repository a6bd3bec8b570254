package rest

import (
	"fmt"
	"strings"
	"testing"

	"lamplight/cluster/directory"
)

// An entry with a wrong field is refused, and the answer names the field. All other fields are kept as they came.
func TestEntries(t *testing.T) {
	e := newBed(t, 0)
	base := "/v2/accounts/" + root
	long := strings.Repeat("*", 1400)
	for _, c := range []struct{ path, data, field string }{
		{base + "/devices", `{"name":5}`, "name"}, {base + "/devices", `{"presence_id":"*"}`, "presence_id"}, {base + "/devices", `{"presence_id":"@root.test"}`, "presence_id"},
		{base + "/devices", `{"presence_id":"a\u0001"}`, "presence_id"}, {base + "/devices", `{"presence_id":"` + long + `"}`, "presence_id"}, {base + "/devices", `{"sip":5}`, "sip"},
		{base + "/devices", `{"sip":{"username":"` + long + `"}}`, "sip.username"}, {base + "/users", `{"presence_id":"*@root.test"}`, "presence_id"}, {base + "/users", `{"last_name":[]}`, "last_name"},
		{"/v2/accounts", `{}`, "realm"}, {"/v2/accounts", `{"realm":"a b"}`, "realm"}, {"/v2/accounts", `{"realm":"a.>"}`, "realm"}, {"/v2/accounts", `{"realm":"x.test","api_key":"` + long + `"}`, "api_key"},
		{base + "/devices", `{"x":"` + strings.Repeat("x", 70_000) + `"}`, "data"},
	} {
		if r := e.do("PUT", c.path, e.tokens[root], `{"data":`+c.data+`}`); r.Code != 400 || r.Message != "validation error" || !strings.Contains(r.Raw, `"data":{"`+c.field+`":{"invalid":{"message":`) {
			t.Errorf("PUT %s %.60s: %d %.300s", c.path, c.data, r.Code, r.Raw)
		}
	}
	const odd = `"deep":{"list":[1,2.50,12345678901234567890123,null,true]},"e":-0`
	r := e.do("PUT", base+"/devices", e.tokens[root], `{"data":{`+odd+`,"sip":{"password":"secret","username":"9"}}}`)
	m, _ := r.Data.(map[string]any)
	at := fmt.Sprint(base, "/devices/", m["id"])
	for _, r := range []reply{r, e.do("GET", at, e.tokens[root], ""), e.do("PATCH", at, e.tokens[root], `{"data":{"sip":{"realm":"x"}}}`), e.do("DELETE", at, e.tokens[root], "")} {
		if r.Code/100 != 2 || !strings.Contains(r.Raw, odd) || strings.Contains(r.Raw, "secret") {
			t.Errorf("%d %s", r.Code, r.Raw)
		}
	}
}

// An entry that is read, changed and written back keeps its password, which reading never shows. null removes the password.
func TestPasswordSurvivesReplacement(t *testing.T) {
	e := newBed(t, 0)
	at := "/v2/accounts/" + root + "/devices/" + phone
	password := func() string {
		d, err := e.api.cfg.Directory.Get(t.Context(), directory.Devices, root, phone)
		if err != nil {
			t.Fatal(err)
		}
		return d.Text("sip.password")
	}
	for _, c := range []struct{ verb, data, want string }{
		{"POST", `{"name":"x","sip":{"username":"1001"}}`, "secret"}, {"PATCH", `{"sip":{"username":"1002"}}`, "secret"}, {"POST", `{"sip":{"username":"1001","password":"new"}}`, "new"},
		{"PATCH", `{"sip":{"password":null}}`, ""}, {"PATCH", `{"sip":{"password":"again"}}`, "again"}, {"POST", `{"name":"x"}`, ""},
	} {
		if r := e.do(c.verb, at, e.tokens[root], `{"data":`+c.data+`}`); r.Code != 200 || strings.Contains(r.Raw, "password") || password() != c.want {
			t.Errorf("%s %s: %d %s; the password is %q", c.verb, c.data, r.Code, r.Raw, password())
		}
	}
}

// A presence id may name any realm that the account of the token may act on. A parent account may store one in a child account
// that the child may not act on.
func TestPresenceIDsOfOtherRealms(t *testing.T) {
	e := newBed(t, 0)
	devices := "/v2/accounts/" + child + "/devices"
	r := e.do("PUT", devices, e.tokens[root], `{"data":{"presence_id":"1@ROOT.test"}}`)
	m, _ := r.Data.(map[string]any)
	if r.Code != 201 {
		t.Fatalf("the parent stores its own realm below: %d %s", r.Code, r.Raw)
	}
	if r := e.do("PUT", devices, e.tokens[child], `{"data":{"presence_id":"1@root.test"}}`); r.Code != 403 {
		t.Errorf("the child stores its parent's realm: %d %s", r.Code, r.Raw)
	}
	at := fmt.Sprint(devices, "/", m["id"], "/presence")
	for token, code := range map[string]int{root: 200, child: 403} {
		for verb, body := range map[string]string{"GET": "", "POST": `{"data":{"action":"set","state":"early"}}`} {
			if r := e.do(verb, at, e.tokens[token], body); r.Code != code {
				t.Errorf("%s as %s: %d %s", verb, token, r.Code, r.Raw)
			}
		}
	}
	if all := e.router.requests; len(all) != 2 || all[0].To != all[1].To || all[0].To.String() != "1@root.test" {
		t.Errorf("the router got %v", all)
	}
}
