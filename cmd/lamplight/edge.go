package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"

	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
	"lamplight/transport/sip"
)

type edgeCommand struct {
	Show string `arg:"" optional:"" name:"profiles" help:"profiles: print the table of what kinds of phones need in their documents, with the rows of --profiles, and end."`
	Name string `placeholder:"NAME" help:"The name of the edge, to which its subscriptions belong (default: the host name). No two running edges may have the same. An edge that takes another one's place takes its name."`
	HTTP string `name:"http" default:"127.0.0.1:8001" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics of the edge are served."`
	sipFlags
	LogLevel  string `enum:"debug,info,warn,error" default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat string `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	natsFlags
}

const (
	edgeDrain       = 10 * time.Second // how long the edge may take to stop
	edgeConnections = 256              // HTTP connections
)

// check refuses flags with which the edge could not work, and returns its configuration but for Version, Log and Registerer.
func (c *edgeCommand) check() (sip.Config, error) {
	none := sip.Config{}
	if err := c.natsFlags.check(); err != nil {
		return none, err
	}
	if c.Name == "" {
		var err error
		if c.Name, err = os.Hostname(); err != nil {
			return none, err
		}
	}
	if err := checkEdgeName("--name", c.Name); err != nil {
		return none, err
	}
	all, _ := c.addresses()
	if len(all) == 0 {
		return none, fmt.Errorf("%w: the edge listens nowhere: give --sip-udp, --sip-tcp, --sip-tls, --sip-ws or --sip-wss, such as --sip-udp 192.0.2.10:5060", errUsage)
	}
	if err := checkListeners(append(all, listener{flag: "--http", address: c.HTTP, tcp: true})); err != nil {
		return none, err
	}
	if err := c.sipFlags.check(); err != nil {
		return none, err
	}
	config, err := c.config(c.Name)
	return config, usage(err)
}

// Run implements edge. It runs the edge until SIGTERM or SIGINT. On SIGHUP it reads the configuration again.
func (c *edgeCommand) Run(out io.Writer, args commandLine, line *kong.Context) error {
	switch c.Show {
	case "":
	case "profiles":
		table, err := c.profiles()
		if err != nil {
			return err
		}
		return table.Print(out)
	default:
		return fmt.Errorf("%w: edge takes no argument but profiles, and got %q", errUsage, c.Show)
	}
	config, err := c.check()
	if err != nil {
		return err
	}
	log := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	again, reread := hangUps(), newReloader(args, line, log)
	phones, calls := swap(config.TLS), swap(config.TLSClient)
	config.TLS, config.TLSClient = phones.server(), calls.client()
	c.warn(log)
	tuneCollector(log)
	ctx, stop := untilSignal(context.Background(), func() { os.Exit(1) })
	defer stop()
	conn, err := client.Connect(c.options(), "lamplight edge "+c.Name)
	if err != nil {
		return err
	}
	defer conn.Close()

	var ready atomic.Bool
	health, registry, err := startHealth(ctx, conn, healthFlags{c.HTTP, "lamplight@" + c.Name, edgeConnections, func() error {
		if !ready.Load() {
			return errors.New("the edge is starting or stopping")
		}
		return nil
	}}, log)
	if err != nil {
		return err
	}
	defer stopHealth(health)
	remote := sip.NewRemote(sip.RemoteConfig{Conn: conn, Prefix: c.prefix(), Name: c.Name, Version: version, Log: log})
	var server *sip.Server
	defer func() {
		ready.Store(false)
		drain, cancel := context.WithTimeout(context.Background(), edgeDrain)
		defer cancel()
		if server != nil {
			_ = server.Stop(drain)
		}
		_ = errors.Join(remote.Stop(drain), conn.FlushWithContext(drain))
	}()
	if err := remote.Start(ctx); err != nil {
		if ctx.Err() != nil {
			log.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	config.Version, config.Log, config.Registerer = version, log, registry
	config.MaxConnections = min(node.Descriptors()*3/4, 256<<10)
	server = sip.New(config, remote)
	if err := remote.Hear(ctx, server); err != nil {
		return err
	}
	if err := server.Start(ctx); err != nil {
		return err
	}
	ready.Store(true)
	fmt.Fprintf(out, "http listening on %s\n", health.Addr())
	announceSIP(out, server)
	_, port, _ := net.SplitHostPort(health.Addr())
	fmt.Fprintf(out, "edge %s is ready. Try:\n  curl http://127.0.0.1:%s/readyz\n", c.Name, port)
	tellSystemd(systemdReady)
	for ctx.Err() == nil {
		select {
		case <-again:
			reloadEdge(reread, phones, calls)
		case <-ctx.Done():
		}
	}
	tellSystemd(systemdStopping)
	log.Info("the edge stops; its subscriptions stay, and their phones are told again by the edge that takes its name")
	return nil
}

// announceSIP prints where an edge listens.
func announceSIP(out io.Writer, s *sip.Server) {
	for _, l := range s.Addresses() {
		fmt.Fprintf(out, "sip %s listening on %s\n", l.Transport, l.Address)
	}
}
