package ui_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lamplight/tools/need"
	"lamplight/transport/httpd"
	"lamplight/transport/ui"
)

// Every file of the page comes with the headers that keep strangers' scripts out. A browser that has a file is told so.
func TestHeaders(t *testing.T) {
	s := httpd.New(httpd.Config{Listen: "127.0.0.1:0", Timeout: 5 * time.Second, MaxConnections: 10, MaxPerAddress: 10, Log: slog.New(slog.DiscardHandler),
		Registry: prometheus.NewRegistry(), Ready: func() error { return nil }})
	ui.Mount(s)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	do := func(method, path, tag string) (int, http.Header, string) {
		q, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("If-None-Match", tag)
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(a.Body)
		_ = a.Body.Close()
		return a.StatusCode, a.Header, string(body)
	}
	for path, kind := range map[string]string{"/ui": "text/html", "/ui/": "text/html", "/ui/main.js": "text/javascript", "/ui/style.css": "text/css", "/ui/icon.svg": "image/svg+xml"} {
		code, h, body := do("GET", path, "")
		if code != 200 || !strings.HasPrefix(h.Get("Content-Type"), kind) || body == "" {
			t.Errorf("%s: %d %s, %d bytes", path, code, h.Get("Content-Type"), len(body))
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy is %q; it must have %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if code, _, body := do("GET", path, h.Get("ETag")); code != 304 || body != "" {
			t.Errorf("%s again: %d, %d bytes", path, code, len(body))
		}
	}
	for path, want := range map[string]int{"/ui/none.js": 404, "/ui/../page/main.js": 404, "/ui/page/main.js": 404} {
		if code, _, _ := do("GET", path, ""); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _, _ := do("POST", "/ui", ""); code != 405 {
		t.Errorf("POST /ui: %d", code)
	}
}

// The page's MD5 is that of Go's library, for texts of all lengths around a block's, and of other alphabets.
func TestMD5(t *testing.T) {
	_, err := exec.LookPath("node")
	need.Met(t, err == nil, "node: apt-get install nodejs")
	texts := []string{"ada:s3cret", "ünïcode:пароль", "😀"}
	for n := range 130 {
		texts = append(texts, strings.Repeat("x", n))
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "node", "--input-type=module", "-e", `import { readFileSync } from "node:fs";
		const { md5 } = await import("data:text/javascript," + encodeURIComponent(readFileSync("page/md5.js", "utf8")));
		console.log(JSON.stringify(JSON.parse(process.argv[1]).map(md5)));`, string(in))
	out, err := c.CombinedOutput()
	var got []string
	if err != nil || json.Unmarshal(out, &got) != nil || len(got) != len(texts) {
		t.Fatalf("%v: %s", err, out)
	}
	for i, text := range texts {
		sum := md5.Sum([]byte(text))
		if want := hex.EncodeToString(sum[:]); got[i] != want {
			t.Errorf("%q: %s, want %s", text, got[i], want)
		}
	}
}
