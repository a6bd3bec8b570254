package rest

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cluster/status"
	"lamplight/transport/access"
	"lamplight/transport/client"
	"lamplight/transport/live"
)

// listen opens a stream of events. Its lines come on the channel, which is closed when the stream ends.
func (e *bed) listen(account, token, last string) <-chan string {
	e.t.Helper()
	q, err := http.NewRequestWithContext(e.t.Context(), "GET", e.url+"/v2/accounts/"+account+"/presence/events", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	q.Header.Set("X-Auth-Token", token)
	q.Header.Set("Last-Event-ID", last)
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = a.Body.Close() })
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" || a.Header.Get("Cache-Control") != "no-store" {
		e.t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(a.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// await returns the first line that begins with a text; "" when there is none.
func (e *bed) await(lines <-chan string, begins string) string {
	e.t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case l, open := <-lines:
			if !open {
				e.t.Fatalf("the stream ended before %q", begins)
			}
			if strings.HasPrefix(l, begins) {
				return l
			}
		case <-late:
			e.t.Fatalf("no line begins with %q", begins)
		}
	}
}

// A stream has the whole state and then each change, outlives the deadline of a request, and resumes.
func TestEvents(t *testing.T) {
	e := newBed(t, 0)
	begun := time.Now()
	lines := e.listen(root, e.tokens[root], "")
	e.await(lines, "event: reload")
	if l := e.await(lines, "data: {\"1001\""); !strings.Contains(l, `"state":"terminated"`) {
		t.Error(l)
	}
	e.await(lines, "event: whole")
	early := client.Change{Extension: "1001", State: "early", At: "2026-11-28T04:01:34Z", Dialogs: []byte("[]")}
	e.router.changes <- early
	e.await(lines, "event: change")
	id := strings.TrimPrefix(e.await(lines, "id: "), "id: ")
	early.Extension = "1002"
	e.router.changes <- early
	e.await(lines, "data: {\"1002\":{\"state\":\"early\"")
	resumed := e.listen(root, e.tokens[root], id)
	if l := <-resumed; l != "event: change" {
		t.Errorf("the stream resumes with %q", l)
	}
	e.await(resumed, "data: {\"1002\":{\"state\":\"early\"")
	for time.Since(begun) < e.api.cfg.Timeout+2*time.Second { // the deadline of a request has passed
		e.await(lines, "event: alive")
	}
	early.Extension = "1003"
	e.router.changes <- early
	e.await(lines, "data: {\"1003\"")
}

// Only a token that may act on the account gets its events, and only as long as the token is good.
func TestEventsNeedAToken(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/events"
	for token, code := range map[string]int{"": 401, "x": 401, e.tokens[other]: 403, e.tokens[child]: 403} {
		if a := e.do("GET", path, token, ""); a.Code != code {
			t.Errorf("%.10q: %+v", token, a)
		}
	}
	if a := e.do("HEAD", path, e.tokens[root], ""); a.Code != 200 || a.Raw != "" {
		t.Errorf("HEAD: %+v", a)
	}
	e.await(e.listen(child, e.tokens[root], ""), "event: whole") // an account below
	short, err := access.Sign(e.key, root, 7*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	lines := e.listen(root, short, "")
	e.await(lines, "event: end")
	for range lines { // it ends
	}
	lines = e.listen(other, e.tokens[other], "")
	e.await(lines, "event: whole")
	x, err := e.api.cfg.Directory.Get(t.Context(), directory.Accounts, other, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.api.cfg.Directory.Delete(context.Background(), x); err != nil {
		t.Fatal(err)
	}
	e.await(lines, "event: end")
}

// The number of streams of an account is bounded, and a stream that ends makes room.
func TestEventsAreBounded(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/events"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range streamsOfOne {
		q, _ := http.NewRequestWithContext(ctx, "GET", e.url+path, nil)
		q.Header.Set("X-Auth-Token", e.tokens[root])
		a, err := http.DefaultClient.Do(q)
		if err != nil || a.StatusCode != 200 {
			t.Fatalf("%v %v", a, err)
		}
		defer a.Body.Close()
	}
	if a := e.do("GET", path, e.tokens[root], ""); a.Code != 429 {
		t.Errorf("%+v", a)
	}
	e.await(e.listen(other, e.tokens[other], ""), "event: whole")
	cancel()
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if a := e.do("HEAD", path, e.tokens[root], ""); a.Code == 200 {
			return
		} else if time.Now().After(late) {
			t.Fatalf("%+v", a)
		}
	}
}

// The account of a token can watch only some of the accounts below it at a time; other accounts have room meanwhile.
func TestWatchedAccountsAreBounded(t *testing.T) {
	e := newBed(t, 0)
	for n := range live.FeedsOfOne + 1 {
		id := fmt.Sprintf("%032x", 0xfeed00+n)
		if _, err := e.api.cfg.Directory.Import(t.Context(), directory.Import{Accounts: []map[string]any{{"id": id, "name": id, "realm": id + ".test", "parent_id": root}}}); err != nil {
			t.Fatal(err)
		}
		if n < live.FeedsOfOne {
			e.await(e.listen(id, e.tokens[root], ""), "event: whole")
		} else if a := e.do("GET", "/v2/accounts/"+id+"/presence/events", e.tokens[root], ""); a.Code != 429 {
			t.Errorf("one more: %+v", a)
		}
	}
	e.await(e.listen(child, e.tokens[child], ""), "event: whole")
}

// Only a token of the master account sees the cluster.
func TestCluster(t *testing.T) {
	e := newBed(t, 0)
	e.router.statuses = []status.Status{{Node: "a", State: status.Serving, Open: 1024, Claims: map[string]int{"a": 1024}, Members: []string{"a"},
		Sources: []status.Source{{Source: "bridge1", SwitchURI: "sip:one"}}, Switches: map[string]int{"sip:one": 3}}}
	if a := e.do("GET", "/v2/cluster", e.tokens[root], ""); a.Code != 403 {
		t.Fatalf("without a master account: %+v", a)
	}
	master := e.master()
	for token, code := range map[string]int{"": 401, e.tokens[root]: 403, e.tokens[child]: 403} {
		if a := e.do("GET", "/v2/cluster", token, ""); a.Code != code {
			t.Errorf("%+v", a)
		}
	}
	a := e.do("GET", "/v2/cluster", master, "")
	for _, want := range []string{`"node":"a"`, `"shards":1024`, `"unowned":[]`, `"disagreements":[]`, `"source":"bridge1"`, `"calls":3`} {
		if a.Code != 200 || !strings.Contains(a.Raw, want) {
			t.Errorf("no %s in %s", want, a.Raw)
		}
	}
	if e.router.asked.Watchers || strings.Contains(a.Raw, `"watchers":[`) {
		t.Errorf("the nodes looked at their watchers, and nobody asked for that: %s", a.Raw)
	}
	e.router.statuses[0].Watchers = []status.Watchers{{Edge: "edge1", Watchers: 3, Untold: 1, Worst: []status.Extension{{Extension: "1001@root.test", Untold: 1}}}}
	if a := e.do("GET", "/v2/cluster?watchers=true", master, ""); !e.router.asked.Watchers || !strings.Contains(a.Raw, `"watchers":[{"edge":"edge1","watchers":3,"not_told":1,"not_answered":0,"worst":[{"extension":"1001@root.test"`) {
		t.Errorf("watchers: %d %s", a.Code, a.Raw)
	}
	if a := e.do("GET", "/v2/cluster?watchers=yes", master, ""); a.Code != 400 {
		t.Errorf("%+v", a)
	}
	if a := e.do("POST", "/v2/cluster", master, ""); a.Code != 405 {
		t.Errorf("%+v", a)
	}
	e.router.err = context.DeadlineExceeded
	if a := e.do("GET", "/v2/cluster", master, ""); a.Code != 503 {
		t.Errorf("%+v", a)
	}
}
