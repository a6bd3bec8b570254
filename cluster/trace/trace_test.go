package trace

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A nil Tracer, a span that nobody asked for and a Parent that is none record nothing and do no harm.
func TestNothingIsTraced(t *testing.T) {
	c := New(Config{Collector: "http://127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
	defer func() { _ = c.Stop(context.Background()) }()
	for what, s := range map[string]Span{
		"no Tracer":                 (*Tracer)(nil).Begin(Server, "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
		"under nothing":             c.Under("", Server, "x"),
		"under a broken parent":     c.Under("short", Server, "x"),
		"a share of 0":              c.Begin(Server, "x", ""),
		"a caller that samples not": c.Begin(Server, "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
		"a broken traceparent":      c.Begin(Server, "x", "00-zzzz-1-01\r\nx: y"),
	} {
		s.Name("y")
		s.Note("k", "v")
		s.Fail("why")
		s.End(io.EOF)
		if s.Parent() != "" {
			t.Errorf("%s: it is traced", what)
		}
	}
	if s := c.Under(strings.Repeat("\x00", parentSize), Server, "x"); s.Parent() != "" {
		t.Error("under a parent of zeros it is traced")
	}
}

// A collector that refuses spans costs a line of the log and nothing else, and long texts are cut.
func TestCollectorRefuses(t *testing.T) {
	var mu sync.Mutex
	var body, log bytes.Buffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&body, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	c := New(Config{Collector: server.URL + "/", Share: 1, Node: "a", Log: slog.New(slog.NewTextHandler(&log, nil))})
	s := c.Begin(Consumer, "NATS set", "")
	s.Note("key", strings.Repeat("x", 10_000))
	c.Under(s.Parent(), Client, "ask the owner").End(io.EOF)
	s.End(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := body.String(); len(got) > 4096 || !strings.Contains(got, `"status":{"code":2,"message":"EOF"}`) || !strings.Contains(got, `"parentSpanId"`) {
		t.Errorf("the collector got %.2000s", got)
	}
	if got := log.String(); !strings.Contains(got, "did not take spans") || !strings.Contains(got, "503") {
		t.Errorf("the log says %s", got)
	}
}

// Callers who want traces get a hundred a second, and no more: anybody can send a header.
func TestAskedTracesAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := New(Config{Collector: server.URL, Log: slog.New(slog.DiscardHandler)})
	defer func() { _ = c.Stop(context.Background()) }()
	traced, begun := 0, time.Now()
	for range 10 * askedRate {
		if s := c.Begin(Server, "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"); s.Parent() != "" {
			traced++
			s.End(nil)
		}
	}
	if most := askedRate * (1 + time.Since(begun).Seconds()); traced < askedRate || float64(traced) > most {
		t.Errorf("%d are traced", traced)
	}
}
