package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/directory"
	"lamplight/transport/access"
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

// An account that the token may act on can be moved to where the token may act, and to no other place. No account moves itself. A null
// means the same in a POST and in a PATCH: the account is to have no parent, and only the master account may do that.
func TestMovingAccounts(t *testing.T) {
	e := newBed(t, 0)
	d := e.api.cfg.Directory
	master, _, err := d.CreateAccount(t.Context(), map[string]any{"realm": "master.test"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if e.tokens[master.ID], err = access.Sign(e.key, master.ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	r := e.do("PUT", "/v2/accounts/"+root, e.tokens[root], `{"data":{"realm":"second.test"}}`)
	made, _ := r.Data.(map[string]any)
	sibling, _ := made["id"].(string)
	const nobody = "0000000000000000000000000000000f"
	parent := func(id string) string {
		a, err := d.Get(t.Context(), directory.Accounts, id, id)
		if err != nil {
			t.Fatal(err)
		}
		return a.Text("parent_id")
	}
	for _, c := range []struct {
		token, account, parent string
		code                   int
	}{
		{child, child, `null`, 403}, {child, child, `""`, 403}, {child, child, `"` + other + `"`, 403}, {child, child, `"` + sibling + `"`, 403}, {child, child, `"` + child + `"`, 400},
		{child, child, `"` + root + `"`, 200}, {child, child, `5`, 400}, {root, child, `"` + nobody + `"`, 400}, {root, child, `"nobody"`, 400}, {root, child, `[]`, 400},
		{root, child, `null`, 403}, {root, child, `"` + other + `"`, 403}, {root, child, `"` + master.ID + `"`, 403}, {root, child, `"` + sibling + `"`, 200}, {root, child, `"` + root + `"`, 200},
		{root, root, `null`, 200}, {root, root, `"` + master.ID + `"`, 200}, {root, root, `"` + other + `"`, 403}, {root, root, `"` + child + `"`, 400}, {root, root, `null`, 200},
		{master.ID, child, `null`, 200}, {master.ID, child, `"` + other + `"`, 200}, {master.ID, child, `"` + root + `"`, 200}, {master.ID, master.ID, `"` + root + `"`, 400},
		{master.ID, master.ID, `null`, 200},
	} {
		before := parent(c.account)
		for _, verb := range []string{"PATCH", "POST"} {
			a, _ := d.Get(t.Context(), directory.Accounts, c.account, c.account)
			r := e.do(verb, "/v2/accounts/"+c.account, e.tokens[c.token], `{"data":{"realm":"`+a.Realm()+`","parent_id":`+c.parent+`}}`)
			want := before
			if c.code == 200 {
				want = strings.Trim(strings.ReplaceAll(c.parent, "null", ""), `"`)
			}
			if r.Code != c.code || parent(c.account) != want || strings.Contains(r.Raw, `"parent_id":null`) {
				t.Errorf("%s of %s as %s, below %s: %d %s; its parent is %q", verb, c.account, c.token, c.parent, r.Code, r.Raw, parent(c.account))
			}
		}
	}
	if r := e.do("POST", "/v2/accounts/"+child, e.tokens[child], `{"data":{"realm":"child.test"}}`); r.Code != 200 || parent(child) != root {
		t.Errorf("a POST without a parent: %d %s", r.Code, r.Raw)
	}
	for body, code := range map[string]int{`"parent_id":5`: 400, `"parent_id":"` + nobody + `"`: 400, `"parent_id":"` + other + `"`: 403} {
		if r := e.do("PUT", "/v2/accounts", e.tokens[root], `{"data":{"realm":"n.test",`+body+`}}`); r.Code != code {
			t.Errorf("an account with %s: %d %s", body, r.Code, r.Raw)
		}
	}
}

// A request for an account that another request removes at the same time is answered as if it came before or after.
func TestAccountGoesMeanwhile(t *testing.T) {
	e := newBed(t, 0)
	for round := range 40 {
		r := e.do("PUT", "/v2/accounts", e.tokens[root], fmt.Sprintf(`{"data":{"realm":"r%d.test"}}`, round))
		made, _ := r.Data.(map[string]any)
		at := fmt.Sprint("/v2/accounts/", made["id"])
		removed := make(chan reply)
		go func() { removed <- e.do("DELETE", at, e.tokens[root], "") }()
		put, del := e.do("PUT", at, e.tokens[root], fmt.Sprintf(`{"data":{"realm":"below%d.test"}}`, round)), <-removed
		if !(put.Code == 404 && del.Code == 200 || put.Code == 201 && del.Code == 409) {
			t.Errorf("PUT %d %s, DELETE %d %s", put.Code, put.Raw, del.Code, del.Raw)
		}
	}
}

// A new entry gets an id of its own, whatever the body says, and an entry keeps its id.
func TestIDsOfBodies(t *testing.T) {
	e := newBed(t, 0)
	base, mine := "/v2/accounts/"+root, e.tokens[root]
	const wish = "0000000000000000000000000000abcd"
	seen := map[any]bool{}
	for path, fields := range map[string]string{base + "/devices": ``, base + "/users": ``, "/v2/accounts": `"realm":"id.test",`, base: `"realm":"id2.test",`} {
		r := e.do("PUT", path, mine, `{"data":{`+fields+`"id":"`+wish+`"}}`)
		made, _ := r.Data.(map[string]any)
		if id, _ := made["id"].(string); r.Code != 201 || id == wish || seen[id] || !directory.ValidID(id) {
			t.Errorf("PUT %s: %d %s", path, r.Code, r.Raw)
		}
		seen[made["id"]] = true
	}
	for _, verb := range []string{"POST", "PATCH"} {
		if r := e.do(verb, base+"/devices/"+phone, mine, `{"data":{"id":"`+wish+`","name":"x"}}`); r.Code != 200 || !strings.Contains(r.Raw, `"id":"`+phone+`"`) {
			t.Errorf("%s: %d %s", verb, r.Code, r.Raw)
		}
	}
}
