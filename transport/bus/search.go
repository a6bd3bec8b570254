package bus

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// partSize is the number of bytes at which a part of a listing is sent. A part may be longer by one row.
const partSize = 256 << 10

func (b *Bus) search(r micro.Request) {
	b.readControl(r, "search_req", func(f *kazoo.Document, to actors.Address, err error) {
		q := actors.Query{Realm: to.Realm, Bodies: !bool(f.Lit) && !bool(f.Summary), Lit: bool(f.Lit)}
		if err == nil {
			q.Package, q.HasPackage, err = f.Package()
		}
		if err == nil {
			err = litLamps(f, &q)
		}
		if err != nil {
			b.respond(r, f, err)
			return
		}
		b.runInBackground(r, f, b.cfg.Timeout, func(ctx context.Context) {
			p := b.parts(r, f, "search_partial_resp", formOf(f))
			cover, err := b.cfg.Router.List(ctx, q, func(s actors.SubscriptionView) error { p.row(s); return nil })
			if err != nil {
				b.respond(r, f, err)
				return
			}
			b.note(r.Subject(), f, nil)
			_ = r.Respond(p.document("search_resp", cover))
		})
	})
}

// litLamps reads the fields of a search for lit lamps.
func litLamps(f *kazoo.Document, q *actors.Query) error {
	if f.Lit && f.EventPackage != "" {
		return refuse("Event-Package is %.40q; it must not be given with Lit, which lists no subscriptions", f.EventPackage)
	}
	if f.Lit && f.Summary {
		return refuse("Summary is true; it must not be given with Lit, which lists no subscriptions")
	}
	for _, field := range [...]struct {
		name  string
		value kazoo.Text
		read  func(string) error
	}{
		{"State", f.State, func(v string) (err error) { q.State, err = kazoo.LitState(v); return err }},
		{"Source", f.Source, func(v string) error { q.Source = v; return kazoo.LitSource(v) }},
		{"Older-Than", f.OlderThan, func(v string) (err error) { q.Until, err = kazoo.LitUntil(v, time.Now()); return err }},
	} {
		switch {
		case field.value == "":
		case !bool(f.Lit):
			return refuse("%s is %.40q; it needs Lit to be true", field.name, field.value)
		default:
			if err := field.read(strings.ToLower(string(field.value))); err != nil {
				return refuse("%s %v", field.name, err)
			}
		}
	}
	return nil
}

// form is how a listing is written: the field of the documents, and what writes the rows of one.
type form struct {
	field appendjson.Literal
	empty func() kazoo.Rows
}

var (
	wholeForm   = form{"Subscriptions", func() kazoo.Rows { return &kazoo.Listing{} }}
	summaryForm = form{"Subscriptions", func() kazoo.Rows { return &kazoo.Listing{Summary: true} }}
	lampsForm   = form{"Lamps", func() kazoo.Rows { return &kazoo.Lamps{} }}
)

// formOf returns the form that a search asks for.
func formOf(f *kazoo.Document) form {
	switch {
	case bool(f.Lit):
		return lampsForm
	case bool(f.Summary):
		return summaryForm
	}
	return wholeForm
}

// parts sends a listing in several messages. The subscriptions of one extension may be spread over several parts.
type parts struct {
	bus     *Bus
	r       micro.Request
	f       *kazoo.Document
	name    string // Event-Name of a part
	form    form
	most    int // bytes at which a part is sent
	listing kazoo.Rows
	rows    []byte
	one     actors.SubscriptionView // the row that is written, because Row of an interface would put each on the heap
	sent    int                     // parts
}

// parts makes a sender of parts. A part is sent at a quarter of what a NATS message may hold, so that it has room for one
// more row and for the fields of the document.
func (b *Bus) parts(r micro.Request, f *kazoo.Document, name string, as form) *parts {
	return &parts{bus: b, r: r, f: f, name: name, form: as, listing: as.empty(), most: min(partSize, int(b.cfg.Conn.MaxPayload())/4)}
}

// row adds one subscription or lamp. It leaves out a body that would take more than half of a part, and of dialogs that would
// take more than a part all but the most important one.
func (p *parts) row(s actors.SubscriptionView) {
	if len(s.Body) > p.most/2 {
		s.Body = ""
	}
	if v := s.Lamp; v != nil && len(v.Dialogs) > 1 && len(kazoo.AppendDialogs(nil, v.Dialogs)) > p.most {
		s.Lamp = &presence.View{State: v.State, Dialogs: v.Dialogs[:1]}
	}
	p.one = s
	if p.rows = p.listing.Row(p.rows, &p.one); len(p.rows) > p.most {
		p.flush()
	}
}

// flush sends what has been added as a part.
func (p *parts) flush() {
	p.sent++
	_ = p.r.Respond(p.document(p.name, actors.Coverage{}))
	p.listing, p.rows = p.form.empty(), nil
}

// document encodes one message of the listing, with what was added since the last one. Part is the number of a part, counted from
// 1; in the last message it is the number of parts that came before. 0 is left out.
func (p *parts) document(name string, cover actors.Coverage) []byte {
	d := p.bus.beginReply(p.f, name)
	d = appendjson.Field(d, "Realm", string(p.f.Realm))
	if p.sent > 0 {
		d = appendjson.Number(d, "Part", int64(p.sent))
	}
	if cover.Stale {
		d = appendjson.True(d, "stale")
	}
	if len(cover.Missing) > 0 {
		d = kazoo.AppendMissing(d, cover.Missing)
	}
	d = append(appendjson.Key(d, p.form.field), p.listing.End(p.rows)...)
	return append(d, '}')
}
