package amqp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
	"lamplight/transport/brokers"
	"lamplight/transport/client"
)

const (
	prefetch     = 1000 // messages that are not acknowledged; the broker sends no more
	maxWaiting   = 100000
	firstPause   = 200 * time.Millisecond // before the next try to connect; it doubles up to longestPause
	longestPause = 2 * time.Second
)

// exchanges are those of Kazoo's that the bridge uses.
var exchanges = []string{"presence", "targeted", "callevt", "nodes", "registrar", "omnipresence"}

// newsKeys are the routing keys of what the queue of the bridge gets of Kazoo's exchanges, and asideKeys those of what the queue of heartbeats and answers gets
// beside the answers. Some of Kazoo's keys are also subjects of Lamplight.
var (
	newsKeys = map[string][]string{
		"presence":     {"dialog.*.*", "update.*.*", "mwi_updates.*.*", subject.AnyReset, "subscriptions.*"},
		"registrar":    {subject.AnyRegistration},
		"omnipresence": {"subscribe.*.*", "notify.*.*", ""}, // Erlang's publishers use no key
	}
	asideKeys = map[string][]string{"nodes": {""}}
)

// zone is one broker.
type zone struct {
	source  *Source
	url     string
	number  int
	session atomic.Pointer[session] // nil while the broker is not reached
	right   atomic.Bool             // its exchanges and bindings are as they should be
	refused brokers.Refusals        // only run uses it
}

// reached says whether all that the broker has for the bridge arrives.
func (z *zone) reached() bool { return z.session.Load() != nil && z.right.Load() }

// session is one connection to a broker.
type session struct {
	out     atomic.Pointer[amqp091.Channel] // for what is published
	replies string                          // the queue on which answers arrive
}

// run keeps a connection to the broker until ctx ends. It returns an error that no later try can mend.
func (z *zone) run(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		begun := time.Now()
		err := z.consume(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if fatal := z.fatal(err); fatal != nil {
			return fatal
		}
		z.right.Store(false)
		if z.session.Swap(nil) != nil && time.Since(begun) > longestPause {
			pause = firstPause
		}
		z.source.connected(z, err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return nil
		}
	}
}

// fatal returns err if no later try can mend it: if the broker refuses the bridge for good, and the bridge reaches no other broker; else nil.
func (z *zone) fatal(err error) error {
	forGood := z.refused.ForGood(err, z.source.times.refused)
	if !forGood || slices.ContainsFunc(z.source.zones, func(z *zone) bool { return z.session.Load() != nil }) {
		return nil
	}
	return err
}

// advised adds to an error with which a broker refused the bridge what to do about it.
func (z *zone) advised(err error) error {
	e, ok := errors.AsType[*amqp091.Error](err)
	switch {
	case ok && e.Code == amqp091.PreconditionFailed:
		return fmt.Errorf("%w; the queue %s must be as an earlier bridge of this release made it: delete it (rabbitmqctl delete_queue), or give another --queue", err, z.source.cfg.Queue)
	case ok && e.Code == amqp091.NotAllowed:
		return fmt.Errorf("%w; --amqp must name a virtual host that exists, such as amqp://user:password@host/ for the one named /", err)
	case ok && e.Code == amqp091.AccessRefused:
		return fmt.Errorf("%w; the user in --amqp needs the right password, and the permissions to configure, write and read amq.gen.* and %s.*, and Kazoo's exchanges",
			err, z.source.cfg.Queue)
	}
	return err
}

// consume connects, declares and binds all that is needed, and consumes until the connection or a channel is lost or ctx ends.
func (z *zone) consume(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the broker %s: %w", client.Redacted(z.url), err)
		}
	}()
	conn, in, hears, err := z.connect(ctx)
	if err != nil {
		return z.advised(err)
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	q, err := hears.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return z.advised(err)
	}
	side := &session{replies: q.Name}
	refused, err := side.open(conn)
	if err != nil {
		return err
	}
	wrong := z.arrange(conn, side.replies) // before it consumes, so that who sees a consumer knows that the queue is bound
	deliveries, err := hears.Consume(side.replies, "", true, true, false, false, nil)
	if err != nil {
		return err
	}
	told, err := in.Consume(z.source.cfg.Queue, "", false, false, false, false, nil)
	if err != nil {
		return z.advised(err)
	}
	lost := in.NotifyClose(make(chan *amqp091.Error, 1))
	deaf := hears.NotifyClose(make(chan *amqp091.Error, 1))
	here, over := context.WithCancel(ctx)
	defer over()
	if z.source.cfg.Serve {
		if err := z.serveSearches(here, conn, side); err != nil {
			return z.advised(err)
		}
	}
	z.refused.Worked()
	z.session.Store(side)
	z.right.Store(false)
	z.arranged(wrong)
	z.source.tell(reconnected{z.number})
	z.source.work.Go(func() { z.keepArranged(here, conn, side.replies) })
	z.source.work.Go(func() { z.hear(deliveries) })
	done := make(chan uint64, prefetch)
	z.source.work.Go(func() { acknowledge(here, in, done) })
	for {
		select {
		case d, ok := <-told:
			if !ok {
				return brokers.Lost(lost)
			}
			z.source.sink.Heard()
			if err := z.source.take(here, &d, func() {
				select {
				case done <- d.DeliveryTag:
				case <-here.Done():
				}
			}); err != nil {
				return err
			}
		case e := <-deaf:
			return brokers.Closed(e)
		case e := <-refused: // what comes is not concerned
			if conn.IsClosed() {
				return brokers.Closed(e)
			}
			z.source.cfg.Log.Error("the broker did not take what the bridge published: give its user the permission to write to the exchange", "source", z.source.Name(),
				"broker", client.Redacted(z.url), "err", brokers.Closed(e))
			if refused, err = side.open(conn); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// connect connects to the broker and declares the queue of the bridge. in is the channel of that queue, and hears that of the queue of heartbeats
// and answers.
func (z *zone) connect(ctx context.Context) (conn *amqp091.Connection, in, hears *amqp091.Channel, err error) {
	conn, err = brokers.Dial(ctx, z.url, "lamplight bridge amqp "+z.source.cfg.Queue, app, z.source.cfg.Version)
	if err != nil {
		return nil, nil, nil, err
	}
	if in, err = conn.Channel(); err == nil {
		err = z.declare(in)
	}
	if err == nil {
		hears, err = conn.Channel()
	}
	if err != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		return nil, nil, nil, err
	}
	return conn, in, hears, nil
}

// open opens a channel for what is published, which the broker closes when it does not take something. refused says so.
func (s *session) open(conn *amqp091.Connection) (refused <-chan *amqp091.Error, err error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s.out.Store(ch)
	return ch.NotifyClose(make(chan *amqp091.Error, 1)), nil
}

// arrange declares Kazoo's exchanges and binds the bridge's queues to them. It arranges what the broker lets it, and returns what is wrong with
// the rest. An exchange with other flags than Kazoo's is used as it is.
func (z *zone) arrange(conn *amqp091.Connection, replies string) error {
	var ch *amqp091.Channel // a broker closes the channel on which it refuses something
	do := func(what func() error) (err error) {
		if ch == nil {
			if ch, err = conn.Channel(); err != nil {
				return err
			}
		}
		if err = what(); err != nil {
			ch = nil
		}
		return err
	}
	var wrong []error
	for _, x := range exchanges {
		err := do(func() error { return brokers.Declare(ch, x) })
		if e, ok := errors.AsType[*amqp091.Error](err); ok && e.Code == amqp091.AccessRefused { // one who may not make it may still use it
			if do(func() error { return ch.ExchangeDeclarePassive(x, brokers.Kind(x), false, false, false, false, nil) }) == nil {
				err = nil
			}
		}
		bind := func(queue, key string) {
			if e := do(func() error { return ch.QueueBind(queue, key, x, false, nil) }); e != nil && err == nil {
				err = e
			}
		}
		for _, key := range newsKeys[x] {
			bind(z.source.cfg.Queue, key)
		}
		for _, key := range asideKeys[x] {
			bind(replies, key)
		}
		if x == "targeted" {
			bind(replies, replies)
		}
		if err != nil {
			wrong = append(wrong, advised(x, err))
		}
	}
	if ch != nil {
		_ = ch.Close()
	}
	return errors.Join(wrong...)
}

// advised says what is wrong with an exchange, and what to do about it.
func advised(exchange string, err error) error {
	switch e, ok := errors.AsType[*amqp091.Error](err); {
	case ok && e.Code == amqp091.PreconditionFailed:
		return fmt.Errorf("the exchange %s differs from Kazoo's, which is of the type %s, not durable, not auto-delete, not internal and without arguments; it is used as it is: "+
			"delete it, and Kazoo and the bridge make it again (%w)", exchange, brokers.Kind(exchange), err)
	case ok && e.Code == amqp091.AccessRefused:
		return fmt.Errorf("the broker does not let the bridge use the exchange %s, and what comes over it is missing: give its user the permissions to configure, "+
			"write and read it (rabbitmqctl set_permissions; %w)", exchange, err)
	}
	return fmt.Errorf("the exchange %s can't be used: %w", exchange, err)
}

// keepArranged arranges again and again, until ctx ends: somebody may mend what is wrong, or delete an exchange, with which its bindings go.
func (z *zone) keepArranged(ctx context.Context, conn *amqp091.Connection, replies string) {
	t := time.NewTicker(z.source.times.arrange)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := z.arrange(conn, replies); ctx.Err() == nil && !conn.IsClosed() {
				z.arranged(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// arranged notes what is wrong with the exchanges and bindings of the broker; nil: nothing.
func (z *zone) arranged(wrong error) {
	if right := z.right.Swap(wrong == nil); wrong != nil || !right {
		if wrong != nil {
			wrong = fmt.Errorf("the broker %s: %w", client.Redacted(z.url), wrong)
		}
		z.source.connected(z, wrong)
	}
}

// declare declares the queue of the bridge. Of several bridges, RabbitMQ lets one consume and another one go on after it, so that the
// messages stay in order.
func (z *zone) declare(ch *amqp091.Channel) error {
	if _, err := ch.QueueDeclare(z.source.cfg.Queue, true, false, false, false, amqp091.Table{"x-max-length": int64(maxWaiting), "x-overflow": "drop-head",
		"x-single-active-consumer": true}); err != nil {
		return err
	}
	return ch.Qos(prefetch, 0, false)
}

// hear passes heartbeats and answers to the keeper until the channel is closed.
func (z *zone) hear(deliveries <-chan amqp091.Delivery) {
	for d := range deliveries {
		z.source.sink.Heard()
		body, err := brokers.Body(&d, maxAnswer)
		if err != nil {
			z.source.sink.Refused(reasonUnreadable, err.Error())
			continue
		}
		h := readAside(body, z.source.node)
		if b, ok := h.(beats); ok {
			b.via = z.number
			h = b
		}
		if h != nil {
			z.source.tell(h)
		}
	}
}

// publish publishes a document on the broker, if it is reached.
func (z *zone) publish(ctx context.Context, exchange, key string, body []byte) error {
	s := z.session.Load()
	if s == nil {
		return errNotYet
	}
	return s.publish(ctx, exchange, key, body)
}

func (s *session) publish(ctx context.Context, exchange, key string, body []byte) error {
	return s.out.Load().PublishWithContext(ctx, exchange, key, false, false, amqp091.Publishing{ContentType: "application/json", Body: body})
}
