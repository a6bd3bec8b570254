package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A request carries the token and the wrapped body. What comes back is the envelope; an answer other than a success is a
// Failed, and one without an envelope is ErrNoEnvelope.
func TestREST(t *testing.T) {
	answers := map[string]struct {
		code int
		body string
	}{
		"/v2/done":   {200, `{"status":"success","data":{"state":"early"},"revision":"r1","next_start_key":"1002","stale":true}`},
		"/v2/failed": {429, `{"status":"error","message":"too_many_requests","data":{"message":"too many requests"}}`},
		"/v2/other":  {502, `<html>Bad Gateway</html>`},
	}
	var got struct{ method, token, body string }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.method, got.token, got.body = r.Method, r.Header.Get("X-Auth-Token"), string(body)
		a := answers[r.URL.Path]
		w.WriteHeader(a.code)
		_, _ = io.WriteString(w, a.body)
	}))
	defer s.Close()
	r := REST{Base: s.URL, Token: "t1", HTTP: s.Client()}

	e, err := r.Do(t.Context(), "POST", "/v2/done", map[string]any{"action": "reset"})
	if err != nil || e.Code != 200 || string(e.Data) != `{"state":"early"}` || e.Revision != "r1" || e.Next != "1002" || !e.Stale {
		t.Errorf("%+v, %v", e, err)
	}
	if got.method != "POST" || got.token != "t1" || got.body != `{"data":{"action":"reset"}}` {
		t.Errorf("the server got %+v", got)
	}
	if _, err := (&REST{Base: s.URL}).Do(t.Context(), "GET", "/v2/done", nil); err != nil || got.token != "" || got.body != "" {
		t.Errorf("without token and body the server got %+v; %v", got, err)
	}

	var failed *Failed
	if e, err := r.Do(t.Context(), "GET", "/v2/failed", nil); !errors.As(err, &failed) || failed.Envelope.Code != 429 || failed.Envelope.Message != "too_many_requests" || e != failed.Envelope {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := r.Do(t.Context(), "GET", "/v2/other", nil); !errors.Is(err, ErrNoEnvelope) || e != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := r.Do(t.Context(), "PUT", "/v2/done", make(chan int)); err == nil {
		t.Error("a body that is no JSON was sent")
	}
	s.Close()
	if _, err := r.Do(t.Context(), "GET", "/v2/done", nil); err == nil || errors.As(err, &failed) {
		t.Errorf("without a server: %v", err)
	}
}
