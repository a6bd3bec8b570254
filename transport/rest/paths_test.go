package rest

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"lamplight/transport/httpd"
)

// Names of extensions are decoded, made lower case and checked.
func TestNames(t *testing.T) {
	e := newBed(t, 0)
	base := "/v2/accounts/" + root + "/presence/"
	for _, bad := range []string{"%ff", "%C2%85", "%00", "%7f", "*", "%2A", "%2a", "*@root.test", "@root.test", strings.Repeat("%2A", 257), strings.Repeat("%2A", 1400), "%", "%4", "%zz"} {
		if r := e.do("GET", base, e.tokens[root], ""); r.Code != 200 {
			t.Fatal(r.Raw)
		}
		c, err := net.Dial("tcp", e.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", base, bad, e.tokens[root])
		raw, _ := io.ReadAll(c)
		c.Close()
		if !strings.HasPrefix(string(raw), "HTTP/1.1 400") || !strings.Contains(string(raw), "validation error") {
			t.Errorf("%.40s: %.300s", bad, raw)
		}
	}
	for name, want := range map[string]string{"%2A3101": "*3101", "*3101": "*3101", "a%2Fb": "a/b", "%3E": "%3e", "ABC": "abc", "abc/": "abc", "a%20b": "a%20b", "%252A3107": "*3107", "sip:1001@root.test;x=y": "1001", "%C3%89": "é",
		"1001@ROOT.test": "1001", "1001@child.test": "1001@child.test", strings.Repeat("%2A", 256): strings.Repeat("*", 256)} {
		if r := e.do("GET", base+name, e.tokens[root], ""); r.Code != 200 || !strings.Contains(r.Raw, `"extension":"`+want+`"`) {
			t.Errorf("%s: %d %s", name, r.Code, r.Raw)
		}
	}
	if r := e.do("GET", base+"1001", e.tokens[root], "", "X-Long", strings.Repeat("x", httpd.MaxHead)); r.Code != 400 || r.Status != "error" || strings.Contains(r.Raw, "xxx") {
		t.Errorf("a long header: %d %.300s", r.Code, r.Raw)
	}
}

// Every path that has GET answers HEAD without a body. Every path names its verbs in Allow.
func TestVerbs(t *testing.T) {
	e := newBed(t, 0)
	base := "/v2/accounts/" + root
	for path, want := range map[string]string{
		"/healthz": "GET", "/readyz": "GET", "/metrics": "GET", "/openapi.yaml": "GET", "/v2/api_auth": "PUT", "/v2/user_auth": "PUT", "/v2/accounts": "GET, PUT", base: "GET, PUT, POST, PATCH, DELETE", "/v2/about": "GET", base + "/api_key": "GET, PUT, DELETE",
		base + "/children": "GET", base + "/descendants": "GET", base + "/parents": "GET", base + "/tree": "GET", base + "/users/" + user + "/devices": "GET", base + "/devices/status": "GET",
		base + "/devices": "GET, PUT", base + "/users": "GET, PUT", base + "/devices/" + phone: "GET, POST, PATCH, DELETE", base + "/users/" + user: "GET, POST, PATCH, DELETE",
		base + "/presence": "GET, POST", base + "/presence/1001": "GET, POST", base + "/devices/" + phone + "/presence": "GET, POST", base + "/users/" + user + "/presence": "GET, POST",
	} {
		r := e.do("BREW", path, e.tokens[root], "")
		if r.Code != 405 || r.Error != "405" || r.Message != "invalid_method" || !strings.HasPrefix(r.Header.Get("Allow"), want+", ") {
			t.Errorf("BREW %s: %d Allow %q", path, r.Code, r.Header.Get("Allow"))
		}
		if !strings.HasPrefix(want, "GET") {
			continue
		}
		got, head := e.do("GET", path, e.tokens[root], ""), e.do("HEAD", path, e.tokens[root], "")
		if head.Code != 200 || head.Raw != "" || head.Header.Get("ETag") != got.Header.Get("ETag") {
			t.Errorf("HEAD %s: %d %q %q, GET has %q", path, head.Code, head.Raw, head.Header.Get("ETag"), got.Header.Get("ETag"))
		}
	}
}

// A GET whose If-None-Match has the ETag is answered 304.
func TestConditional(t *testing.T) {
	e := newBed(t, 0)
	path := "/v2/accounts/" + root + "/presence"
	tag := e.do("GET", path, e.tokens[root], "").Header.Get("ETag")
	for header, code := range map[string]int{tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200} {
		for _, verb := range []string{"GET", "HEAD"} {
			if r := e.do(verb, path, e.tokens[root], "", "If-None-Match", header); r.Code != code || r.Header.Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %s: %d", verb, header, r.Code)
			}
		}
	}
	if r := e.do("POST", path, e.tokens[root], `{"data":{"action":"reset"}}`, "If-None-Match", "*"); r.Code != 200 {
		t.Errorf("POST: %d", r.Code)
	}
}
