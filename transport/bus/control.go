package bus

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/document"
)

// partSize is about how much of a listing one search_partial_resp carries.
const partSize = 256 << 10

// control serves all that REST can do to a lamp as endpoints of a NATS micro service.
func (b *Bus) control() error {
	s, err := micro.AddService(b.cfg.Conn, micro.Config{Name: "lamplight", Version: b.cfg.Version, QueueGroup: queue,
		Description: "Presence of telephone extensions: list, show, set, reset",
		Metadata:    map[string]string{"node": b.cfg.Node, "schema": "kazoo-presence-4.3", "version": b.cfg.Version}})
	if err != nil {
		return err
	}
	b.service = s
	for _, e := range []struct {
		name, subject, request, response string
		handle                           func(micro.Request)
	}{
		{"search", "presence.search_req.*", "search_req", "search_resp", b.search},
		{"show", "presence.show.*.*", "show_req", "show_resp", b.show},
		{"set", "presence.set.*.*", "set", "set_ack", b.set},
		{"reset", "presence.reset.*.*", "reset", "reset_ack", b.reset},
	} {
		err := s.AddEndpoint(e.name, micro.HandlerFunc(e.handle), micro.WithEndpointSubject(b.cfg.Prefix+e.subject),
			micro.WithEndpointMetadata(map[string]string{"request": e.request, "response": e.response}))
		if err != nil {
			return err
		}
	}
	return nil
}

// asked reads a control document; user is "" where the subject has none.
func (b *Bus) asked(r micro.Request, name string) (*fields, actors.Address, error) {
	f, err := decode(r.Data(), name)
	if err != nil {
		return f, actors.Address{}, err
	}
	t, err := b.tokens(r.Subject(), 2)
	if err != nil {
		return f, actors.Address{}, err
	}
	to := actors.Address{Realm: strings.ToLower(string(f.Realm))}
	if to.Realm == "" {
		return f, to, refuse("Realm is missing")
	}
	if len(t) > 1 {
		to.User = strings.ToLower(string(f.Username))
		if to.User == "" {
			return f, to, refuse("Username is missing")
		}
		if to.User != t[1] {
			return f, to, refuse("Username is %.100q, the subject is about %.100q", to.User, t[1])
		}
		if to.User != "*" {
			if err := checkName("Username", to); err != nil {
				return f, to, err
			}
		}
	}
	return f, to, b.realm(t[0], to)
}

func (b *Bus) answer(r micro.Request, f *fields, err error) {
	if err != nil {
		b.refused.Inc()
	}
	_ = r.Respond(b.reply(f, err))
}

func (b *Bus) set(r micro.Request) {
	f, to, err := b.asked(r, "set")
	state, ok := presence.ParseState(strings.ToLower(string(f.State)))
	if err == nil && (!ok || state != presence.Early && state != presence.Confirmed && state != presence.Terminated) {
		err = refuse("State is %.40q; it must be early, confirmed or terminated", f.State)
	}
	if err == nil && to.User == "*" {
		err = refuse("a bare * is no extension")
	}
	b.command(r, f, to, presence.SetManual{State: state}, err)
}

func (b *Bus) reset(r micro.Request) {
	f, to, err := b.asked(r, "reset")
	if err == nil && to.User == "*" {
		b.long(r, f, func(ctx context.Context) {
			_, err := b.cfg.Router.ResetRealm(ctx, to.Realm)
			b.answer(r, f, err)
		})
		return
	}
	b.command(r, f, to, presence.Reset{}, err)
}

func (b *Bus) command(r micro.Request, f *fields, to actors.Address, e presence.Event, err error) {
	if err != nil {
		b.answer(r, f, err)
		return
	}
	b.cfg.Router.Go(actors.Request{To: to, Message: e, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) { b.answer(r, f, a.Err) })
}

func (b *Bus) show(r micro.Request) {
	f, to, err := b.asked(r, "show_req")
	if err == nil && to.User == "*" {
		err = refuse("a bare * is no extension")
	}
	if err != nil {
		b.answer(r, f, err)
		return
	}
	explain := string(f.Explain) == "true" || string(f.Explain) == `"true"`
	b.cfg.Router.Go(actors.Request{To: to, Message: actors.Show{Explain: explain}, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) {
		if a.Err != nil {
			b.answer(r, f, a.Err)
			return
		}
		d := b.begin(f, "show_resp")
		if a.Stale {
			d = append(document.Key(d, "stale"), "true"...)
		}
		shown := document.Extension(nil, to.User, &a)
		d = append(d, ',')
		_ = r.Respond(append(d, shown[1:]...)) // its fields stand beside the document's own
	})
}

// long runs what takes more than a moment off NATS's goroutine, a bounded number at a time.
func (b *Bus) long(r micro.Request, f *fields, run func(context.Context)) {
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
	f, to, err := b.asked(r, "search_req")
	if err != nil {
		b.answer(r, f, err)
		return
	}
	q := actors.Query{Realm: to.Realm, Bodies: true}
	if f.EventPackage != "" {
		if q.Package, err = eventPackage(f.EventPackage); err != nil {
			b.answer(r, f, err)
			return
		}
		q.HasPackage = true
	}
	b.long(r, f, func(ctx context.Context) {
		var l document.Listing
		part := []byte(nil)
		last := ""
		cover, err := b.cfg.Router.List(ctx, q, func(s actors.SubscriptionView) error {
			if len(part) > partSize && s.User != last { // an extension stays in one part
				_ = r.Respond(b.part(f, "search_partial_resp", l.End(part), actors.Coverage{}))
				l, part = document.Listing{}, nil
			}
			last = s.User
			part = l.Row(part, &s)
			return nil
		})
		if err != nil {
			b.answer(r, f, err)
			return
		}
		_ = r.Respond(b.part(f, "search_resp", l.End(part), cover))
	})
}

func (b *Bus) part(f *fields, name string, subscriptions []byte, cover actors.Coverage) []byte {
	d := b.begin(f, name)
	d = document.Field(d, "Realm", string(f.Realm))
	if cover.Stale {
		d = append(document.Key(d, "stale"), "true"...)
	}
	if len(cover.Missing) > 0 {
		d = append(document.Key(d, "timeout"), "true"...)
		d = append(document.Key(d, "missing_shards"), '[')
		for i, shard := range cover.Missing {
			if i > 0 {
				d = append(d, ',')
			}
			d = strconv.AppendInt(d, int64(shard), 10)
		}
		d = append(d, ']')
	}
	d = append(document.Key(d, "Subscriptions"), subscriptions...)
	return append(d, '}')
}

// probe answers with the present state as an `update`.
func (b *Bus) probe(m *nats.Msg) {
	f, err := decode(m.Data, "probe")
	to := actors.Address{Realm: strings.ToLower(string(f.Realm)), User: strings.ToLower(string(f.Username))}
	p, ok := presence.ParsePackage(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	switch {
	case err != nil:
	case !ok:
		err = refuse("the subject's event package must be dialog, presence or message-summary")
	case to.User == "" || to.Realm == "":
		err = refuse("Username or Realm is missing")
	case f.EventPackage != "" && string(f.EventPackage) != p.String():
		err = refuse("Event-Package is %.40q, the subject is about %s", f.EventPackage, p)
	default:
		if err = checkName("Username", to); err == nil {
			err = b.realm(to.Realm, to)
		}
	}
	if err != nil {
		b.refuse(m, f, err)
		return
	}
	b.cfg.Router.Go(actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) {
		if a.Err != nil || m.Reply == "" {
			b.ack(m, f, a.Err)
			return
		}
		d := b.begin(f, "update")
		d = document.Field(d, "Presence-ID", to.String())
		d = document.Field(d, "Event-Package", p.String())
		d = document.Field(d, "State", a.View.State.String())
		if a.View.HasMessages {
			d = document.Number(d, "Messages-New", int64(a.View.Messages.New))
			d = document.Number(d, "Messages-Saved", int64(a.View.Messages.Saved))
		}
		if len(a.View.Dialogs) > 0 {
			w := a.View.Dialogs[0]
			d = document.Field(d, "Call-ID", w.CallID)
			d = document.Field(d, "Direction", w.Direction.String())
			d = document.Field(d, "From", w.From)
			d = document.Field(d, "To", w.To)
		}
		if a.Stale {
			d = append(document.Key(d, "stale"), "true"...)
		}
		_ = m.Respond(append(d, '}'))
	})
}
