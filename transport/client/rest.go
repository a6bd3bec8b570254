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

// REST makes requests of the HTTP API of one node (docs/contract/http.md).
type REST struct {
	Base  string       // scheme, host and port, such as http://127.0.0.1:8000
	Token string       // the API token; "": none
	HTTP  *http.Client // nil: http.DefaultClient
}

// Envelope is the answer to a request (docs/contract/http.md, "The envelope").
type Envelope struct {
	Code      int            `json:"-"`              // the HTTP status
	Data      jsontext.Value `json:"data"`           // what was asked for; with an error, what was wrong
	Status    string         `json:"status"`         // success or error
	Message   string         `json:"message"`        // the word of an error, such as bad_identifier
	AuthToken string         `json:"auth_token"`     // the token of the request; after PUT /v2/api_auth the new one
	RequestID string         `json:"request_id"`     // names the request in the node's log
	Revision  string         `json:"revision"`       // changes when Data changes
	Next      string         `json:"next_start_key"` // of a page of a listing: where the next page begins
	Stale     bool           `json:"stale"`          // the node has lost NATS and answered from memory: Data may be old
}

// ErrNoEnvelope is the error of an answer that does not come from a node: another server listens at Base.
var ErrNoEnvelope = errors.New("the answer is not one of a Lamplight node; check the address")

// Failed is the error of an answer of a node other than success.
type Failed struct {
	Method, Path string
	Envelope     *Envelope
}

// Error implements error.
func (f *Failed) Error() string {
	return fmt.Sprintf("%s %s: %d %s %.300s", f.Method, f.Path, f.Envelope.Code, f.Envelope.Message, f.Envelope.Data)
}

// Do makes a request and waits for its answer. data is the value of "data" in the body, encoded as JSON; nil sends no body. An
// answer of a node other than success is a *Failed. After any other error, and after a *Failed with code 503, the node may or
// may not have done what was asked.
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
