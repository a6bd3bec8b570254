package rest

import (
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/status"
	"lamplight/transport/access"
	"lamplight/transport/httpd"
)

// The bounds of questions about the cluster. Each is answered by all nodes, twice.
const (
	maxOverviews   = 4
	overviewsOfOne = 4
	statusTime     = time.Second            // how long one waits for nodes that do not answer
	statusApart    = 500 * time.Millisecond // over how long a time events are counted, for events_per_second
)

// overview is what the answers of all nodes add up to.
type overview struct {
	status.Overview
	Sources  []status.SourceView `json:"sources"`
	Watchers []status.Watchers   `json:"watchers,omitzero"`
}

// master returns an error if the token is not of the master account.
func (q *request) master() error {
	if master := q.server.cfg.Directory.Master(); master == "" || q.account != master {
		return access.ErrForbidden
	}
	return nil
}

// cluster serves /cluster: the nodes, their shards and the sources of calls. It shows what belongs to all accounts, so the token must be of
// the master account.
func (q *request) cluster() error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	if err := q.master(); err != nil {
		return err
	}
	free, ok := q.server.overviews.Take(q.account)
	if !ok {
		return httpd.ErrTooMany
	}
	defer free()
	more := false
	switch w := string(q.QueryArgs().Peek("watchers")); w {
	case "", "false":
	case "true":
		more = true
	default:
		return httpd.Invalid("watchers", "Field must be true or false")
	}
	ask := func(what status.Ask) ([]status.Status, error) {
		ctx, cancel := context.WithTimeout(&q.Within, statusTime)
		defer cancel()
		return q.server.cfg.Status(ctx, what)
	}
	begun := time.Now()
	before, err := ask(status.Ask{})
	if err != nil {
		return err
	}
	select {
	case <-time.After(statusApart):
	case <-q.Within.Done():
	}
	now, err := ask(status.Ask{Watchers: more})
	if err != nil {
		return err
	}
	o := overview{Overview: status.Merge(before, now, time.Since(begun)), Sources: status.Sources(now)}
	if more {
		o.Watchers = status.WatchersOf(now)
	}
	data, err := json.Marshal(o, json.Deterministic(true))
	if err != nil {
		return err
	}
	q.OK(200, data)
	return nil
}
