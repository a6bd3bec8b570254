package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"lamplight/transport/httpd"
)

// A body that is JSON but not what it must be is refused, with what is wrong. None of them is taken for an empty body, which
// would be a reset.
func TestBodies(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	for body, want := range map[string]string{
		`[]`: "at byte 0", `"x"`: "at byte 0", `5`: "at byte 0", `null`: "at byte 0", `{"data":[]}`: "data must be an object",
		`{"action":"set","state":"early"}`: "must be wrapped", `{"data":{}} x`: "at byte 12", "{\"data\":{\"action\":\"\xff\"}}": "UTF-8",
		`{"data":{},"data":{}}`: "duplicate", `{"data":{"a":{"b":1,"b":2}}}`: "duplicate", `{`: "at byte 1", strings.Repeat(`{"data":`, 20000): "json",
	} {
		r := e.do("POST", path, e.tokens[root], body)
		if r.Code != 400 || r.Message != "validation error" || !strings.Contains(r.Raw, `{"json":{"invalid":{"message":`) || !strings.Contains(r.Raw, want) || strings.Contains(r.Raw, "Go ") {
			t.Errorf("%.60s: %d %.400s", body, r.Code, r.Raw)
		}
	}
	for _, body := range []string{``, `{}`, `{"data":null}`, `{"data":{}}`, `{"data":{"action":null}}`} {
		if r := e.do("POST", path, e.tokens[root], body); r.Data != "reset command sent for extension 1001" {
			t.Errorf("%q: %d %s", body, r.Code, r.Raw)
		}
	}
	for _, form := range []string{"", "application/x-www-form-urlencoded", "application/json", "text/plain"} {
		if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"set","state":"early"}}`, "Content-Type", form); r.Data != "command sent" {
			t.Errorf("Content-Type %q: %s", form, r.Raw)
		}
	}
}

// A body over the bound is refused, whether its length is declared or not, and the client gets to see the answer.
func TestLargeBodies(t *testing.T) {
	e := newBed(t, 0)
	for name, length := range map[string]int64{"declared": httpd.MaxBody + 1, "chunked": -1} {
		q, err := http.NewRequest("POST", e.url+"/v2/accounts/"+root+"/presence/1001", io.LimitReader(zeros{}, httpd.MaxBody+1))
		if err != nil {
			t.Fatal(err)
		}
		q.ContentLength = length
		q.Header.Set("X-Auth-Token", e.tokens[root])
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, _ := io.ReadAll(a.Body)
		a.Body.Close()
		if a.StatusCode != 413 || !strings.Contains(string(raw), `"max_bytes":8388608`) {
			t.Errorf("%s: %d %s", name, a.StatusCode, raw)
		}
	}
}

// begin sends the first half of a large body, whose second half never comes, so that only a refusal is an answer. The answer goes to
// a channel, which must have room.
func (e *bed) begin(account, token string, answers chan<- string) {
	e.t.Helper()
	c, err := net.Dial("tcp", e.server.Addr())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, "POST /v2/accounts/%s/presence/1001 HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: %d\r\n\r\n%s",
		account, token, 2*httpd.SmallBody, strings.Repeat(" ", httpd.SmallBody+1))
	go func() {
		if a, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
			answers <- a.Status + ", Retry-After " + a.Header.Get("Retry-After")
			a.Body.Close()
		}
	}()
}

// One account has at most LargeOfOne large bodies read at a time, and keeps no other account from sending one. A stranger's is not
// read. Small ones are served all the while. When the account's bodies stand still, one of them makes room for a new one.
func TestManyLargeBodies(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	for range 20 {
		e.begin(root, "none", make(chan string, 1))
	}
	large := `{"data":{"action":"reset"}}` + strings.Repeat(" ", 2*httpd.SmallBody)
	if r := e.do("POST", path, e.tokens[root], large); r.Code != 200 {
		t.Errorf("beside those of strangers: %d %s", r.Code, r.Raw)
	}
	answers := make(chan string, httpd.LargeOfOne+1)
	for range httpd.LargeOfOne + 1 {
		e.begin(child, e.tokens[child], answers)
	}
	select {
	case a := <-answers:
		if a != "429 Too Many Requests, Retry-After 1" {
			t.Errorf("one more of the same account: %s", a)
		}
	case <-time.After(10 * time.Second):
		t.Error("one more of the same account was not refused")
	}
	if r := e.do("POST", path, e.tokens[root], large); r.Code != 200 {
		t.Errorf("beside those of another account: %d %s", r.Code, r.Raw)
	}
	if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`+strings.Repeat(" ", httpd.SmallBody/2)); r.Code != 200 {
		t.Errorf("a small one: %d %s", r.Code, r.Raw)
	}
	for own := (reply{}); own.Code != 200; time.Sleep(10 * time.Millisecond) {
		if own = e.do("POST", strings.Replace(path, root, child, 1), e.tokens[child], large); own.Code != 200 && own.Code != 429 {
			t.Fatalf("one more of the same account, beside bodies that stand still: %d %s", own.Code, own.Raw)
		}
	}
	if a := <-answers; a != "429 Too Many Requests, Retry-After 1" { // and not 400, because its time was over
		t.Errorf("the body that stood still: %s", a)
	}
}

// What the memory of a decoded body could be is bounded: a body of many small values, or nested deep, is refused.
func TestManyValues(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	for name, body := range map[string]string{
		"many values": `{"data":{"x":[` + strings.Repeat("0,", 3<<20) + `0]}}`,
		"deep":        `{"data":{"x":` + strings.Repeat("[", 60<<10) + strings.Repeat("]", 60<<10) + `}}`,
		"many names":  `{"data":{` + manyNames(100_000) + `}}`,
	} {
		r := e.do("POST", path, e.tokens[root], body)
		if r.Code != 400 || !strings.Contains(r.Raw, "holds too much") {
			t.Errorf("%s: %d %.300s", name, r.Code, r.Raw)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":0,`, i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// A multipart form is a body like any other: it is bounded, nothing of it goes to the disk, and it is no JSON.
func TestMultipart(t *testing.T) {
	e := newBed(t, 0)
	before, _ := os.ReadDir(os.TempDir())
	part := "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"
	for name, size := range map[string]int{"over the bound": httpd.MaxBody + 1, "within": httpd.MaxBody / 2} {
		r := e.do("POST", "/v2/accounts/"+root+"/presence/1001", e.tokens[root], part+strings.Repeat("y", size)+"\r\n--x--\r\n", "Content-Type", "multipart/form-data; boundary=x")
		if want := map[bool]int{true: 413, false: 400}[size > httpd.MaxBody]; r.Code != want {
			t.Errorf("%s: %d %.200s", name, r.Code, r.Raw)
		}
	}
	if after, _ := os.ReadDir(os.TempDir()); len(after) > len(before)+5 {
		t.Errorf("%d files in the temporary folder, %d before", len(after), len(before))
	}
}

// The target of a request may be in the absolute form, as proxies send it.
func TestAbsoluteTarget(t *testing.T) {
	e := newBed(t, 0)
	c, err := net.Dial("tcp", e.server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET http://example.com:8000/v2/accounts/%s/presence/1001 HTTP/1.1\r\nHost: example.com\r\nX-Auth-Token: %s\r\n\r\n", root, e.tokens[root])
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if raw, _ := io.ReadAll(a.Body); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, raw)
	}
}

// zeros reads zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The deprecated {"reset":…} resets with true alone, whatever the path.
func TestResetFalse(t *testing.T) {
	e := newBed(t, 0)
	for _, path := range []string{"presence/1001", "devices/" + phone + "/presence"} {
		for value, want := range map[string]int{"true": 200, "false": 400, `"true"`: 400, "null": 400, "1": 400} {
			if r := e.do("POST", "/v2/accounts/"+root+"/"+path, e.tokens[root], `{"data":{"reset":`+value+`}}`); r.Code != want {
				t.Errorf("%s: reset %s: %d %s", path, value, r.Code, r.Raw)
			}
		}
	}
}
