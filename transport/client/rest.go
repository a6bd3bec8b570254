package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// REST makes requests of the HTTP API of one node (docs/contract/http.md). Its methods may be called from any goroutine.
type REST struct {
	Base  string       // such as http://127.0.0.1:8000
	Token string       // "": none
	HTTP  *http.Client // nil: http.DefaultClient
}

// Envelope is the answer to a request.
type Envelope struct {
	Code      int            `json:"-"`              // the HTTP status
	Data      jsontext.Value `json:"data"`           // with an error: what was wrong
	Status    string         `json:"status"`         // success or error
	Message   string         `json:"message"`        // the word of an error
	AuthToken string         `json:"auth_token"`     // of PUT /v2/api_auth: the new token
	RequestID string         `json:"request_id"`     // to find the request in the node's log
	Revision  string         `json:"revision"`       // changes with data
	Next      string         `json:"next_start_key"` // of a page: where the next one begins
	Stale     bool           `json:"stale"`          // the node cannot reach NATS: data may be behind
}

// ErrNoEnvelope is the error of an answer that no node gives: something else listens there.
var ErrNoEnvelope = errors.New("the answer has no envelope")

// Failed is the error of an answer that is no success.
type Failed struct {
	Method, Path string
	Envelope     *Envelope
}

func (f *Failed) Error() string {
	return fmt.Sprintf("%s %s: %d %s %.300s", f.Method, f.Path, f.Envelope.Code, f.Envelope.Message, f.Envelope.Data)
}

// Do makes a request. data is what stands in the body's "data"; nil: there is no body. An answer other than a success is
// a *Failed. With any other error it is not known whether the node has done what was asked.
func (r *REST) Do(ctx context.Context, method, path string, data any) (*Envelope, error) {
	var body io.Reader
	if data != nil {
		b, err := json.Marshal(map[string]any{"data": data})
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	q, err := http.NewRequestWithContext(ctx, method, r.Base+path, body)
	if err != nil {
		return nil, err
	}
	if r.Token != "" {
		q.Header.Set("X-Auth-Token", r.Token)
	}
	c := r.HTTP
	if c == nil {
		c = http.DefaultClient
	}
	a, err := c.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	raw, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, err
	}
	e := &Envelope{Code: a.StatusCode}
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, fmt.Errorf("%s %s: %d: %w: %.200q", method, path, a.StatusCode, ErrNoEnvelope, raw)
	}
	if e.Status != "success" {
		return e, &Failed{Method: method, Path: path, Envelope: e}
	}
	return e, nil
}
