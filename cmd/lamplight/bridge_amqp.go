package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/source"
	"lamplight/transport/source/amqp"
)

type bridgeAMQPCommand struct {
	AMQP   []string      `name:"amqp" required:"" placeholder:"URL[,URL]" help:"The RabbitMQ brokers of Kazoo, one for each zone, such as amqp://user:password@10.0.0.20/. The variable LAMPLIGHT_AMQP keeps a password out of the list of processes."`
	Queue  string        `default:"lamplight-presence" placeholder:"NAME" help:"The durable queue that the bridge makes on each broker. Bridges with the same queue stand in for each other."`
	Shadow bool          `xor:"role" help:"Only consume: Kazoo's own presence servers go on as they are. This is the default."`
	Serve  bool          `xor:"role" help:"Also take the place of Kazoo's presence role: answer searches, advertise the role, and ask Kazoo for the state of what is watched for the first time."`
	Resync time.Duration `default:"5m" help:"How often Kazoo is asked which calls run, 10s to 24h."`
	bridgeFlags
}

// Run implements bridge amqp.
func (c *bridgeAMQPCommand) Run(out io.Writer, args commandLine, line *kong.Context) error {
	if err := c.checkAll(); err != nil {
		return err
	}
	log := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	return c.run(out, newReloader(args, line, log), "amqp", []source.Make{amqpSource(c.AMQP, c.Queue, c.Serve, c.Resync, c.prefix())},
		func(now *commands) (string, error) { return now.Bridge.AMQP.LogLevel, now.Bridge.AMQP.checkAll() })
}

// checkAll refuses flags with which the bridge could not work.
func (c *bridgeAMQPCommand) checkAll() error {
	if err := c.check(); err != nil {
		return err
	}
	return checkAMQP("--amqp", c.AMQP, "--queue", c.Queue, "--resync", c.Resync)
}

// amqpSource makes the source that reads an existing Kazoo.
func amqpSource(brokers []string, queue string, serve bool, resync time.Duration, prefix subject.Prefix) source.Make {
	return func(conn *nats.Conn, log *slog.Logger) source.Source {
		return amqp.New(amqp.Config{Brokers: brokers, Queue: queue, Serve: serve, Resync: resync, Conn: conn, Prefix: prefix, Version: version, Log: log})
	}
}

// checkAMQP refuses flags with which no bridge could work.
func checkAMQP(brokersFlag string, brokers []string, queueFlag, queue, resyncFlag string, resync time.Duration) error {
	for _, b := range brokers {
		if _, err := amqp091.ParseURI(b); err != nil {
			return fmt.Errorf("%w: %s has %q; it must be URLs such as amqp://user:password@10.0.0.20/, or amqps://, separated by commas", errUsage, brokersFlag, client.Redacted(b))
		}
	}
	switch {
	case queue == "" || len(queue) > 100 || strings.HasPrefix(queue, "amq.") || strings.ContainsFunc(queue, func(r rune) bool { return r <= 0x20 || r > 0x7e }):
		return fmt.Errorf("%w: %s is %.120q; it must be the name of a queue: at most 100 printable ASCII characters without spaces, of which amq. must not be the first", errUsage, queueFlag, queue)
	case resync < 10*time.Second || resync > 24*time.Hour:
		return fmt.Errorf("%w: %s is %v; it must be 10s to 24h", errUsage, resyncFlag, resync)
	}
	return nil
}
