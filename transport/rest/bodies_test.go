package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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

// At most MaxLarge large bodies are read at a time. One more is refused, and small ones are not.
func TestManyLargeBodies(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence/1001"
	answers := make(chan string, httpd.MaxLarge+1)
	for range httpd.MaxLarge + 1 {
		c, err := net.Dial("tcp", e.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, 2*httpd.SmallBody, strings.Repeat(" ", httpd.SmallBody))
		go func() { // the second half of the body never comes, so only a refusal is an answer
			if a, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				answers <- a.Status + ", Retry-After " + a.Header.Get("Retry-After")
				a.Body.Close()
			}
		}()
	}
	select {
	case a := <-answers:
		if a != "429 Too Many Requests, Retry-After 1" {
			t.Errorf("one large body more: %s", a)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("one large body more was not refused")
	}
	if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`+strings.Repeat(" ", httpd.SmallBody/2)); r.Code != 200 {
		t.Errorf("a small one: %d %s", r.Code, r.Raw)
	}
	if r := e.do("GET", "/metrics", "", ""); !strings.Contains(r.Raw, `lamplight_http_errors_total{code="429"} 1`) {
		t.Error("the refusal is not counted")
	}
}

// zeros reads zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
