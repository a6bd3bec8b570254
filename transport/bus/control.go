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
	"lamplight/transport/audit"
	"lamplight/transport/kazoo"
	"lamplight/transport/report"
)

// control registers the control endpoints as a micro service of NATS (docs/contract/nats.md, "Control").
func (b *Bus) control() error {
	s, err := micro.AddService(b.cfg.Conn, micro.Config{Name: "lamplight", Version: b.cfg.Version, QueueGroup: subject.Queue,
		Description: "Presence of telephone extensions: list, show, set, reset, probe, end a switch's calls",
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
		{"switch_gone", subject.SwitchGone, "switch_gone", "switch_gone_ack", b.switchGone},
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

// readControl decodes a control document, which is about an extension or a realm, and checks it. It calls then once, perhaps
// later and from another goroutine.
func (b *Bus) readControl(r micro.Request, name string, then func(*kazoo.Document, actors.Address, error)) {
	f, err := b.decode(r.Data(), name)
	var to actors.Address
	if err == nil {
		to, err = f.Target()
	}
	if err == nil {
		err = b.sameSubject(r.Subject(), to)
	}
	if err != nil {
		then(f, to, err)
		return
	}
	b.checkRealm(to.Realm, func(err error) {
		if err == nil {
			err = b.cfg.Question(to.Realm)
		}
		then(f, to, err)
	})
}

// sameSubject refuses a control document about another extension or realm than that of its subject.
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
		if to.User == "*" && t[1] != "*" {
			return refuse("Username is a bare *, the subject is about %.100q; they must be the same", t[1])
		}
	}
	if err := sameRealm(t[0], to); err != nil || len(t) == 1 || to.User == "*" {
		return err
	}
	return sameUser("Username", to, t)
}

// respond answers a command, or any control request with an error.
func (b *Bus) respond(r micro.Request, f *kazoo.Document, err error) {
	b.note(r.Subject(), f, err)
	_ = r.Respond(b.ackDocument(f, err))
}

var errAsterisk = refuse("Username is a bare *, which is no extension; only a reset may name a whole realm so")

func (b *Bus) set(r micro.Request) {
	b.readControl(r, "set", func(f *kazoo.Document, to actors.Address, err error) {
		state, ok := presence.ParseManual(strings.ToLower(string(f.State)))
		if err == nil && !ok {
			err = refuse("State is %.40q; it must be %s", f.State, presence.StateNames(presence.ManualStates[:]))
		}
		if err == nil && to.User == "*" {
			err = errAsterisk
		}
		if err != nil {
			b.respond(r, f, err)
			return
		}
		b.command(r, f, audit.Entry{Action: "set", State: state.String(), Realm: to.Realm, User: to.User, Origin: f.Origin()}, presence.SetManual{State: state}, time.Now().Add(b.cfg.Timeout))
	})
}

// reset resets an extension or a realm, and makes a report of what was there. A reset is never refused because of its report. The reset
// of one extension is sent before this method returns, right behind the question for the report. So it does not undo a set that is sent after it. Only the
// answer to the reset waits for the report.
func (b *Bus) reset(r micro.Request) {
	b.readControl(r, "reset", func(f *kazoo.Document, to actors.Address, err error) {
		e := audit.Entry{Action: "reset", Realm: to.Realm, User: to.User}
		if err != nil {
			b.respond(r, f, err)
			return
		}
		e.Origin = f.Origin()
		about := report.Reset{Account: b.cfg.Account(to.Realm), Realm: to.Realm, Origin: e.Origin, Until: time.Now().Add(b.cfg.Timeout)}
		if to.User == "*" {
			b.runInBackground(r, f, b.cfg.Timeout, func(ctx context.Context) { b.resetRealm(ctx, r, f, e, about) })
			return
		}
		select {
		case b.reporting <- struct{}{}:
			shown, done := make(chan actors.Answer, 1), make(chan actors.Answer, 1)
			b.cfg.Router.Go(b.cfg.Report.Ask(about, to), func(a actors.Answer) { shown <- a })
			b.ask(r.Headers(), f, actors.Request{To: to, Message: presence.Reset{}, Deadline: about.Until, Origin: e.Origin}, func(a actors.Answer) { done <- a })
			b.background.Go(func() {
				defer func() { <-b.reporting }()
				a := <-done
				if a.Err == nil {
					e.Report = b.cfg.Report.Answered(b.ctx, about, to, shown)
				}
				b.commanded(r, f, e, a.Err)
			})
		default:
			b.cfg.Log.Warn("a reset is done without a report, because too many resets wait for theirs", "most", maxReporting, "extension", to.String(), "request_id", e.Request)
			b.command(r, f, e, presence.Reset{}, about.Until)
		}
	})
}

// resetRealm resets every extension of a realm.
func (b *Bus) resetRealm(ctx context.Context, r micro.Request, f *kazoo.Document, e audit.Entry, about report.Reset) {
	e.Report = b.cfg.Report.Lamps(ctx, about)
	cover, err := b.cfg.Router.ResetRealm(ctx, e.Realm, e.Origin)
	if err == nil && len(cover.Missing) > 0 {
		err = fmt.Errorf("%d shards did not answer: %w", len(cover.Missing), actors.ErrUnknown)
	}
	e.Err = err
	b.cfg.Audit(e)
	b.note(r.Subject(), f, err)
	d := b.ackCommand(f, e)
	if err == nil {
		d = append(appendjson.Number(d[:len(d)-1], "Extensions", int64(cover.Extensions)), '}')
	}
	_ = r.Respond(d)
}

// ackCommand encodes the answer to a command, with the id of its report.
func (b *Bus) ackCommand(f *kazoo.Document, e audit.Entry) []byte {
	d := b.ackDocument(f, e.Err)
	if e.Err == nil && e.Report != "" {
		d = append(appendjson.Field(d[:len(d)-1], "Report-ID", e.Report), '}')
	}
	return d
}

// switchGone ends the calls of a switch that were last heard of before a moment, of all realms.
func (b *Bus) switchGone(r micro.Request) {
	f, err := b.decode(r.Data(), "switch_gone")
	var gone presence.SwitchGone
	if err == nil {
		gone, err = f.SwitchGone()
	}
	if err != nil {
		b.respond(r, f, err)
		return
	}
	b.runInBackground(r, f, actors.EndSwitchTime, func(ctx context.Context) {
		cover, err := b.cfg.Router.EndSwitch(ctx, gone)
		b.cfg.Audit(audit.Entry{Action: "switch_gone", Switch: gone.Switch, Origin: gone.Origin, Err: err})
		if err != nil {
			b.respond(r, f, fmt.Errorf("%d shards did not answer; to ask again does no harm: %w", len(cover.Missing), err))
			return
		}
		b.note(r.Subject(), f, nil)
		d := b.ackDocument(f, nil)
		_ = r.Respond(append(appendjson.Number(d[:len(d)-1], "Ended", int64(cover.Extensions)), '}'))
	})
}

// command sends a command to an extension, answers when it is durable and tells the audit.
func (b *Bus) command(r micro.Request, f *kazoo.Document, e audit.Entry, m actors.Message, until time.Time) {
	q := actors.Request{To: actors.Address{Realm: e.Realm, User: e.User}, Message: m, Deadline: until, Origin: e.Origin}
	b.ask(r.Headers(), f, q, func(a actors.Answer) { b.commanded(r, f, e, a.Err) })
}

// commanded tells of a command that was done or refused, and answers it. Whatever was answered has been told.
func (b *Bus) commanded(r micro.Request, f *kazoo.Document, e audit.Entry, err error) {
	e.Err = err
	b.note(r.Subject(), f, e.Err)
	b.cfg.Audit(e)
	_ = r.Respond(b.ackCommand(f, e))
}

func (b *Bus) show(r micro.Request) {
	b.readControl(r, "show_req", func(f *kazoo.Document, to actors.Address, err error) {
		if err == nil && to.User == "*" {
			err = errAsterisk
		}
		if err != nil {
			b.respond(r, f, err)
			return
		}
		q := actors.Request{To: to, Message: actors.Show{Explain: bool(f.Explain)}, Deadline: time.Now().Add(b.cfg.Timeout)}
		b.ask(r.Headers(), f, q, func(a actors.Answer) {
			if a.Err != nil {
				b.respond(r, f, a.Err)
				return
			}
			b.respondShow(r, f, to, &a)
		})
	})
}

// respondShow answers a show_req. When the answer is longer than a NATS message may be, the subscriptions come first, in
// parts.
func (b *Bus) respondShow(r micro.Request, f *kazoo.Document, to actors.Address, a *actors.Answer) {
	sent := 0
	whole := func() []byte {
		d := b.beginReply(f, "show_resp")
		if sent > 0 {
			d = appendjson.Number(d, "Part", int64(sent))
		}
		if a.Stale {
			d = appendjson.True(d, "stale")
		}
		fields := kazoo.AppendExtension(nil, to.User, a)
		return append(append(d, ','), fields[1:]...) // [1:] leaves out the brace: the fields follow those of the reply
	}
	d := whole()
	most := int(b.cfg.Conn.MaxPayload())
	if len(d) > most {
		p := b.parts(r, f, "show_partial_resp", wholeForm)
		for i := range a.Subscriptions {
			p.row(a.Subscriptions[i])
		}
		p.flush()
		sent, a.Subscriptions = p.sent, nil
		d = whole()
	}
	if len(d) > most {
		b.respond(r, f, kazoo.Refusal{Code: 413, Reason: fmt.Sprintf("the answer has %d bytes, and a message of this NATS server at most %d; ask without Explain, or over HTTP", len(d), most)})
		return
	}
	b.note(r.Subject(), f, nil)
	_ = r.Respond(d)
}

// runInBackground runs what has to wait for other nodes on a goroutine of its own, within a time. When maxBackground of them are
// under way it answers actors.ErrBusy instead.
func (b *Bus) runInBackground(r micro.Request, f *kazoo.Document, within time.Duration, run func(context.Context)) {
	select {
	case b.slots <- struct{}{}:
	default:
		b.respond(r, f, actors.ErrBusy)
		return
	}
	b.background.Go(func() {
		defer func() { <-b.slots }()
		ctx, cancel := context.WithTimeout(b.ctx, within)
		defer cancel()
		run(ctx)
	})
}

// probe answers with the present state of an extension as an `update`.
func (b *Bus) probe(r micro.Request) {
	f, err := b.decode(r.Data(), "probe")
	p, ok := presence.ParsePackage(subject.Last(r.Subject()))
	var to actors.Address
	var asked presence.Package
	var named bool
	if err == nil {
		to, err = f.Target()
	}
	if err == nil {
		asked, named, err = f.Package()
	}
	switch {
	case err != nil:
	case !ok:
		err = refuse("the subject's event package must be %s", presence.PackageNames())
	case to.User == "" || to.Realm == "":
		err = refuse("Username or Realm is missing")
	case !named:
		err = refuse("Event-Package is missing")
	case asked != p:
		err = refuse("Event-Package is %s, the subject is about %s; they must be the same", asked, p)
	case to.User == "*":
		err = errAsterisk
	}
	if err != nil {
		b.respond(r, f, err)
		return
	}
	b.checkRealm(to.Realm, func(err error) {
		if err == nil {
			err = b.cfg.Question(to.Realm)
		}
		if err != nil {
			b.respond(r, f, err)
			return
		}
		b.ask(r.Headers(), f, actors.Request{To: to, Message: actors.Show{}, Deadline: time.Now().Add(b.cfg.Timeout)}, func(a actors.Answer) {
			if a.Err != nil {
				b.respond(r, f, a.Err)
				return
			}
			b.note(r.Subject(), f, nil)
			_ = r.Respond(b.probeUpdate(f, to, p, &a))
		})
	})
}

// probeUpdate encodes the `update` that answers a probe: the lamp, and the most important dialog.
func (b *Bus) probeUpdate(f *kazoo.Document, to actors.Address, p presence.Package, a *actors.Answer) []byte {
	d := b.beginReply(f, "update")
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
