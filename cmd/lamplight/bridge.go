package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
	"lamplight/transport/httpd"
	"lamplight/transport/source"
)

// bridgeCommand is the parent of the bridges, which bring news of calls from what carriers already run.
type bridgeCommand struct {
	AMQP       bridgeAMQPCommand `cmd:"" name:"amqp" help:"Take over what an existing Kazoo tells on its RabbitMQ brokers."`
	Freeswitch freeswitchCommand `cmd:"" help:"Bring the calls of FreeSWITCH switches, over their event sockets."`
}

// bridgeFlags are the flags of every bridge.
type bridgeFlags struct {
	HTTP      string `name:"http" default:"127.0.0.1:8002" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics of the bridge are served."`
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat string `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	natsFlags
}

const (
	healthDrain       = 5 * time.Second // how long the HTTP listener of a program that is no node may take to stop
	bridgeConnections = 64              // HTTP connections
)

// check refuses flags with which the bridge could not work.
func (f *bridgeFlags) check() error {
	if err := f.natsFlags.check(); err != nil {
		return err
	}
	return checkListeners([]listener{{flag: "--http", address: f.HTTP, tcp: true}})
}

// run runs sources until SIGTERM or SIGINT, or until one of them gives up. On SIGHUP it reads the configuration again, which check refuses or not
// (reloader.onHangUp). name is the command's, such as freeswitch.
func (f *bridgeFlags) run(out io.Writer, again *reloader, name string, sources []source.Make, check func(*commands) (string, error)) error {
	log, hangUp := again.log, hangUps()
	ctx, stop := untilSignal(context.Background(), func() { os.Exit(1) })
	defer stop()
	go again.onHangUp(ctx, hangUp, check)
	conn, err := f.connect("lamplight bridge " + name)
	if err != nil {
		return err
	}
	defer conn.Close()
	health, registry, err := startHealth(ctx, conn, healthFlags{f.HTTP, "lamplight bridge " + name, bridgeConnections, until(ctx, "the bridge")}, log)
	if err != nil {
		return err
	}
	defer stopHealth(health)
	fmt.Fprintf(out, "http listening on %s\n", health.Addr())
	_, port, _ := net.SplitHostPort(health.Addr())
	fmt.Fprintf(out, "bridge %s is ready. Try:\n  lamplight sources\n  curl http://127.0.0.1:%s/metrics\n", name, port)
	tellSystemd(systemdReady)
	err = runSources(ctx, source.Config{Conn: conn, Prefix: f.prefix(), Version: version, Log: log, Registerer: registry}, sources)
	tellSystemd(systemdStopping)
	return err
}

// healthFlags is what startHealth needs to know of a program that is no node.
type healthFlags struct {
	address     string
	name        string       // of the program, in its answers
	connections int          // at most
	serves      func() error // why the program itself does not serve; nil: it does
}

// startHealth starts the HTTP listener of a program that is no node, with its health and metrics.
func startHealth(ctx context.Context, conn *nats.Conn, f healthFlags, log *slog.Logger) (*httpd.Server, *prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := client.Watch(conn, log, registry); err != nil {
		return nil, nil, err
	}
	health := httpd.New(httpd.Config{Listen: f.address, Node: f.name, Version: version, Timeout: 10 * time.Second, Ready: func() error {
		if err := f.serves(); err != nil {
			return err
		}
		if !conn.IsConnected() {
			return errors.New("NATS is out of reach")
		}
		return nil
	}, MaxConnections: min(f.connections, node.Descriptors()/4), MaxPerAddress: f.connections, Log: log, Registry: registry})
	if err := health.Start(ctx); err != nil {
		stopHealth(health)
		return nil, nil, err
	}
	return health, registry, nil
}

// until returns healthFlags.serves of a program that serves until ctx ends.
func until(ctx context.Context, program string) func() error {
	return func() error {
		if ctx.Err() != nil {
			return errors.New(program + " is stopping")
		}
		return nil
	}
}

// stopHealth stops that listener.
func stopHealth(health *httpd.Server) {
	drain, cancel := context.WithTimeout(context.Background(), healthDrain)
	defer cancel()
	_ = health.Stop(drain)
}

// runSources runs sources until ctx ends, or one of them gives up. It then stops the others and returns what was wrong.
func runSources(ctx context.Context, c source.Config, all []source.Make) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, make := range all {
		s := make(c.Conn, c.Log)
		running.Go(func() {
			if err := source.Run(ctx, c, s); err != nil {
				cancel(fmt.Errorf("%s: %w", s.Name(), err))
			}
		})
	}
	running.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
