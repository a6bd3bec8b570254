package shadow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
)

const (
	maxAnswer    = 16 << 20 // bytes of a part of a listing
	maxNews      = 10_000   // documents that wait at the broker; the oldest are dropped past it
	maxRoles     = 1000     // nodes with the presence role that are followed
	advertLife   = 15 * time.Second
	longestPause = 2 * time.Second // between two tries to connect
	notReached   = 200 * time.Millisecond
)

// The reasons for which something is passed over, as a metric's label has them.
const (
	wrongBody     = "the body can't be read"
	wrongNotify   = "the NOTIFY in it can't be read"
	wrongDocument = "the document is wrong"
	tooMany       = "the listing is too long"
)

// kazooSide asks a Kazoo, and hears what it tells.
type kazooSide struct {
	s       *Shadow
	links   []*link
	answers chan any // what the goroutine that asks is told: role, part
}

// link is the connection to one broker.
type link struct {
	url     string
	session atomic.Pointer[session] // nil while the broker is not reached
	refused brokers.Refusals        // only its own goroutine uses it
}

// session is one connection.
type session struct {
	out     *amqp091.Channel
	replies string // the queue on which answers arrive
}

// role says that a node of Kazoo's has the presence role.
type role struct {
	node  string
	until time.Time
}

// part is a part of the answer to a search.
type part struct {
	id, node string
	last     bool
	rows     []row
}

// watchKazoo follows a Kazoo until ctx ends. It returns an error when a broker refuses the credentials.
func (s *Shadow) watchKazoo(ctx context.Context) error {
	k := &kazooSide{s: s, answers: make(chan any, 256)}
	failed := make(chan error, len(s.cfg.Brokers))
	for _, url := range s.cfg.Brokers {
		l := &link{url: url}
		k.links = append(k.links, l)
	}
	for _, l := range k.links {
		s.work.Go(func() {
			if err := k.keep(ctx, l); err != nil {
				failed <- err
			}
		})
	}
	return k.ask(ctx, failed)
}

// keep keeps a connection to a broker until ctx ends, or the broker refuses the credentials for good: one that starts takes connections before
// it knows its users.
func (k *kazooSide) keep(ctx context.Context, l *link) error {
	for ctx.Err() == nil {
		err := k.follow(ctx, l)
		if ctx.Err() != nil {
			return nil
		}
		l.session.Store(nil)
		k.s.reached(running, k.up() != nil)
		k.s.log.Warn("a broker of the running system is not reached; that is tried again", "broker", client.Redacted(l.url), "err", err)
		if err := l.fatal(err, k.s.times.refused); err != nil {
			return err
		}
		pause(ctx, longestPause/2+rand.N(longestPause/2))
	}
	return nil
}

// fatal returns err, with what to do about it, if no later try can mend it; else nil. patience is for how long the broker must have refused the
// command.
func (l *link) fatal(err error, patience time.Duration) error {
	if !l.refused.ForGood(err, patience) {
		return nil
	}
	if e, ok := errors.AsType[*amqp091.Error](err); ok && e.Code == amqp091.PreconditionFailed {
		return fmt.Errorf("the broker %s: %w; Kazoo's exchanges are not durable and not auto-delete", client.Redacted(l.url), err)
	}
	return fmt.Errorf("the broker %s: %w; the user in --amqp needs the right password and virtual host, and the permissions to configure, write and read "+
		"presence, omnipresence, targeted, nodes and amq.gen.*", client.Redacted(l.url), err)
}

// follow connects to a broker and hears it until the connection is lost or ctx ends. Documents and answers have channels and queues of their
// own, so that a flood of documents holds no answer up. All queues live as long as the connection.
func (k *kazooSide) follow(ctx context.Context, l *link) error {
	conn, err := brokers.Dial(ctx, l.url, "lamplight shadow "+k.s.cfg.Realm, app, k.s.cfg.Version)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	realm := subject.Token(k.s.cfg.Realm)
	side, answers, err := listen(conn, nil, map[string]string{"targeted": "", "nodes": "#"})
	if err != nil {
		return err
	}
	news, documents, err := listen(conn, amqp091.Table{"x-max-length": int64(maxNews), "x-overflow": "drop-head"},
		map[string]string{"omnipresence": "notify." + realm + ".*", "presence": "dialog." + realm + ".*"})
	if err != nil {
		return err
	}
	lost := side.out.NotifyClose(make(chan *amqp091.Error, 1))
	newsLost := news.out.NotifyClose(make(chan *amqp091.Error, 1))
	k.s.work.Go(func() {
		for d := range answers {
			k.hearAnswer(ctx, &d)
		}
	})
	l.refused.Worked()
	l.session.Store(side)
	k.s.reached(running, true)
	k.s.log.Info("the running system is followed", "broker", client.Redacted(l.url))
	for {
		select {
		case d, ok := <-documents:
			if !ok {
				return brokers.Lost(newsLost)
			}
			k.hearNews(ctx, &d)
		case e := <-lost:
			return brokers.Closed(e)
		case <-ctx.Done():
			return nil
		}
	}
}

// listen opens a channel with a queue that is bound to exchanges by keys; "" stands for the queue's own name.
func listen(conn *amqp091.Connection, arguments amqp091.Table, keys map[string]string) (*session, <-chan amqp091.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	q, err := ch.QueueDeclare("", false, true, true, false, arguments)
	for exchange, key := range keys {
		if key == "" {
			key = q.Name
		}
		if err == nil {
			err = brokers.Declare(ch, exchange)
		}
		if err == nil {
			err = ch.QueueBind(q.Name, key, exchange, false, nil)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	return &session{out: ch, replies: q.Name}, d, err
}

// up is a connection that works; nil: there is none.
func (k *kazooSide) up() *session {
	for _, l := range k.links {
		if s := l.session.Load(); s != nil {
			return s
		}
	}
	return nil
}

// ask asks Kazoo for its subscriptions, again and again until ctx ends, and takes the answers.
func (k *kazooSide) ask(ctx context.Context, failed <-chan error) error {
	roles := map[string]time.Time{}
	id, rows := "", 0 // of the question under way
	var ended map[string]bool
	next, until := time.NewTimer(0), time.NewTimer(time.Hour)
	finish := func(complete bool) {
		if rows > maxSubscriptions {
			complete = false
			k.s.unread(ctx, tooMany, strconv.Itoa(rows)+" subscriptions")
		}
		id = ""
		k.s.tell(ctx, func(b *book, now time.Time) { b.allWatched(complete, now); k.s.listed(running, complete) })
		next.Reset(k.s.cfg.Every)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-next.C:
			if k.up() == nil {
				next.Reset(min(notReached, k.s.cfg.Every))
				continue
			}
			k.s.tell(ctx, func(b *book, now time.Time) { b.begin(running, now) })
			id, rows, ended = uuid.NewString(), 0, map[string]bool{}
			until.Reset(k.s.times.answer)
			if err := k.search(ctx, id); err != nil {
				finish(false)
			}
		case <-until.C:
			if id != "" {
				k.s.log.Warn("not all nodes of the running system have answered a search in time; what they do not list is not taken for gone", "answered", len(ended), "nodes", len(roles))
				finish(false)
			}
		case a := <-k.answers:
			switch a := a.(type) {
			case role:
				if _, known := roles[a.node]; known || len(roles) < maxRoles {
					roles[a.node] = a.until
				}
			case part:
				if a.id != id || id == "" {
					continue
				}
				if rows += len(a.rows); rows <= maxSubscriptions {
					k.s.tell(ctx, func(b *book, now time.Time) {
						for _, r := range a.rows {
							b.watched(r, now)
						}
					})
				}
				if a.last {
					ended[a.node] = true
				}
			}
			if id != "" && all(roles, ended, time.Now()) {
				finish(true)
			}
		}
	}
}

// all says whether all nodes that have the presence role have ended their answers. Without a node that says so, it is not known who answers.
func all(roles map[string]time.Time, ended map[string]bool, now time.Time) bool {
	n := 0
	for node, until := range roles {
		if now.After(until) {
			delete(roles, node)
			continue
		}
		if !ended[node] {
			return false
		}
		n++
	}
	return n > 0
}

// search asks for all subscriptions of the realm, through one broker: the nodes hear those of all zones.
func (k *kazooSide) search(ctx context.Context, id string) error {
	to := k.up()
	if to == nil {
		return errors.New("no broker is reached")
	}
	body, err := k.s.client.Document("search_req", client.Fields{"Realm": k.s.cfg.Realm, "Search-Type": "detail", "Server-ID": to.replies, "Msg-ID": id, "Node": app})
	if err != nil {
		return err
	}
	return to.out.PublishWithContext(ctx, "presence", subject.Search(k.s.cfg.Realm), false, false, amqp091.Publishing{ContentType: "application/json", Body: body})
}
