// Package brokers reaches the RabbitMQ brokers of a Kazoo: it connects, declares Kazoo's exchanges as Kazoo itself does, reads the bodies of
// messages, and decides when a broker refuses a program for good. The bridge from Kazoo and the comparison with Kazoo use it. It keeps nothing: the caller has the connection, and connects anew
// when it is lost.
package brokers

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

const (
	heartbeat = 5 * time.Second // of AMQP; a broker that is silent for two of them is taken for gone
	dialTime  = 5 * time.Second
)

// Dial connects to a broker. name is what RabbitMQ's own tools show for the connection, product and version are those of the program.
func Dial(ctx context.Context, url, name, product, version string) (*amqp091.Connection, error) {
	return amqp091.DialConfig(url, amqp091.Config{Heartbeat: heartbeat, Locale: "en_US", TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		Properties: amqp091.Table{"connection_name": name, "product": product, "version": version},
		Dial: func(network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, network, address)
			if err == nil {
				err = c.SetDeadline(time.Now().Add(2 * dialTime)) // the library sets others once AMQP has begun
			}
			return c, err
		}})
}

// kinds are the kinds of Kazoo's exchanges.
var kinds = map[string]string{"presence": "topic", "omnipresence": "topic", "targeted": "direct", "callevt": "topic", "nodes": "fanout", "registrar": "topic"}

// Kind returns the kind of an exchange of Kazoo's.
func Kind(exchange string) string { return kinds[exchange] }

// Declare declares exchanges of Kazoo's. Everybody who uses one declares it, with exactly the same flags: whoever comes first makes it.
func Declare(ch *amqp091.Channel, exchanges ...string) error {
	for _, name := range exchanges {
		if err := ch.ExchangeDeclare(name, kinds[name], false, false, false, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// Body returns the body of a message, which may be compressed, if it has at most so many bytes.
func Body(d *amqp091.Delivery, most int) ([]byte, error) {
	body := d.Body
	if strings.EqualFold(d.ContentEncoding, "gzip") {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
		}
		if err != nil {
			return nil, fmt.Errorf("its gzip is broken: %w", err)
		}
	}
	if len(body) > most {
		return nil, fmt.Errorf("it has more than %d bytes", most)
	}
	return body, nil
}

var errClosed = errors.New("the channel or its queue was closed")

// Lost returns why no more messages come: the error that closed the channel or, when there is none, that the channel or its queue was closed.
func Lost(lost <-chan *amqp091.Error) error {
	select {
	case e := <-lost:
		return Closed(e)
	default:
		return errClosed
	}
}

// Refusals decide when a broker refuses a program for good. One goroutine uses them.
type Refusals struct {
	since  time.Time // of the first of those that came one after the other
	worked bool
}

// Worked notes that the broker has let the program in. What it refuses later, somebody may mend.
func (r *Refusals) Worked() { r.worked = true }

// ForGood says whether no later try can mend the error with which a try ended: the broker has never let the program in, and has refused it for
// the time of patience. A broker that starts takes connections before it knows its users, and refuses them for some seconds.
func (r *Refusals) ForGood(err error, patience time.Duration) bool {
	e, ok := errors.AsType[*amqp091.Error](err)
	if !ok || e.Code != amqp091.AccessRefused && e.Code != amqp091.NotAllowed && e.Code != amqp091.PreconditionFailed {
		r.since = time.Time{}
		return false
	}
	if r.since.IsZero() {
		r.since = time.Now()
	}
	return !r.worked && time.Since(r.since) >= patience
}

// Closed returns why a channel was closed: e, which is nil when this side closed it.
func Closed(e *amqp091.Error) error {
	if e == nil {
		return errClosed
	}
	return e
}
