package bus

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/appendjson"
	"lamplight/transport/kazoo"
)

// partSize is about how much of a listing one search_partial_resp carries.
const partSize = 256 << 10

// control serves all that REST can do to a lamp as endpoints of a NATS micro service.
func (b *Bus) control() error {
	s, err := micro.AddService(b.cfg.Conn, micro.Config{Name: "lamplight", Version: b.cfg.Version, QueueGroup: queue,
		Description: "Presence of telephone extensions: list, show, set, reset, probe",
		Metadata:    map[string]string{"node": b.cfg.Node, "schema": "kazoo-presence-4.3", "version": b.cfg.Version}})
	if err != nil {
		return err
	}
	b.service = s
	for _, e := range []struct {
		name, subject, request, response string
		handle                           func(micro.Request)
	}{
		{"search", subject.AnySearch, "search_req", "search_resp", b.search},
		{"show", subject.AnyShow, "show_req", "show_resp", b.show},
		{"set", subject.AnySet, "set", "set_ack", b.set},
		{"reset", subject.AnyReset, "reset", "reset_ack", b.reset},
		{"probe", subject.AnyProbe, "probe", "update", b.probe},
	} {
		handler := micro.HandlerFunc(func(r micro.Request) {
			if b.mayAnswer(r.Reply()) {
				e.handle(r)
			}
		})
		err := s.AddEndpoint(e.name, handler, micro.WithEndpointSubject(b.cfg.Prefix.Of(e.subject)),
			micro.WithEndpointMetadata(map[string]string{"request": e.request, "response": e.response}))
		if err != nil {
			return err
		}
	}
	return nil
}

// asked reads a control document, about one extension or about a realm. then may come on another goroutine.
func (b *Bus) asked(r micro.Request, name string, then func(*kazoo.Document, actors.Address, error)) {
	f, err := kazoo.Read(r.Data(), name)
	to := f.Target()
	if err == nil {
		err = b.sameSubject(r.Subject(), to)
	}
	if err != nil {
		then(f, to, err)
		return
	}
	b.known(to.Realm, func(err error) { then(f, to, err) })
}

// sameSubject checks that a control document is about the extension, or the realm, of its subject.
func (b *Bus) sameSubject(full string, to actors.Address) error {
	t, err := b.tokens(full, 2)
	if err != nil {
		return err
	}
	if to.Realm == "" {
		return refuse("Realm is missing")
	}
	if len(t) > 1 {
		if to.User == "" {
			return refuse("Username is missing")
		}
		if to.User != t[1] {
			return refuse("Username is %.100q, the subject is about %.100q", to.User, t[1])
		}
		if to.User != "*" {
			if err := kazoo.CheckTarget(to); err != nil {
				return err
			}
		}
	}
	return sameRealm(t[0], to)
}

func (b *Bus) answer(r micro.Request, f *kazoo.Document, err error) {
	if err != nil {
		b.refused.Inc()
	}
	_ = r.Respond(b.reply(f, err))
}

var errAsterisk = refuse("a bare * is no extension")

func (b *Bus) set(r micro.Request) {
	b.asked(r, "set", func(f *kazoo.Document, to actors.Address, err error) {
		state, ok := presence.ParseManual(strings.ToLower(string(f.State)))
		if err == nil && !ok {
			err = refuse("State is %.40q; it must be early, confirmed or terminated", f.State)
		}
		if err == nil && to.User == "*" {
			err = errAsterisk
		}
		b.command(r, f, to, presence.SetManual{State: state}, err)
	})
}

func (b *Bus) reset(r micro.Request) {
	b.asked(r, "reset", func(f *kazoo.Document, to actors.Address, err error) {
		if err != nil || to.User != "*" {
			b.command(r, f, to, presence.Reset{}, err)
			return
		}
		b.long(r, f, func(ctx context.Context) {
			cover, err := b.cfg.Router.ResetRealm(ctx, to.Realm)
			if err == nil && len(cover.Missing) > 0 {
				err = fmt.Errorf("%d shards did not answer: %w", len(cover.Missing), actors.ErrUnknown)
			}
			b.answer(r, f, err)
		})
	})
}

func (b *Bus) command(r micro.Request, f *kazoo.Document, to actors.Address, m actors.Message, err error) {
	if err != nil {
		b.answer(r, f, err)
		return
	}
	b.cfg.Router.Go(actors.Request{To: to, Message: m, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) { b.answer(r, f, a.Err) })
}

func (b *Bus) show(r micro.Request) {
	b.asked(r, "show_req", func(f *kazoo.Document, to actors.Address, err error) {
		if err == nil && to.User == "*" {
			err = errAsterisk
		}
		if err != nil {
			b.answer(r, f, err)
			return
		}
		q := actors.Request{To: to, Message: actors.Show{Explain: bool(f.Explain)}, Deadline: time.Now().Add(b.cfg.Timeout)}
		b.cfg.Router.Go(q, func(a actors.Answer) {
			if a.Err != nil {
				b.answer(r, f, a.Err)
				return
			}
			b.shown(r, f, to, &a)
		})
	})
}

// shown answers show_req. Subscriptions that NATS would not carry in one message come in parts before it.
func (b *Bus) shown(r micro.Request, f *kazoo.Document, to actors.Address, a *actors.Answer) {
	sent := 0
	whole := func() []byte {
		d := b.begin(f, "show_resp")
		if sent > 0 {
			d = appendjson.Number(d, "Part", int64(sent))
		}
		if a.Stale {
			d = appendjson.True(d, "stale")
		}
		fields := kazoo.AppendExtension(nil, to.User, a)
		return append(append(d, ','), fields[1:]...) // they stand beside the document's own
	}
	d := whole()
	most := int(b.cfg.Conn.MaxPayload())
	if len(d) > most {
		p := b.parts(r, f, "show_partial_resp")
		for i := range a.Subscriptions {
			p.row(a.Subscriptions[i])
		}
		p.flush()
		sent, a.Subscriptions = p.sent, nil
		d = whole()
	}
	if len(d) > most {
		b.answer(r, f, kazoo.Refusal{Code: 413, Reason: fmt.Sprintf("the answer has %d bytes, NATS carries %d; ask without Explain, or over HTTP", len(d), most)})
		return
	}
	_ = r.Respond(d)
}

// long runs what takes more than a moment off NATS's goroutine, a bounded number at a time.
func (b *Bus) long(r micro.Request, f *kazoo.Document, run func(context.Context)) {
	select {
	case b.listing <- struct{}{}:
	default:
		b.answer(r, f, actors.ErrBusy)
		return
	}
	b.listings.Go(func() {
		defer func() { <-b.listing }()
		ctx, cancel := context.WithTimeout(b.ctx, b.cfg.Timeout)
		defer cancel()
		run(ctx)
	})
}

func (b *Bus) search(r micro.Request) {
	b.asked(r, "search_req", func(f *kazoo.Document, to actors.Address, err error) {
		q := actors.Query{Realm: to.Realm, Bodies: true}
		if err == nil {
			q.Package, q.HasPackage, err = f.Package()
		}
		if err != nil {
			b.answer(r, f, err)
			return
		}
		b.long(r, f, func(ctx context.Context) {
			p := b.parts(r, f, "search_partial_resp")
			cover, err := b.cfg.Router.List(ctx, q, func(s actors.SubscriptionView) error { p.row(s); return nil })
			if err != nil {
				b.answer(r, f, err)
				return
			}
			_ = r.Respond(b.part(f, "search_resp", p.sent, p.listing.End(p.rows), cover))
		})
	})
}

// parts cuts a listing into messages of about most bytes, each well below what NATS carries. An extension with many
// watchers may stand in several of them.
type parts struct {
	b       *Bus
	r       micro.Request
	f       *kazoo.Document
	name    string
	most    int
	listing kazoo.Listing
	rows    []byte
	sent    int
}

func (b *Bus) parts(r micro.Request, f *kazoo.Document, name string) *parts {
	return &parts{b: b, r: r, f: f, name: name, most: min(partSize, int(b.cfg.Conn.MaxPayload())/4)}
}

func (p *parts) row(s actors.SubscriptionView) {
	if len(s.Body) > p.most/2 {
		s.Body = ""
	}
	if p.rows = p.listing.Row(p.rows, &s); len(p.rows) > p.most {
		p.flush()
	}
}

func (p *parts) flush() {
	p.sent++
	_ = p.r.Respond(p.b.part(p.f, p.name, p.sent, p.listing.End(p.rows), actors.Coverage{}))
	p.listing, p.rows = kazoo.Listing{}, nil
}

// part is one message of a listing. Part numbers those that come before the last, and in the last says how many came.
func (b *Bus) part(f *kazoo.Document, name string, number int, subscriptions []byte, cover actors.Coverage) []byte {
	d := b.begin(f, name)
	d = appendjson.Field(d, "Realm", string(f.Realm))
	if number > 0 {
		d = appendjson.Number(d, "Part", int64(number))
	}
	if cover.Stale {
		d = appendjson.True(d, "stale")
	}
	if len(cover.Missing) > 0 {
		d = kazoo.AppendMissing(d, cover.Missing)
	}
	d = append(appendjson.Key(d, "Subscriptions"), subscriptions...)
	return append(d, '}')
}

// probe answers with the present state as an `update`.
func (b *Bus) probe(r micro.Request) {
	f, err := kazoo.Read(r.Data(), "probe")
	to := f.Target()
	p, ok := presence.ParsePackage(subject.Last(r.Subject()))
	switch {
	case err != nil:
	case !ok:
		err = refuse("the subject's event package must be %s", presence.PackageNames())
	case to.User == "" || to.Realm == "":
		err = refuse("Username or Realm is missing")
	case f.EventPackage == "":
		err = refuse("Event-Package is missing")
	case !strings.EqualFold(string(f.EventPackage), p.String()):
		err = refuse("Event-Package is %.40q, the subject is about %s", f.EventPackage, p)
	default:
		err = kazoo.CheckTarget(to)
	}
	if err != nil {
		b.answer(r, f, err)
		return
	}
	b.known(to.Realm, func(err error) {
		if err != nil {
			b.answer(r, f, err)
			return
		}
		b.cfg.Router.Go(actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) {
			if a.Err != nil {
				b.answer(r, f, a.Err)
				return
			}
			_ = r.Respond(b.state(f, to, p, &a))
		})
	})
}

// state is an `update` with the present state of an extension.
func (b *Bus) state(f *kazoo.Document, to actors.Address, p presence.Package, a *actors.Answer) []byte {
	d := b.begin(f, "update")
	d = appendjson.Field(d, "Presence-ID", to.String())
	d = appendjson.Field(d, "Event-Package", p.String())
	d = appendjson.Field(d, "State", a.View.State.String())
	if a.View.HasMessages {
		d = appendjson.Number(d, "Messages-New", int64(a.View.Messages.New))
		d = appendjson.Number(d, "Messages-Saved", int64(a.View.Messages.Saved))
	}
	if len(a.View.Dialogs) > 0 {
		w := a.View.Dialogs[0]
		d = appendjson.Field(d, "Call-ID", w.CallID)
		d = appendjson.Field(d, "Direction", w.Direction.String())
		d = appendjson.Field(d, "From", w.From)
		d = appendjson.Field(d, "To", w.To)
	}
	if a.Stale {
		d = appendjson.True(d, "stale")
	}
	return append(d, '}')
}
