package rest

import (
	"strings"
	"testing"
)

// The budgets of an account are set by the accounts above it, and never by its own token. The master account has nobody above it.
func TestAccountsDoNotRaiseTheirOwnLimits(t *testing.T) {
	e := newBed(t, 0)
	at := "/v2/accounts/" + child
	has := func(what, limits string) {
		t.Helper()
		if r := e.do("GET", at, e.tokens[child], ""); r.Code != 200 || strings.Contains(r.Raw, `"limits"`) != (limits != "") || !strings.Contains(r.Raw, limits) {
			t.Errorf("%s: %d %s", what, r.Code, r.Raw)
		}
	}
	for _, c := range []struct {
		method, token, data string
		code                int
		limits              string
	}{
		{"PATCH", child, `{"presence":{"limits":{"events":1000}}}`, 403, ""},
		{"PATCH", root, `{"presence":{"limits":{"events":10,"requests":0}}}`, 200, `"limits":{"events":10,"requests":0}`},
		{"PATCH", child, `{"presence":{"limits":{"events":1000}}}`, 403, `"limits":{"events":10,"requests":0}`},
		{"PATCH", child, `{"presence":{"limits":null,"hide_parties":true}}`, 200, `"limits":{"events":10,"requests":0}`},
		{"POST", child, `{"realm":"child.test","name":"Child"}`, 200, `"limits":{"events":10,"requests":0}`},
		{"POST", child, `{"realm":"child.test","presence":{"limits":{"events":10,"requests":0}}}`, 200, `"limits":{"events":10,"requests":0}`},
		{"POST", child, `{"realm":"child.test","presence":{"limits":{"events":11}}}`, 403, `"limits":{"events":10,"requests":0}`},
		{"PATCH", root, `{"presence":{"limits":{"notifies":-1}}}`, 400, `"events":10`},
		{"PATCH", root, `{"presence":{"limits":{"notifies":1.5}}}`, 400, `"events":10`},
		{"PATCH", root, `{"presence":{"limits":[]}}`, 400, `"events":10`},
		{"POST", root, `{"realm":"child.test"}`, 200, ""},
	} {
		if r := e.do(c.method, at, e.tokens[c.token], `{"data":`+c.data+`}`); r.Code != c.code {
			t.Errorf("%s %s by %s: %d %s", c.method, c.data, c.token, r.Code, r.Raw)
		}
		has(c.method+" "+c.data, c.limits)
	}
}

// An account that has budgets gives accounts below it none that are higher.
func TestBudgetsAreNotGoneRound(t *testing.T) {
	e := newBed(t, 0)
	if r := e.do("PATCH", "/v2/accounts/"+child, e.tokens[root], `{"data":{"presence":{"limits":{"events":10,"requests":0}}}}`); r.Code != 200 {
		t.Fatal(r.Raw)
	}
	for i, c := range []struct {
		limits string
		code   int
	}{{`{"events":0}`, 403}, {`{"events":11}`, 403}, {`{"events":10}`, 201}, {`{"requests":1000,"notifies":5}`, 201}, {`null`, 201}} {
		realm := `"below` + string(rune('a'+i)) + `.test"`
		if r := e.do("PUT", "/v2/accounts/"+child, e.tokens[child], `{"data":{"realm":`+realm+`,"presence":{"limits":`+c.limits+`}}}`); r.Code != c.code {
			t.Errorf("%s: %d %s", c.limits, r.Code, r.Raw)
		}
	}
	if r := e.do("PUT", "/v2/accounts/"+child, e.tokens[root], `{"data":{"realm":"above.test","presence":{"limits":{"events":0}}}}`); r.Code != 201 {
		t.Errorf("the master account: %d %s", r.Code, r.Raw)
	}
}
