package httpd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requestsOf returns lamplight_http_requests_total as route, method and code.
func requestsOf(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := map[string]string{}
			for _, l := range m.GetLabel() {
				label[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "lamplight_http_requests_total" {
				all[label["route"]+" "+label["method"]+" "+label["code"]] += m.GetCounter().GetValue()
			}
		}
	}
	return all
}

// Requests are counted by route, verb and code. Paths and verbs that the server does not have make no labels of their own.
func TestRequestsAreCountedByRoute(t *testing.T) {
	r := prometheus.NewRegistry()
	s := New(Config{Listen: "127.0.0.1:0", Timeout: 5 * time.Second, MaxConnections: 10, MaxPerAddress: 10, Log: slog.New(slog.DiscardHandler), Registry: r,
		Ready: func() error { return nil }})
	s.Mount("named", func(q *Request) error {
		q.Route = "/named/{name}"
		q.OK(201, []byte(`{}`))
		return nil
	})
	s.Mount("bug", func(*Request) error { panic("a bug") })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	for i, request := range []string{"GET /healthz", "HEAD /healthz", "GET /healthz/x", "PUT /named/1", "PUT /named/2", "GET /nothing/here", "GET /nothing/there",
		"BREW /healthz", "OPTIONS /anything", "GET /bug", "no request"} {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request)
		if answer, _ := io.ReadAll(c); len(answer) == 0 {
			t.Errorf("%d: %s: no answer", i, request)
		}
		_ = c.Close()
	}
	if err := s.Stop(context.Background()); err != nil { // all of them are counted then
		t.Fatal(err)
	}
	want := map[string]float64{"/healthz GET 200": 1, "/healthz HEAD 200": 1, "/healthz GET 404": 1, "/healthz other 405": 1, "/named/{name} PUT 201": 2,
		"other GET 404": 2, "other OPTIONS 204": 1, "/bug GET 503": 1, "other GET 400": 1}
	if got := requestsOf(t, r); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
