package httpd

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Whatever the path, segments returns at most maxSegments segments or an error.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v2/accounts/a/presence/%2A3101", "/v2//", "/%", "/v2/accounts/x/presence/1?x#y", "/%ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := segments(nil, []byte(raw))
		if err == nil && (len(p) == 0 || len(p) > maxSegments) {
			t.Errorf("%q: %d segments", raw, len(p))
		}
	})
}

// A request that does not come in whole in time may be right: it is answered 408, not 400.
func TestLateRequest(t *testing.T) {
	s := New(Config{Listen: "127.0.0.1:0", Timeout: 200 * time.Millisecond, MaxConnections: 10, MaxPerAddress: 10, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		Ready: func() error { return nil }})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	for name, text := range map[string]string{"head": "GET /healthz HTTP/1.1\r\nHost: x\r\n", "body": "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"} {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Write([]byte(text))
		answer, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "send it again") {
			t.Errorf("%s: %q", name, answer)
		}
	}
}

// A request past its account's limits is held back, but not when the server holds back as many as it may, nor when it is to end.
func TestHoldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		held := func() time.Duration {
			q := Request{server: s}
			q.HoldBack()
			return q.held
		}
		if d := held(); d != holdTime { // by the test's own clock
			t.Errorf("a request was held back for %v", d)
		}
		s.held.Add(maxHeld)
		if d := held(); d != 0 {
			t.Errorf("a request above the bound was held back for %v", d)
		}
		s.held.Add(-maxHeld)
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := held(); d != 0 || s.held.Load() != 0 {
			t.Errorf("after Stop a request was held back for %v, and %d are", d, s.held.Load())
		}
	})
}
