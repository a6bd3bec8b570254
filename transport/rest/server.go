// Package rest serves Kazoo 4.3's Presence API, and the part of Kazoo's account API that presence needs, over HTTP
// (docs/contract/http.md). It checks a request, sends it to the router or the directory, and writes the answer.
//
// Package httpd owns the listener and calls this package on the goroutine of the request's connection, so a handler may wait.
// Package access says who may do what.
package rest

import (
	"context"
	_ "embed"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/status"
	"lamplight/transport/access"
	"lamplight/transport/audit"
	"lamplight/transport/httpd"
	"lamplight/transport/live"
	"lamplight/transport/report"
)

//go:embed openapi.yaml
var openapi []byte

// The listings that may be under way at a time. Each holds some thousand subscriptions of every node in memory.
const (
	maxListings   = 64
	listingsOfOne = 8 // of one account
)

// Presence is what an API needs of the router, which takes messages to the owners of their extensions. Its methods may be called
// from any goroutine and wait for their answers. cluster/route has the implementation.
type Presence interface {
	// Request sends a request to its extension and returns the answer. It returns soon after the request's deadline at the
	// latest, some tenths of a second behind it, or when ctx ends.
	//
	// An answer without an error to anything but a Show says that the change is durable. actors.ErrUnknown says that the
	// change may or may not have happened. All other errors say that nothing was changed. Each set and each reset is applied
	// at most once.
	//
	// A request that is made after the answer to an earlier one finds what that one changed, unless its own answer is
	// marked Stale. Requests that are made at the same time are applied in some order.
	Request(ctx context.Context, r actors.Request) actors.Answer
	// Look is Request for a Show whose answer is here and need not wait. It says whether it called use, which must keep nothing of the
	// answer.
	Look(to actors.Address, use func(*actors.Answer)) bool

	// List passes the subscriptions of a realm to yield, each once, sorted by extension, event package and Call-ID. It calls
	// yield on the caller's goroutine, and waits for the nodes until ctx ends at the longest. The coverage names the shards
	// whose subscriptions may be missing. An error of yield ends the listing and is returned.
	List(ctx context.Context, q actors.Query, yield func(actors.SubscriptionView) error) (actors.Coverage, error)

	// ResetRealm resets every extension of a realm, each at most once, and waits until the resets are durable, at the longest
	// until ctx ends. The coverage names the shards that may not have been reset in full, with or without an error.
	ResetRealm(ctx context.Context, realm string, origin presence.Origin) (actors.Coverage, error)

	// EndSwitch ends the calls of a switch that were last heard of before a moment, of all realms and on all nodes. Extensions of
	// the coverage is their number. It waits until that is durable, at the longest until ctx ends. To repeat it does no harm.
	EndSwitch(ctx context.Context, gone presence.SwitchGone) (actors.Coverage, error)
}

// Config is what an API needs. All fields must be set.
type Config struct {
	Timeout   time.Duration // of a request; the longest that a client may ask to wait for watchers
	Presence  Presence
	Directory *directory.Directory
	Access    *access.Control
	Audit     func(audit.Entry) // is told of each command that has ended; it must not wait
	Reports   Reports
	Report    *report.Maker // of the reports of resets
	Live      *live.Hub     // keeps the lamps of accounts that are watched
	// Status asks all nodes for their view of the cluster, as client.Client.AskStatus.
	Status func(context.Context, status.Ask) ([]status.Status, error)
}

// API serves the paths of the Presence API and of the account API.
type API struct {
	cfg       Config
	listings  *httpd.Slots // of listings under way
	streams   *httpd.Slots // of streams of events
	overviews *httpd.Slots // of questions about the cluster
}

// New makes an API. It serves requests once Mount has put it on a listener.
func New(c Config) *API {
	return &API{cfg: c, listings: httpd.NewSlots(maxListings, listingsOfOne), streams: httpd.NewSlots(maxStreams, streamsOfOne),
		overviews: httpd.NewSlots(maxOverviews, overviewsOfOne)}
}

// Mount makes the API answer its paths on a listener: those below /v2 and /v1, which are the same, and /openapi.yaml.
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

// request is one request to the API.
type request struct {
	*httpd.Request
	server  *API
	account string // the account that the token is for; set by authorise, as the next one
	who     string // who has the token
}

// serve answers one request. It is the httpd.Handler of the API.
func (a *API) serve(q *httpd.Request) error {
	q.Route = patternOf(q.Path[1:])
	r := request{Request: q, server: a}
	if err := r.route(); err != nil {
		return failureOf(err)
	}
	return nil
}

// route calls the method that serves the path.
func (q *request) route() error {
	p := q.Path[1:]
	if len(p) == 0 {
		return httpd.Unknown(q.Path[0])
	}
	if len(p) == 1 && (p[0] == "api_auth" || p[0] == "user_auth") {
		if err := q.Methods("PUT"); err != nil {
			return err
		}
		return q.logIn(p[0])
	}
	switch p[0] {
	case "accounts":
	case "about", "switches", "cluster":
		if len(p) > 1 {
			return httpd.Unknown(p[0])
		}
	default:
		return httpd.Unknown(p[0])
	}
	if err := q.authorise(); err != nil {
		return err
	}
	switch p[0] {
	case "about":
		return q.about()
	case "switches":
		return q.switches()
	case "cluster":
		return q.cluster()
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
			if p[3] == "events" {
				return q.events(e)
			}
			if id, ok := reportID(p[3]); ok {
				return q.givenReport(e, id)
			}
			return q.extension(e, p[3])
		}
	case "devices", "users":
		return q.members(e, strings.TrimSuffix(p[2], "s"), p[3:])
	case "api_key":
		if len(p) == 3 {
			return q.apiKey(e)
		}
	case "children", "descendants", "parents", "tree":
		if len(p) == 3 {
			return q.relatives(e, p[2])
		}
	}
	return httpd.Unknown(p[len(p)-1])
}

// members serves what lies below …/devices and …/users of the account e. p are the segments of the path behind that.
func (q *request) members(e *directory.Entry, kind string, p []string) error {
	switch {
	case len(p) == 0:
		return q.collection(kind, e.ID)
	case len(p) == 1 && kind == directory.Devices && p[0] == "status":
		return q.deviceStatus(e)
	case len(p) == 1:
		return q.entry(kind, e.ID, p[0])
	case len(p) == 2 && p[1] == "presence":
		q.Subject = p[0]
		return q.ownerPresence(e, kind, p[0])
	case len(p) == 2 && kind == directory.Users && p[1] == "devices":
		q.Subject = p[0]
		return q.userDevices(e.ID, p[0])
	}
	return httpd.Unknown(p[len(p)-1])
}

// authorise checks the token, the rate limit of its account and the client's address, and the account's budget. It holds a request back that is past one
// of them.
func (q *request) authorise() (err error) {
	if q.account, q.who, err = q.server.cfg.Access.Account(&q.Within, q.Token); err != nil {
		return err
	}
	if err = q.server.cfg.Access.Allow(q.account, q.RemoteIP()); err != nil {
		q.HoldBack()
	}
	return err
}

// target returns the account in the path. It returns an error if the account of the token may not act on it.
func (q *request) target(id string) (*directory.Entry, error) {
	q.Subject = id
	return q.server.cfg.Access.Target(&q.Within, q.account, id)
}
