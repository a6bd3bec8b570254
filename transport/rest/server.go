// Package rest is Kazoo 4.3's Presence API and the part of its account API that presence needs, over HTTP
// (docs/contract/http.md). It checks what comes in, makes one message of it for the router and writes what comes back.
// httpd owns the listener and calls its handler on fasthttp's goroutines; access says who may do what.
package rest

import (
	"context"
	_ "embed"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/access"
	"lamplight/transport/httpd"
)

//go:embed openapi.yaml
var openapi []byte

// maxListings is how many listings may be under way: each holds a window of subscriptions for every node.
const maxListings = 64

// Presence is the router. Request answers by the request's deadline, and for a change only when it is durable.
type Presence interface {
	Request(ctx context.Context, r actors.Request) actors.Answer
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)
	ResetRealm(ctx context.Context, realm string) (actors.Coverage, error)
}

// Config is what an API needs.
type Config struct {
	Timeout   time.Duration // of a request
	Presence  Presence
	Directory *directory.Directory
	Access    *access.Control
}

// API serves the paths of the Presence API.
type API struct {
	cfg      Config
	listings chan struct{} // bounds listings under way
}

// New makes an API. It serves once Mount has put it on a listener.
func New(c Config) *API { return &API{cfg: c, listings: make(chan struct{}, maxListings)} }

// Mount has the API answer its paths on a listener: /v2, /v1, which is answered the same way, and /openapi.yaml.
func (a *API) Mount(s *httpd.Server) {
	s.Mount("v2", a.serve)
	s.Mount("v1", a.serve)
	s.Mount("openapi.yaml", func(q *httpd.Request) error {
		if len(q.Path) > 1 {
			return httpd.Unknown(strings.Join(q.Path, "/"))
		}
		if err := q.Methods("GET"); err != nil {
			return err
		}
		q.SetContentType("application/yaml")
		q.SetBody(openapi)
		return nil
	})
}

// request is one request on its way through the table of paths.
type request struct {
	*httpd.Request
	server  *API
	account string // of the token
}

// serve answers one request.
func (a *API) serve(q *httpd.Request) error {
	r := request{Request: q, server: a}
	if err := r.route(); err != nil {
		return explain(err)
	}
	return nil
}

// route is the table of paths.
func (q *request) route() error {
	p := q.Path[1:]
	if len(p) == 0 {
		return httpd.Unknown(q.Path[0])
	}
	if p[0] == "api_auth" && len(p) == 1 {
		if err := q.Methods("PUT"); err != nil {
			return err
		}
		return q.authenticate()
	}
	if p[0] != "accounts" {
		return httpd.Unknown(p[0])
	}
	if err := q.authorise(); err != nil {
		return err
	}
	if len(p) == 1 {
		return q.accounts()
	}
	e, err := q.target(p[1])
	if err != nil {
		return err
	}
	if len(p) == 2 {
		return q.entry(directory.Accounts, e.ID, e.ID)
	}
	q.Subject = p[len(p)-1]
	switch p[2] {
	case "presence":
		switch len(p) {
		case 3:
			return q.wholeAccount(e)
		case 4:
			return q.extension(e, p[3])
		}
	case "devices", "users":
		kind := strings.TrimSuffix(p[2], "s")
		switch {
		case len(p) == 3:
			return q.collection(kind, e.ID)
		case len(p) == 4:
			return q.entry(kind, e.ID, p[3])
		case len(p) == 5 && p[4] == "presence":
			q.Subject = p[3]
			return q.owned(e, kind, p[3])
		}
	}
	return httpd.Unknown(p[len(p)-1])
}

// authorise checks the token and the rate of its account and address.
func (q *request) authorise() (err error) {
	if q.account, err = q.server.cfg.Access.Account(&q.Within, q.Token); err != nil {
		return err
	}
	return q.server.cfg.Access.Allow(q.account, q.RemoteIP())
}

// target is the account in the path, if the token may act on it.
func (q *request) target(id string) (*directory.Entry, error) {
	q.Subject = id
	return q.server.cfg.Access.Target(&q.Within, q.account, id)
}
