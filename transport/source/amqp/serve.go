package amqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
)

const (
	searchTime = 10 * time.Second // how long the nodes may take for a search; Crossbar waits no longer
	searches   = 16               // that may be under way
	advertLife = 15000            // milliseconds: Expires of a heartbeat
)

// started is when the process began, for its heartbeat.
var started = time.Now().Unix()

// serveSearches consumes searches from a queue that all bridges of one queue share, until ctx ends or the channel is closed: each search is
// answered once.
func (z *zone) serveSearches(ctx context.Context, conn *amqp091.Connection, s *session) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	queue := z.source.cfg.Queue + ".search"
	q, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-max-length": int64(1000), "x-message-ttl": int64(10000), "x-expires": int64(60000)})
	if err == nil {
		err = ch.QueueBind(q.Name, subject.AnySearch, "presence", false, nil)
	}
	if err == nil {
		err = ch.Qos(searches, 0, false)
	}
	if err != nil {
		return err
	}
	asked, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	z.source.work.Go(func() {
		for d := range asked {
			z.source.work.Go(func() {
				if err := z.source.search(ctx, s, &d); err != nil && ctx.Err() == nil {
					z.source.sink.Refused(reasonSearch, fmt.Sprintf("%v: %.300q", err, d.Body))
				}
				_ = d.Ack(false)
			})
		}
		_ = conn.Close() // without searches the session is of no use: begin another one
	})
	return nil
}

// search answers a search_req in the shapes of Kazoo's presence role: for a summary one answer with the number of subscriptions, for the details
// parts with some extensions each, which Crossbar merges, and then an empty answer.
func (s *Source) search(ctx context.Context, to *session, d *amqp091.Delivery) error {
	body, err := brokers.Body(d, kazoo.MaxDocument)
	if err != nil {
		return err
	}
	var q struct {
		Realm    kazoo.Text `json:"Realm"`
		Username kazoo.Text `json:"Username"`
		Package  kazoo.Text `json:"Event-Package"`
		Type     kazoo.Text `json:"Search-Type"`
		ServerID kazoo.Text `json:"Server-ID"`
		MsgID    kazoo.Text `json:"Msg-ID"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return err
	}
	realm := strings.ToLower(string(q.Realm))
	if realm == "" || len(realm) > subject.MaxName || q.ServerID == "" {
		return fmt.Errorf("the field Realm or Server-ID is missing, or Realm has more than %d bytes", subject.MaxName)
	}
	respond := func(event string, subscriptions any) error {
		body, err := s.client.Document(event, client.Fields{"Node": s.node, "Msg-ID": string(q.MsgID), "Subscriptions": subscriptions})
		if err != nil {
			return err
		}
		return to.publish(ctx, "targeted", string(q.ServerID), body)
	}
	wanted := func(user string) bool {
		return q.Username == "" || q.Username == "*" || strings.EqualFold(string(q.Username), user)
	}
	asked, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	if q.Type == "detail" {
		err := s.client.Search(asked, realm, string(q.Package), func(a client.Answer) error {
			var part struct {
				Subscriptions map[string]map[string]map[string]subscription
			}
			if err := a.Decode(&part); err != nil {
				return err
			}
			all := map[string]any{}
			for user, packages := range part.Subscriptions {
				if wanted(user) {
					all[user] = s.details(packages)
				}
			}
			if len(all) > 0 {
				return respond("search_partial_resp", all)
			}
			return nil
		})
		if err != nil && !unknownRealm(err) {
			return err
		}
		return respond("search_resp", map[string]any{})
	}
	sums := map[string]map[string]int{}
	err = s.client.Count(asked, realm, func(a client.Answer) error {
		var part struct{ Subscriptions map[string]map[string]int }
		if err := a.Decode(&part); err != nil {
			return err
		}
		for user, packages := range part.Subscriptions {
			for name, n := range packages {
				if !wanted(user) || q.Package != "" && string(q.Package) != name {
					continue
				}
				if sums[user] == nil {
					sums[user] = map[string]int{}
				}
				sums[user][name] += n
			}
		}
		return nil
	})
	if err != nil && !unknownRealm(err) {
		return err
	}
	return respond("search_resp", sums)
}

// unknownRealm says whether no account of Lamplight's has the realm: there are no subscriptions, and Crossbar need not wait.
func unknownRealm(err error) bool {
	r, ok := errors.AsType[*client.Refusal](err)
	return ok && r.Code == "404"
}

// subscription is what Lamplight's listing says of one.
type subscription struct {
	From      string `json:"from"`
	UserAgent string `json:"user_agent"`
	Stalker   string `json:"stalker"`
	Timestamp int64  `json:"timestamp"`
	Notify    struct {
		Body  string `json:"body"`
		Reply int    `json:"reply"`
	} `json:"notify"`
}

// details has Crossbar's form of the subscriptions of an extension: event package, watcher, node, Call-ID.
func (s *Source) details(packages map[string]map[string]subscription) map[string]any {
	all := map[string]any{}
	for name, subscriptions := range packages {
		watchers := map[string]map[string]map[string]any{}
		for callID, one := range subscriptions {
			watcher, _, _ := strings.Cut(one.From, "@")
			if watchers[watcher] == nil {
				watchers[watcher] = map[string]map[string]any{s.node: {}}
			}
			received := ""
			if one.Notify.Reply != 0 {
				received = fmt.Sprintf("SIP/2.0 %d", one.Notify.Reply)
			}
			watchers[watcher][s.node][callID] = map[string]any{"time": one.Timestamp - kazoo.Gregorian, "result": one.Notify.Reply, "sent": one.Notify.Body,
				"received": received, "user_agent": one.UserAgent}
		}
		all[name] = watchers
	}
	return all
}

// advertise tells Kazoo's nodes, in every zone, that there is a presence role. Crossbar waits for as many answers to a search as there are.
func (s *Source) advertise(ctx context.Context) {
	body, err := s.client.Document("advertise", client.Fields{"Event-Category": "nodes", "Node": s.node, "Expires": advertLife, "Startup": started,
		"WhApps": map[string]any{app: map[string]any{"Startup": started}}, "Roles": map[string]any{"Presence": map[string]any{
			"Subscribers": map[string]any{}, "Subscriptions": map[string]any{}, "Presentities": map[string]any{}}}})
	if err != nil {
		return
	}
	for _, z := range s.zones {
		if err := z.publish(ctx, "nodes", "", body); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("the presence role could not be advertised; that is tried again", "source", s.Name(), "broker", client.Redacted(z.url), "err", err)
		}
	}
}

// hearWatchers has Kazoo asked for the state of each extension that gets its first watcher of an event package. Of several bridges of one queue
// one asks.
func (s *Source) hearWatchers(ctx context.Context) (stop func(), err error) {
	watched, err := s.cfg.Conn.QueueSubscribe(s.cfg.Prefix.Of(subject.AnyWatched), subject.Token(s.Name()), func(m *nats.Msg) {
		tokens := strings.Split(s.cfg.Prefix.Cut(m.Subject), ".")
		var names []string
		for _, token := range tokens[len(tokens)-3:] {
			name, err := subject.ParseToken(token)
			if err != nil {
				return
			}
			names = append(names, name)
		}
		s.probe(ctx, names[0], names[1], names[2])
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = watched.Unsubscribe() }, nil
}

// mailboxPrefix is what the extension of a mailbox's lamp begins with.
const mailboxPrefix = "*98"

// probe asks Kazoo for the state of an extension, in the first zone that is reached: a question that goes to all would be answered by all.
func (s *Source) probe(ctx context.Context, eventPackage, realm, user string) {
	event, key := "probe", "probes."+subject.Token(eventPackage)
	fields := client.Fields{"Node": s.node, "Realm": realm, "Username": user}
	box, isMailbox := strings.CutPrefix(user, mailboxPrefix)
	if p, known := presence.ParsePackage(eventPackage); known && p.Counts() || isMailbox && box != "" {
		event, key = "mwi_query", "mwi_queries."+subject.Token(realm)
		if isMailbox && box != "" {
			fields["Username"] = box
		}
	} else {
		fields["Event-Package"] = eventPackage
	}
	body, err := s.client.Document(event, fields)
	for _, z := range s.zones {
		if err == nil && z.publish(ctx, "presence", key, body) == nil {
			return
		}
	}
	if ctx.Err() == nil {
		s.cfg.Log.Warn("Kazoo could not be asked for the state of an extension that is watched for the first time; it shows what Lamplight knows", "source", s.Name(), "extension", user+"@"+realm)
	}
}
