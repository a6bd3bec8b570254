package rest

import (
	"context"

	"lamplight/cluster/directory"
	"lamplight/transport/httpd"
)

// The streams of events that may be open at a time. Each is a connection and two goroutines.
const (
	maxStreams   = 1024
	streamsOfOne = 64 // of one account
)

// events serves …/presence/events: the lamps of an account as server-sent events (docs/contract/http.md, "Events"). It ends when the
// token is not good any more, or may not see the account any more.
func (q *request) events(e *directory.Entry) error {
	if err := q.Methods("GET"); err != nil {
		return err
	}
	free, ok := q.server.streams.Take(q.account)
	if !ok {
		return httpd.ErrTooMany
	}
	stream, err := q.server.cfg.Live.Open(&q.Within, e, q.account, string(q.Request.Request.Header.Peek("Last-Event-ID")))
	if err != nil {
		free()
		return err
	}
	access, token, realm := q.server.cfg.Access, string(q.Token), e.Realm()
	check := func(ctx context.Context) error {
		account, _, err := access.Account(ctx, []byte(token))
		if err != nil {
			return err
		}
		now, err := access.Target(ctx, account, e.ID)
		if err == nil && now.Realm() != realm {
			err = errOtherRealm
		}
		return err
	}
	q.Events(func(send func([]byte) error) { stream.Run(send, check) }, func() { stream.Close(); free() })
	return nil
}

// errOtherRealm ends a stream; the client opens another one, which has the lamps of the new realm.
var errOtherRealm = httpd.Failure{Code: 409, Message: "the account has another realm now"}
