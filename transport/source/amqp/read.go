package amqp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
	"lamplight/transport/source"
)

// The reasons for which a message is not carried, as a metric's label has them.
const (
	reasonUnreadable = "the body can't be read"
	reasonWrong      = "the document is wrong"
	reasonLoop       = "Lamplight published it"
	reasonReset      = "the reset was not taken"
	reasonSearch     = "the search was not answered"
)

// carried are the documents that the bridge carries of the exchanges presence and omnipresence. Of the exchange registrar it carries registration.
var carried = []string{"dialog_update", "update", "mwi_update", "reset", "subscription", "notify"}

const registration = "reg_success"

// message is what a message of Kazoo's means for Lamplight. Either document or reset is set.
type message struct {
	document source.Document
	inTurn   string // documents with the same one are sent one after the other, because the one that arrives last counts; "": order does not matter
	call     *presence.CallEvent
	of       presence.Address // the extension of the call
	reset    *kazoo.Document
}

// read reads a message. Registers, counts and registrations get a Timestamp, the time at which they arrived here: one that is sent again can't
// undo what came later. Calls get none, and lose one that they have: their order does not matter, and Lamplight would not begin a call by news that
// has waited for more than a minute, or whose sender's clock is slow.
func (s *Source) read(d *amqp091.Delivery) (m message, reason string, err error) {
	body, err := brokers.Body(d, kazoo.MaxDocument)
	if err != nil {
		return m, reasonUnreadable, err
	}
	names := carried
	if d.Exchange == "registrar" {
		names = []string{registration}
	}
	f, err := kazoo.Read(body, names...)
	if strings.HasPrefix(string(f.AppName), app) || string(f.Node) == s.node {
		return m, reasonLoop, errors.New("App-Name or Node is Lamplight's")
	}
	if err != nil {
		return m, reasonWrong, err
	}
	stamp, drop := false, ""
	switch f.EventName {
	case "mwi_update":
		update, _, err := f.Mailbox()
		if err != nil {
			return m, reasonWrong, err
		}
		m.document.Subject, stamp = subject.MailboxUpdate(update.Mailbox.Realm, update.Mailbox.User), true
		m.inTurn = m.document.Subject
	case registration:
		a, err := f.Registration()
		if err != nil {
			return m, reasonWrong, err
		}
		m.document.Subject, stamp = subject.Registration(a.To.Realm, a.To.User), true
	case "subscription":
		a, err := f.Subscription()
		if err != nil {
			return m, reasonWrong, err
		}
		m.document.Subject = subject.Subscription(a.To.Realm, a.To.User)
		m.inTurn = m.document.Subject
	case "notify":
		of, err := presence.ParsePresenceID(string(f.To)) // whose state the watcher was notified of
		if err == nil {
			_, err = f.WatcherReply(of)
		}
		if err != nil {
			return m, reasonWrong, err
		}
		m.document.Subject, drop = subject.WatcherReply(of.Realm, of.User), "Sequence" // which counts Kamailio's NOTIFYs, not Lamplight's
	case "reset":
		m.reset = f
		return m, "", nil
	default:
		callID := string(f.CallID)
		if callID == "" && f.EventName == "dialog_update" {
			callID, _ = subject.ParseToken(subject.Last(d.RoutingKey))
		}
		a, err := f.Update(callID)
		if err == nil && len(callID) > subject.MaxName { // the subject must stay short enough for NATS
			err = fmt.Errorf("Call-ID has %d bytes; it may have at most %d", len(callID), subject.MaxName)
		}
		if err != nil {
			return m, reasonWrong, err
		}
		if e, ok := a.Event.(presence.CallEvent); ok {
			m.call = &e
		} else {
			stamp = true
		}
		m.of = a.To
		of := subject.DialogUpdate
		if f.EventName == "update" {
			of = subject.Update
		}
		m.document.Subject = of(a.To.Realm, cmp.Or(callID, "register"))
	}
	m.document.Event, m.document.Data = string(f.EventName), body
	if stamp || drop != "" || f.Timestamp != (kazoo.Number{}) {
		m.document.Data, err = s.restamp(body, stamp, drop)
	}
	return m, reasonWrong, err
}

// restamp returns a document with the time of arrival as its Timestamp, or without one, and without the field drop.
func (s *Source) restamp(body []byte, stamp bool, drop string) ([]byte, error) {
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	delete(fields, "Timestamp")
	delete(fields, drop)
	if stamp {
		fields["Timestamp"] = fmt.Append(nil, s.now())
	}
	return json.Marshal(fields)
}

// take sends what a message means to Lamplight. done is called once, when the broker need not keep the message any longer. An error says
// that ctx has ended.
func (s *Source) take(ctx context.Context, d *amqp091.Delivery, done func()) error {
	m, reason, err := s.read(d)
	switch {
	case err != nil:
		s.sink.Refused(reason, fmt.Sprintf("%v: %s %.100s: %.300q", err, d.Exchange, d.RoutingKey, d.Body))
		done()
		return nil
	case m.reset != nil:
		s.work.Go(func() { s.reset(ctx, m.reset); done() })
		return nil
	case m.inTurn != "":
		s.inTurn.do(&s.work, m.inTurn, func() {
			sent := make(chan struct{})
			if s.sink.Send(ctx, m.document, func(error) { close(sent) }) != nil {
				return
			}
			select {
			case <-sent:
				done()
			case <-ctx.Done():
			}
		})
		return nil
	case m.call != nil:
		s.calls.note(m.of, m.call, time.Now())
	}
	return s.sink.Send(ctx, m.document, func(error) { done() })
}

// resetTime is how long the nodes may take for a reset.
const resetTime = 12 * time.Second

// reset does what a reset document asks. A reset is a command: it is sent again only if no node has seen it.
func (s *Source) reset(ctx context.Context, f *kazoo.Document) {
	if f.Realm == "*" {
		for _, uri := range s.switchesNamed(ctx, string(f.Username)) {
			if _, err := s.sink.SwitchGone(ctx, uri, time.Now()); err != nil && ctx.Err() == nil {
				s.sink.Refused(reasonReset, fmt.Sprintf("switch %.100s: %v", uri, err))
			}
		}
		return
	}
	to, err := f.Target()
	if err == nil && (to.Realm == "" || to.User == "") {
		err = errors.New("the field Realm or Username is missing")
	}
	for err == nil {
		asked, cancel := context.WithTimeout(ctx, resetTime)
		_, err = s.client.Reset(asked, to.Realm, to.User)
		cancel()
		if !errors.Is(err, client.ErrNoNode) || ctx.Err() != nil {
			break
		}
		wait(ctx, time.Second)
		err = ctx.Err()
	}
	if err != nil && ctx.Err() == nil {
		s.sink.Refused(reasonReset, fmt.Sprintf("%.100s@%.100s: %v", f.Username, f.Realm, err))
	}
}
