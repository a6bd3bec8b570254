package rest

import (
	"context"
	"strings"
	"testing"
	"time"

	"lamplight/transport/access"
)

// master makes a master account and returns a token of it.
func (e *bed) master() string {
	e.t.Helper()
	top, _, err := e.api.cfg.Directory.CreateAccount(context.Background(), map[string]any{"name": "Top", "realm": "top.test"}, true)
	if err != nil {
		e.t.Fatal(err)
	}
	token, err := access.Sign(e.key, top.ID, time.Hour)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// Only a token of the master account ends the calls of a switch.
func TestSwitches(t *testing.T) {
	e := newBed(t, 0)
	e.router.cover.Extensions = 7
	e.router.cover.Missing = nil
	const path, body = "/v2/switches", `{"data":{"action":"gone","switch_uri":"sip:one","before":"2026-11-28T10:00:00Z"}}`
	if a := e.do("POST", path, e.tokens[root], body); a.Code != 403 {
		t.Fatalf("without a master account: %+v", a)
	}
	master := e.master()
	for _, c := range []struct {
		method, token, body string
		code                int
	}{
		{"POST", e.tokens[child], body, 403},
		{"POST", e.tokens[root], body, 403},
		{"GET", master, "", 405},
		{"POST", master, `{"data":{"action":"reset","switch_uri":"sip:one"}}`, 400},
		{"POST", master, `{"data":{"action":"gone"}}`, 400},
		{"POST", master, `{"data":{"action":"gone","switch_uri":7}}`, 400},
		{"POST", master, `{"data":{"action":"gone","switch_uri":"sip:one","before":"yesterday"}}`, 400},
		{"POST", master, `{"data":{"action":"gone","switch_uri":"sip:one","before":-1}}`, 400},
	} {
		if a := e.do(c.method, path, c.token, c.body); a.Code != c.code || e.router.gone.Switch != "" {
			t.Errorf("%s %s: %+v", c.method, c.body, a)
		}
	}
	at := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for _, before := range []string{`"2026-11-28T10:00:00Z"`, `1795860000`, `1795860000000000`} {
		a := e.do("POST", path, master, `{"data":{"action":"gone","switch_uri":"sip:one","before":`+before+`}}`)
		if a.Code != 200 || !e.router.gone.Before.Equal(at) || !strings.Contains(a.Raw, `"data":{"ended":7}`) {
			t.Errorf("before %s: %+v, %v", before, a, e.router.gone)
		}
	}
}
