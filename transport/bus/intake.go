package bus

import (
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cluster/trace"
	"lamplight/transport/kazoo"
	"lamplight/transport/publication"
)

// checkRealm calls then with nil if an account has the realm, else with an error. It asks the directory's bucket before it
// calls a realm unknown. It does not wait: it calls then once, from any goroutine.
func (b *Bus) checkRealm(realm string, then func(error)) {
	if b.cfg.KnownRealm(realm) {
		then(nil)
		return
	}
	b.cfg.AskRealm(realm, func(err error) {
		if errors.Is(err, directory.ErrUnknown) {
			err = kazoo.Refusal{Code: 404, Reason: "no account has the realm " + realm}
		}
		then(err)
	})
}

// sameRealm refuses a document about another realm than that of its subject.
func sameRealm(realm string, to actors.Address) error {
	if to.Realm != realm {
		return refuse("the document is about the realm %.100q, its subject about %.100q", to.Realm, realm)
	}
	return nil
}

// named returns the extension that the tokens of a subject name: a realm, and a user or an address.
func named(t []string) (actors.Address, error) {
	to, err := presence.ParseName(t[1], t[0])
	if err != nil {
		err = refuse("the user in the subject %v", err)
	}
	return to, err
}

// sameUser refuses a document about another extension than that of its subject. field is where the document names it.
func sameUser(field string, to actors.Address, t []string) error {
	about, err := named(t)
	if err == nil && about != to {
		err = refuse("%s is %.100q, the subject is about %.100q; they must be the same", field, to, about)
	}
	return err
}

// The handlers of documents. Each decodes one kind of document, checks it against its subject and has it processed.

func (b *Bus) subscribe(m *nats.Msg) {
	f, t, err := b.read(m, 2, "subscription")
	var a kazoo.Addressed
	if err == nil {
		a, err = f.Subscription()
	}
	if err == nil && len(t) > 1 {
		err = sameUser("User", a.To, t)
	}
	b.process(m, f, t, err, a)
}

func (b *Bus) update(m *nats.Msg) {
	name := "dialog_update"
	if strings.HasPrefix(b.cfg.Prefix.Cut(m.Subject), strings.TrimSuffix(subject.AnyUpdate, "*.*")) {
		name = "update"
	}
	f, t, err := b.read(m, 2, name)
	var a kazoo.Addressed
	if err == nil {
		callID, _ := subject.ParseToken(subject.Last(m.Subject)) // not from t: the case of a Call-ID matters
		a, err = f.Update(callID)
	}
	b.process(m, f, t, err, a)
}

func (b *Bus) mailbox(m *nats.Msg) {
	f, t, err := b.read(m, 2, "mwi_update")
	var all []kazoo.Addressed
	var update presence.MailboxUpdate
	if err == nil {
		update, all, err = f.Mailbox()
	}
	if err == nil {
		err = sameUser("To", all[0].To, t)
	}
	b.admit(m, f, t, err, all, func(deadline time.Time) {
		// The mailbox comes first: its extension knows which lamps it lit before and lights no more.
		b.ask(m.Header, f, request(f, all[0], deadline), func(a actors.Answer) {
			if a.Err != nil || a.Ignored != presence.IgnoredNot { // newer counts are known
				b.acknowledge(m, f, a.Err, a.Ignored)
				return
			}
			b.requestAll(deadline, update.Lamps(a.Former), func(err error) { b.acknowledge(m, f, err, presence.IgnoredNot) })
		})
	})
}

// registration takes a reg_success document: a phone has registered, or is registered no more.
func (b *Bus) registration(m *nats.Msg) {
	f, t, err := b.read(m, 2, "reg_success")
	var a kazoo.Addressed
	if err == nil {
		a, err = f.Registration()
	}
	if err == nil {
		err = sameUser("Username", a.To, t)
	}
	b.process(m, f, t, err, a)
}

// publication takes a PUBLISH request that an edge passes on. When the document names no entity-tag for the publication, the node makes one.
func (b *Bus) publication(m *nats.Msg) {
	f, t, err := b.read(m, 2, "publication")
	var p kazoo.Publication
	if err == nil {
		p, err = f.ReadPublication(m.Data)
	}
	if err == nil {
		err = sameUser("Username", p.To, t)
	}
	if err == nil {
		err = publication.Read(&p.Publish, p.ContentType, p.Body)
	}
	var wrong *publication.Error
	if errors.As(err, &wrong) {
		err = kazoo.Refusal{Code: 400, Reason: wrong.Text}
		if wrong.Unsupported {
			err = kazoo.Refusal{Code: 415, Reason: wrong.Text}
		}
	}
	if p.Publish.Tag == "" {
		p.Publish.Tag = rand.Text()
	}
	a := kazoo.Addressed{To: p.To, Event: p.Publish}
	b.admit(m, f, t, err, []kazoo.Addressed{a}, func(deadline time.Time) {
		b.ask(m.Header, f, request(f, a, deadline), func(a actors.Answer) {
			if a.Err != nil {
				b.acknowledge(m, f, a.Err, presence.IgnoredNot)
				return
			}
			b.requestAll(deadline, publication.Lamps(p.To, &p.Publish, a.Former), func(err error) {
				if err != nil {
					b.acknowledge(m, f, err, presence.IgnoredNot)
					return
				}
				b.ackPublication(m, f, p.Publish.Tag, p.Publish.Expires)
			})
		})
	})
}

// sourceUp takes a source.up document: a source of calls says that it lives.
func (b *Bus) sourceUp(m *nats.Msg) {
	f := b.metrics.noDocument("source_up")
	f.EventName = "source_up"
	name, err := subject.ParseToken(subject.Last(m.Subject))
	if err != nil {
		err = refuse("the source in the subject is %s", err)
	}
	var up presence.SourceUp
	if err == nil {
		up, err = kazoo.ReadSourceUp(m.Data, name)
	}
	if err != nil {
		b.refuse(m, f, err)
		return
	}
	b.ask(m.Header, f, actors.Request{To: actors.SourceAddress(name), Message: up, Deadline: time.Now().Add(b.cfg.Timeout)},
		func(a actors.Answer) { b.acknowledge(m, f, a.Err, presence.IgnoredNot) })
}

// request is the request that brings the message of a document to its extension.
func request(f *kazoo.Document, to kazoo.Addressed, deadline time.Time) actors.Request {
	return actors.Request{To: to.To, Message: to.Event, Deadline: deadline, Origin: f.Origin()}
}

// ask sends the request that a document means. header is that of the document's message; its traceparent names the trace of the sender.
func (b *Bus) ask(header interface{ Get(string) string }, f *kazoo.Document, q actors.Request, done func(actors.Answer)) {
	if b.cfg.Tracer != nil {
		s := b.cfg.Tracer.Begin(trace.Consumer, "NATS "+string(f.EventName), header.Get("traceparent"))
		s.Note("lamplight.request_id", string(f.MsgID))
		q.Trace = s.Parent()
		asked := done
		done = func(a actors.Answer) {
			s.End(a.Err)
			asked(a)
		}
	}
	b.cfg.Router.Go(q, done)
}

func (b *Bus) watcherReply(m *nats.Msg) {
	f, t, err := b.read(m, 2, "notify")
	var a kazoo.Addressed
	var to actors.Address
	if err == nil {
		to, err = named(t)
	}
	if err == nil {
		a, err = f.WatcherReply(to)
	}
	b.process(m, f, t, err, a)
}

// read decodes a document, whose Event-Name must be one of names, and the tokens of its subject that follow the first fixed
// ones.
func (b *Bus) read(m *nats.Msg, fixed int, names ...string) (*kazoo.Document, []string, error) {
	f, err := b.decode(m.Data, names...)
	t, terr := b.tokens(m.Subject, fixed)
	if err == nil {
		err = terr
	}
	return f, t, err
}

// decode decodes a document, and counts it if it is anonymous.
func (b *Bus) decode(data []byte, names ...string) (*kazoo.Document, error) {
	f, err := kazoo.Read(data, names...)
	if err == nil && f.Anonymous() {
		b.metrics.anonymous.Inc()
	}
	return b.metrics.came(f), err
}

// process sends the message that a document means to its extension, and acknowledges the document when the message is
// durable. t are the tokens of its subject. With an err, or when it is about a realm that no account has, it refuses the
// document.
func (b *Bus) process(m *nats.Msg, f *kazoo.Document, t []string, err error, a kazoo.Addressed) {
	b.admit(m, f, t, err, []kazoo.Addressed{a}, func(deadline time.Time) {
		b.ask(m.Header, f, request(f, a, deadline), func(a actors.Answer) { b.acknowledge(m, f, a.Err, a.Ignored) })
	})
}

// admit refuses a document with an err, or about another realm than that of its subject, or about a realm that no account has.
// Else it calls then with the time until which the document is to be answered.
func (b *Bus) admit(m *nats.Msg, f *kazoo.Document, t []string, err error, all []kazoo.Addressed, then func(deadline time.Time)) {
	for i := range all {
		if err == nil {
			err = sameRealm(t[0], all[i].To)
		}
	}
	if err != nil {
		b.refuse(m, f, err)
		return
	}
	deadline := time.Now().Add(b.cfg.Timeout)
	b.checkRealm(t[0], func(err error) {
		if err != nil {
			b.refuse(m, f, err)
			return
		}
		then(deadline)
	})
}

// requestAll sends messages to their extensions. It calls done with the first error, or nil, once all have answered.
func (b *Bus) requestAll(deadline time.Time, all []presence.Addressed, done func(error)) {
	if len(all) == 0 {
		done(nil)
		return
	}
	var mu sync.Mutex
	left, first := len(all), error(nil)
	for _, one := range all {
		b.cfg.Router.Go(actors.Request{To: one.To, Message: one.Message, Deadline: deadline}, func(a actors.Answer) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = a.Err
			}
			if left--; left == 0 {
				done(first)
			}
		})
	}
}
