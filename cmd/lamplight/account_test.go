package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// The first account is the master account: it makes the top-level accounts, and its token may act on all. Its API key is printed once
// and logs in.
func TestAccountCommands(t *testing.T) {
	p := serve(t, t.TempDir())
	create := func(args ...string) (v accountView) {
		t.Helper()
		out := p.lamplight(append([]string{"account", "create", "-o", "json", "--nats", p.nats}, args...)...)
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return v
	}
	top, acme := create("--name", "Carrier", "--realm", "Carrier.example"), create("--realm", "acme.example.com")
	below := create("--realm", "below.example.com", "--parent", acme.ID)
	if !top.Master || acme.Master || top.Realm != "carrier.example" || len(top.APIKey) != 32 || top.APIKey == acme.APIKey {
		t.Errorf("%+v %+v", top, acme)
	}
	fails(t, "master account already", "account", "create", "--master", "--realm", "x.example", "--nats", p.nats)
	fails(t, "another account has the realm", "account", "create", "--realm", "ACME.example.com", "--nats", p.nats)
	if _, talk, code := command("account", "create", "--master", "--parent", acme.ID, "--realm", "x.example", "--nats", p.nats); code != 2 {
		t.Errorf("--master with --parent: exit %d: %s", code, talk)
	}
	list := p.lamplight("account", "list", "--nats", p.nats)
	if strings.Contains(list, top.APIKey) || len(strings.Split(list, "\n")) != 4 || !strings.Contains(list, acme.ID+"  "+top.ID) {
		t.Errorf("the list:\n%s", list)
	}
	if only := p.lamplight("account", "list", "--parent", acme.ID, "--nats", p.nats); !strings.Contains(only, below.ID) || strings.Contains(only, top.ID) {
		t.Errorf("only what is below:\n%s", only)
	}
	for words, flags := range map[string][]string{"no account has the realm nope.example": {"--realm", "nope.example"}, "there is no account " + account: {"--parent", account}} {
		if out, talk, code := command(append([]string{"account", "list", "--nats", p.nats}, flags...)...); code != 1 || out != "" || !strings.Contains(talk, words) {
			t.Errorf("%v: exit %d: %s%s", flags, code, out, talk)
		}
	}
	if only := p.lamplight("account", "list", "--realm", "BELOW.example.com", "--nats", p.nats); !strings.Contains(only, below.ID) {
		t.Errorf("the account with a realm:\n%s", only)
	}
	logIn := func(key string) {
		t.Helper()
		if a := p.shell(`curl -s -X PUT -d '{"data":{"api_key":"` + key + `"}}' http://{SERVER}:8000/v2/api_auth`); a.Status != "success" {
			t.Fatalf("%+v", a)
		}
		p.token = p.lamplight("token", "--account", map[string]string{top.APIKey: top.ID, acme.APIKey: acme.ID}[key], "--data", p.data)
	}
	logIn(top.APIKey)
	made := p.shell(`curl -s -X PUT -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"realm":"new.example"}}' http://{SERVER}:8000/v2/accounts`)
	if made.Status != "success" || !strings.Contains(string(made.Data), `"parent_id":"`+top.ID+`"`) {
		t.Errorf("a top-level account: %+v %s", made, made.Data)
	}
	if a := p.shell(`curl -s -H "X-Auth-Token: {AUTH_TOKEN}" http://{SERVER}:8000/v2/accounts/` + below.ID); a.Status != "success" {
		t.Errorf("the master reads an account: %+v", a)
	}
	logIn(acme.APIKey)
	if a := p.shell(`curl -s -X PUT -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"realm":"other.example","parent_id":"` + top.ID + `"}}' http://{SERVER}:8000/v2/accounts`); a.Error != "403" {
		t.Errorf("another account makes a top-level one: %+v", a)
	}
}
