package rest

import (
	"strings"
	"testing"

	"lamplight/actors"
)

// Each command is told to the audit with who gave it, from where, in which request, and how it ended. The router gets the same.
func TestAudit(t *testing.T) {
	e := newBed(t, 0)
	for _, c := range []struct{ path, body, action, state, user, who string }{
		{"/presence/1001", `{"data":{"action":"set","state":"early"}}`, "set", "early", "1001", "a token of account " + root},
		{"/presence/1001", `{"data":{"action":"reset"}}`, "reset", "", "1001", "a token of account " + root},
		{"/presence", `{"data":{"action":"reset"}}`, "reset", "", "*", "a token of account " + root},
	} {
		e.router.audited = nil
		e.router.err = nil
		e.do("POST", "/v2/accounts/"+root+c.path, e.tokens[root], c.body)
		if len(e.router.audited) != 1 {
			t.Fatalf("%s %s: %+v", c.path, c.body, e.router.audited)
		}
		a := e.router.audited[0]
		if a.Action != c.action || a.State != c.state || a.User != c.user || a.By != c.who || !strings.HasPrefix(a.From, "127.") || a.Request == "" || a.Err != nil {
			t.Errorf("%s %s: %+v", c.path, c.body, a)
		}
		if c.user != "*" {
			if q := e.router.requests[len(e.router.requests)-1]; q.Origin != a.Origin {
				t.Errorf("the router got %+v", q.Origin)
			}
		}
	}
	e.router.audited, e.router.err = nil, actors.ErrUnknown
	e.do("POST", "/v2/accounts/"+root+"/presence/1001", e.tokens[root], `{"data":{"action":"reset"}}`)
	if len(e.router.audited) != 1 || e.router.audited[0].Err == nil {
		t.Errorf("a command that failed: %+v", e.router.audited)
	}
}
