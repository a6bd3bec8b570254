package rest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/transport/appendjson"
	"lamplight/transport/httpd"
	"lamplight/transport/kazoo"
)

// streamFrom is the size in bytes from which on a listing is streamed, without an ETag.
const streamFrom = 1 << 20

// listing serves GET …/presence of a whole account.
func (q *request) listing(e *directory.Entry) error {
	args := q.QueryArgs()
	query := actors.Query{Realm: e.Realm(), From: strings.ToLower(string(args.Peek("start_key")))}
	if v := string(args.Peek("page_size")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 100_000 {
			return httpd.Invalid("page_size", "Field must be a number of extensions, 1 to 100000")
		}
		query.Limit = n
	}
	if err := q.litLamps(&query); err != nil {
		return err
	}
	if query.Lit {
		return q.answerList(query, "lamps", &kazoo.Lamps{})
	}
	if v := string(args.Peek("event")); v != "" {
		p, ok := presence.ParsePackage(v)
		if !ok {
			return httpd.Invalid("event", "Field must be "+presence.PackageNames())
		}
		query.Package, query.HasPackage = p, true
	}
	l := &kazoo.Listing{}
	switch v := string(args.Peek("summary")); v {
	case "true":
		l.Summary = true
	case "", "false":
	default:
		return httpd.Invalid("summary", "Field must be true or false")
	}
	query.Bodies = !l.Summary
	return q.answerList(query, "subscriptions", l)
}

// litLamps reads the query parameters of a listing of lit lamps.
func (q *request) litLamps(query *actors.Query) error {
	args := q.QueryArgs()
	switch v := string(args.Peek("lit")); v {
	case "true":
		query.Lit = true
	case "", "false":
	default:
		return httpd.Invalid("lit", "Field must be true or false")
	}
	for _, name := range []string{"state", "source", "older_than"} {
		if !args.Has(name) {
			continue
		}
		if !query.Lit {
			return httpd.Invalid(name, "Field needs lit=true")
		}
		var err error
		switch v := string(args.Peek(name)); name {
		case "state":
			query.State, err = kazoo.LitState(v)
		case "source":
			query.Source, err = v, kazoo.LitSource(v)
		case "older_than":
			query.Until, err = kazoo.LitUntil(v, time.Now())
		}
		if err != nil {
			return httpd.Invalid(name, "Field "+err.Error())
		}
	}
	for _, name := range []string{"event", "summary"} {
		if query.Lit && args.Has(name) {
			return httpd.Invalid(name, "Field must not be given with lit=true, which lists no subscriptions")
		}
	}
	return nil
}

// answerList answers with a listing, as the member name of data.
func (q *request) answerList(query actors.Query, name appendjson.Literal, l kazoo.Rows) error {
	// Another goroutine lists and encodes. This one collects the chunks in one answer, until they are more than streamFrom: then it
	// streams the rest.
	ctx, cancel := context.WithDeadline(context.Background(), q.Until)
	free, ok := q.server.listings.Take(q.account)
	if !ok {
		cancel()
		return httpd.ErrTooMany
	}
	c := &chunks{Rows: l, full: make(chan []byte), free: make(chan []byte, 2)}
	go func() {
		defer close(c.full)
		defer free()
		c.encode(ctx, q.server.cfg.Presence, query)
	}()
	body := appendjson.Key(append(q.Begin(), '{'), name)
	for chunk := range c.full {
		body = append(body, chunk...)
		c.free <- chunk
		if len(body) > streamFrom {
			q.stream(body, c, cancel)
			return nil
		}
	}
	cancel()
	if c.err != nil {
		return c.err
	}
	q.Stale, q.Next = q.Stale || c.cover.Stale, c.cover.Next
	q.End(200, c.end(body))
	return nil
}

// chunkSize is the number of bytes from which on a chunk of a listing is passed on.
const chunkSize = 64 << 10

// chunks is a listing that one goroutine encodes and another one sends. There are two buffers: one is filled while the other is
// sent.
type chunks struct {
	kazoo.Rows
	full chan []byte // filled buffers; closed after the last. The receiver takes all of them
	free chan []byte // buffers that the receiver gives back, one for each that it took

	// Set before full is closed.
	cover actors.Coverage
	err   error
}

// encode encodes rows until there are no more or ctx ends.
func (c *chunks) encode(ctx context.Context, from Presence, query actors.Query) {
	var chunk []byte
	var row actors.SubscriptionView // one for all, because Row of an interface would put each on the heap
	c.free <- nil                   // the second buffer
	c.cover, c.err = from.List(ctx, query, func(s actors.SubscriptionView) error {
		row = s
		if chunk = c.Row(chunk, &row); len(chunk) <= chunkSize {
			return nil
		}
		last := chunk[len(chunk)-1] // kept for the next chunk: Row looks at the byte before it to see whether a comma is due
		select {
		case c.full <- chunk[:len(chunk)-1]:
			chunk = <-c.free
			chunk = append(chunk[:0], last)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	c.full <- chunk
}

// end appends what follows the rows.
func (c *chunks) end(body []byte) []byte {
	return append(missing(c.End(body), c.cover), '}')
}

// missing appends which shards the listing does not cover, if there are any.
func missing(body []byte, cover actors.Coverage) []byte {
	if len(cover.Missing) == 0 {
		return body
	}
	return kazoo.AppendMissing(body, cover.Missing)
}

// stream answers with a large listing: with head, then with each chunk as it comes. Its revision is not a hash of data but the
// number of durable changes that the listing covers. A listing that was broken off, because the time was over or the client read
// too slowly, names all shards as missing.
func (q *request) stream(head []byte, c *chunks, cancel context.CancelFunc) {
	q.Stream(head, func(put func([]byte)) httpd.Tail {
		defer cancel()
		for chunk := range c.full {
			put(chunk)
			c.free <- chunk
		}
		if c.err != nil {
			all := actors.AllShards()
			c.cover.Missing = all.List()
		}
		return httpd.Tail{Data: c.end(nil), Revision: strconv.FormatUint(c.cover.Sequence, 16), Next: c.cover.Next, Stale: c.cover.Stale}
	}, cancel)
}
