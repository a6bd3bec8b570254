package amqp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
var exchanges = []string{"presence", "targeted", "callevt", "nodes"}

// bindings are the routing keys of what the bridge consumes of the exchange presence. Some of Kazoo's keys are also subjects of Lamplight.
var bindings = []string{"dialog.*.*", "update.*.*", "mwi_updates.*.*", subject.AnyReset}

// zone is one broker.
type zone struct {
	source  *Source
	url     string
	number  int
	session atomic.Pointer[session] // nil while the broker is not reached
	worked  bool                    // it was reached once; only run uses it
	refused time.Time               // since when it refuses to let the bridge in; only run uses it
}

// session is one connection to a broker.
type session struct {
	out     *amqp091.Channel // for what is published
	replies string           // the queue on which answers arrive
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

// fatal returns err, with what to do about it, if no later try can mend it; else nil. A broker that starts takes connections before it knows
// its users, and refuses them for some seconds.
func (z *zone) fatal(err error) error {
	e, ok := errors.AsType[*amqp091.Error](err)
	refused := ok && (e.Code == amqp091.AccessRefused || e.Code == amqp091.NotAllowed)
	switch {
	case ok && e.Code == amqp091.PreconditionFailed:
		return fmt.Errorf("%w; Kazoo's exchanges are not durable and not auto-delete, and the queue %s must be as an earlier bridge of this release made it: "+
			"delete the one that differs (rabbitmqctl delete_queue), or give another --queue", err, z.source.cfg.Queue)
	case !refused:
		z.refused = time.Time{}
	case z.refused.IsZero():
		z.refused = time.Now()
	case !z.worked && time.Since(z.refused) >= z.source.times.refused && e.Code == amqp091.NotAllowed:
		return fmt.Errorf("%w; --amqp must name a virtual host that exists, such as amqp://user:password@host/ for the one named /", err)
	case !z.worked && time.Since(z.refused) >= z.source.times.refused:
		return fmt.Errorf("%w; the user in --amqp needs the right password, and the permissions to configure, write and read presence, targeted, callevt, nodes and %s.*",
			err, z.source.cfg.Queue)
	}
	return nil
}

// consume connects, declares and binds all that is needed, and consumes until the connection or a channel is lost or ctx ends.
func (z *zone) consume(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the broker %s: %w", client.Redacted(z.url), err)
		}
	}()
	conn, err := brokers.Dial(ctx, z.url, "lamplight bridge amqp "+z.source.cfg.Queue, app, z.source.cfg.Version)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	in, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := brokers.Declare(in, exchanges...); err != nil {
		return err
	}
	side, deliveries, err := z.listen(conn)
	if err != nil {
		return err
	}
	news, err := z.open(in)
	if err != nil {
		return err
	}
	lost := in.NotifyClose(make(chan *amqp091.Error, 1))
	sideLost := side.out.NotifyClose(make(chan *amqp091.Error, 1))
	here, over := context.WithCancel(ctx)
	defer over()
	if z.source.cfg.Serve {
		if err := z.serveSearches(here, conn, side); err != nil {
			return err
		}
	}
	z.worked = true
	z.session.Store(side)
	z.source.connected(z, nil)
	z.source.tell(reconnected{})
	z.source.work.Go(func() { z.hear(deliveries) })
	done := make(chan uint64, prefetch)
	z.source.work.Go(func() { acknowledge(here, in, done) })
	for {
		select {
		case d, ok := <-news:
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
		case e := <-sideLost:
			return brokers.Closed(e)
		case <-ctx.Done():
			return nil
		}
	}
}

// open declares the queue of the bridge and consumes it. Of several bridges, RabbitMQ lets one consume and another one go on after it, so
// that the messages stay in order.
func (z *zone) open(ch *amqp091.Channel) (<-chan amqp091.Delivery, error) {
	queue := z.source.cfg.Queue
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp091.Table{"x-max-length": int64(maxWaiting), "x-overflow": "drop-head",
		"x-single-active-consumer": true}); err != nil {
		return nil, err
	}
	for _, key := range bindings {
		if err := ch.QueueBind(queue, key, "presence", false, nil); err != nil {
			return nil, err
		}
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, err
	}
	return ch.Consume(queue, "", false, false, false, false, nil)
}

// listen opens the channel of everything else: a queue that lives as long as the connection, for the heartbeats of nodes and for answers.
func (z *zone) listen(conn *amqp091.Connection) (*session, <-chan amqp091.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err == nil {
		err = ch.QueueBind(q.Name, q.Name, "targeted", false, nil)
	}
	if err == nil {
		err = ch.QueueBind(q.Name, "", "nodes", false, nil)
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	return &session{out: ch, replies: q.Name}, d, err
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
		if h := readAside(body, z.source.node); h != nil {
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
	return s.out.PublishWithContext(ctx, exchange, key, false, false, amqp091.Publishing{ContentType: "application/json", Body: body})
}
