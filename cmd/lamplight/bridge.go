package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
	"lamplight/transport/httpd"
	"lamplight/transport/source"
)

// bridgeCommand has the bridges: sources of calls that run alone.
type bridgeCommand struct {
	AMQP bridgeAMQPCommand `cmd:"" name:"amqp" help:"Take over what an existing Kazoo tells on its RabbitMQ brokers."`
}

// bridgeFlags are the flags of every bridge.
type bridgeFlags struct {
	HTTP      string `name:"http" default:"127.0.0.1:8002" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics of the bridge are served."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat string `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	natsFlags
}

// newSource makes the source of a bridge.
type newSource func(conn *nats.Conn, log *slog.Logger) source.Source

// run runs a source until SIGTERM or SIGINT, or until it fails.
func (f *bridgeFlags) run(out io.Writer, kind string, make newSource) error {
	if err := f.natsFlags.check(); err != nil {
		return err
	}
	if err := checkListeners([]listener{{flag: "--http", address: f.HTTP, tcp: true}}); err != nil {
		return err
	}
	log := newLog(os.Stderr, f.LogLevel, f.LogFormat)
	ctx, stop := untilSignal(context.Background(), func() { os.Exit(1) })
	defer stop()
	conn, err := f.connect("lamplight bridge " + kind)
	if err != nil {
		return err
	}
	defer conn.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := client.WatchPayload(conn, log, registry); err != nil {
		return err
	}
	var ready atomic.Bool
	s := make(conn, log)
	health := httpd.New(httpd.Config{Listen: f.HTTP, Node: "lamplight@" + s.Name(), Version: version, Timeout: 10 * time.Second, Ready: func() error {
		switch {
		case !ready.Load():
			return errors.New("the bridge is starting or stopping")
		case !conn.IsConnected():
			return errors.New("NATS is out of reach")
		}
		return nil
	}, MaxConnections: min(edgeConnections, node.Descriptors()/4), MaxPerAddress: edgeConnections, Log: log, Registry: registry})
	defer func() {
		ready.Store(false)
		drain, cancel := context.WithTimeout(context.Background(), edgeDrain)
		defer cancel()
		_ = errors.Join(conn.FlushWithContext(drain), health.Stop(drain))
	}()
	if err := health.Start(ctx); err != nil {
		return err
	}
	ready.Store(true)
	fmt.Fprintf(out, "http listening on %s\n", health.Addr())
	_, port, _ := net.SplitHostPort(health.Addr())
	fmt.Fprintf(out, "bridge %s runs. Try:\n  curl http://127.0.0.1:%s/metrics\n  lamplight sources\n", s.Name(), port)
	tellSystemd(systemdReady)
	err = source.Run(ctx, source.Config{Conn: conn, Prefix: f.prefix(), Version: version, Log: log, Registerer: registry}, s)
	tellSystemd(systemdStopping)
	if ctx.Err() != nil {
		log.Info("the bridge stops; its calls stay as they are")
		return nil
	}
	return err
}
