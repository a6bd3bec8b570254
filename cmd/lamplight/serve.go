package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
)

// serveFlags are the flags of serve, check-config and doctor.
type serveFlags struct {
	HTTP           string        `name:"http" default:"127.0.0.1:8000" placeholder:"HOST:PORT" help:"Where the HTTP API listens. On other addresses than loopback give --http-tls-cert, or put a proxy with TLS in front."`
	HTTPTLSCert    string        `name:"http-tls-cert" type:"existingfile" placeholder:"FILE" help:"The certificate with which the HTTP API speaks TLS (PEM, with the certificates between it and the CA). It goes together with --http-tls-key."`
	HTTPTLSKey     string        `name:"http-tls-key" type:"existingfile" placeholder:"FILE" help:"The private key of --http-tls-cert (PEM)."`
	DrainGrace     time.Duration `default:"5s" help:"For how long the node goes on serving after SIGTERM while /readyz says 503, so that load balancers send requests elsewhere. 0 to 1m."`
	Data           string        `default:"./lamplight-data" placeholder:"DIR" help:"The data directory. It holds the journal of the embedded NATS server, and the token key. Only one process at a time may use it."`
	NatsListen     string        `default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Where the embedded NATS server listens for clients. An address other than loopback needs users in --nats-config."`
	NatsCluster    string        `placeholder:"HOST:PORT" help:"Where the embedded NATS server listens for the servers of the other nodes, with which it replicates the journal. Needs --join. Without it the server stands alone."`
	NatsConfig     string        `type:"existingfile" placeholder:"FILE" help:"A NATS configuration file for the embedded server: users, TLS, limits."`
	Storage        string        `enum:"file,memory" default:"file" help:"Where NATS keeps the journal: file or memory. A journal in memory is lost when the NATS server restarts."`
	Sync           string        `default:"1s" placeholder:"DURATION|always" help:"How often the embedded NATS server writes the journal through to the disk, 1ms to 1h. After a power cut, up to so much of the last acknowledged changes can be lost. With always none are, at a lower throughput. kill -9 loses none either way."`
	Replicas       amount        `placeholder:"N" help:"How many NATS servers keep a copy of the journal, 1 to 5. It counts when the journal is made (default: 1, or 3 when NATS is a cluster)."`
	Node           string        `placeholder:"NAME" help:"The name of this node (default: the host name). No two running nodes may have the same."`
	Gossip         string        `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Where this node listens for gossip, by which the nodes find each other: TCP and UDP. An address other than loopback needs --gossip-key."`
	Advertise      string        `placeholder:"HOST" help:"The host name or address at which the other nodes reach this one (default: found out)."`
	Join           []string      `placeholder:"HOST:PORT" help:"The gossip addresses of the nodes to join. This node's own address may be among them."`
	GossipKey      string        `type:"existingfile" placeholder:"FILE" help:"A file with the key that encrypts gossip: 32 bytes, or 64 hexadecimal characters. All nodes need the same key."`
	AwaitRestore   bool          `help:"Before this node serves for the first time, wait until lamplight restore has loaded a backup."`
	AcceptLoss     bool          `help:"Start although the journal or the directory shows less than was acknowledged, or a file of the journal is damaged. What is missing is given up."`
	TokenKey       string        `placeholder:"FILE" help:"The Ed25519 key (PEM) that signs API tokens. It is made if there is no such file (default: token.pem in the data directory)."`
	JWKS           string        `name:"jwks" type:"existingfile" placeholder:"FILE" help:"The public keys of another issuer whose API tokens are accepted: a JWKS, or one key as PEM."`
	JWKSAudience   string        `name:"jwks-audience" placeholder:"NAME" help:"What the aud claim of the other issuer's tokens must name (default: it is not checked)."`
	CallLease      time.Duration `default:"24h" help:"How long a call lives of which nothing more is heard, 1s to a year. It then counts as ended."`
	NotifyRate     float64       `default:"5" help:"How many changes a second one watcher is told at most: 0.001 to 1000, or 0, with which nothing is held back. Changes in between are told as one."`
	HideParties    bool          `help:"Show no watcher who the other party of a call is, in all accounts. Phones then show that an extension is busy, and not with whom."`
	RequestTimeout time.Duration `default:"10s" help:"How long a request may take, 10ms to 12s."`
	RateLimit      int           `default:"0" help:"How many HTTP requests a second each account may make from one client address. 0 means any number."`
	budgetFlags
	MaxConnections amount        `placeholder:"N" help:"How many HTTP connections may be open (default: half of the process's file descriptors, 65536 at most). At the bound, connections that are idle are closed for new ones."`
	MaxPerAddress  amount        `name:"max-connections-per-address" placeholder:"N" help:"How many HTTP connections one client address may have open (default: half of --max-connections)."`
	MaxWatchers    amount        `default:"10000" help:"The most watchers that one extension may have."`
	MaxDialogs     amount        `default:"100" help:"The most calls, and as many registers and mailboxes, that one extension may have."`
	MaxMailbox     amount        `default:"4096" help:"The most messages that may wait for one shard. More are refused (HTTP 429)."`
	EdgeMemory     amount        `default:"256" placeholder:"MIB" help:"Memory for the NOTIFY messages that are kept to be sent to edges again, in MiB for all edges together."`
	EdgeName       string        `placeholder:"NAME" help:"The name of the SIP edge inside this node, to which its subscriptions belong (default: the name of the node)."`
	BridgeAMQP     []string      `name:"bridge-amqp" placeholder:"URL[,URL]" help:"Run a bridge inside the node that takes over what an existing Kazoo tells on these RabbitMQ brokers, as lamplight bridge amqp does. It is for small installations."`
	BridgeQueue    string        `name:"bridge-amqp-queue" default:"lamplight-presence" placeholder:"NAME" help:"The durable queue of that bridge."`
	BridgeServe    bool          `name:"bridge-amqp-serve" help:"That bridge also takes the place of Kazoo's presence role."`
	BridgeResync   time.Duration `name:"bridge-amqp-resync" default:"5m" help:"How often that bridge asks Kazoo which calls run, 10s to 24h."`
	sipFlags
	BridgeFreeswitch []string `name:"bridge-freeswitch" placeholder:"HOST:PORT" help:"The event sockets of FreeSWITCH switches whose calls this node brings in itself, for small installations. Needs --esl-password-file."`
	freeswitchFlags
	Traces     string  `placeholder:"URL" help:"Send OpenTelemetry traces to a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318."`
	TraceShare float64 `default:"0" help:"Of the requests and documents that come without a traceparent: how many are traced, 0 to 1."`
	LogLevel   string  `enum:"debug,info,warn,error" default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat  string  `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	natsFlags
}

// budgetFlags are the budgets of each account at this node.
type budgetFlags struct {
	AccountRequests      int `default:"0" help:"How many HTTP requests a second each account may make at this node, from all addresses together. More are refused (HTTP 429). 0 means any number."`
	AccountEvents        int `default:"0" help:"How many events a second each account may send to this node: documents over NATS, SUBSCRIBE and PUBLISH requests. More wait for up to a second, and are then refused. 0 means any number."`
	AccountNotifies      int `default:"0" help:"How many watchers a second each account may have told a change by this node. Changes above that are held back, and told as one. 0 means any number."`
	AccountSubscriptions int `default:"0" help:"How many subscriptions each account may hold at this node. New ones above that are refused; refreshes are not. 0 means any number."`
}

type serveCommand struct{ serveFlags }

// Run implements serve. It runs the node until SIGTERM or SIGINT, or until the node fails, and then stops it. On SIGHUP it reads the
// configuration again.
func (c *serveCommand) Run(out io.Writer, args commandLine, line *kong.Context) error {
	log := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	again := hangUps()
	config, _, err := c.settings(log) // what may pass is found again when it matters
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(context.Background(), func() {
		log.Error("a second signal came while the node was stopping: it ends at once; what is acknowledged is kept, and the other nodes take its shards over in some seconds")
		os.Exit(1)
	})
	defer stop()
	if host, _, _ := net.SplitHostPort(c.HTTP); c.HTTPTLSCert == "" && !natsd.Loopback(host) {
		log.Warn("the HTTP API listens beyond this machine WITHOUT TLS: tokens, API keys and SIP passwords can be read on the way. Give --http-tls-cert "+
			"and --http-tls-key, or listen on 127.0.0.1 behind a proxy with TLS", "http", c.HTTP)
	}
	c.warn(log)
	tuneCollector(log)
	http, phones, calls := swap(config.HTTPTLS), swap(nil), swap(nil)
	config.HTTPTLS = http.server()
	if config.SIP != nil {
		phones, calls = swap(config.SIP.TLS), swap(config.SIP.TLSClient)
		config.SIP.TLS, config.SIP.TLSClient = phones.server(), calls.client()
	}
	n := node.New(config)
	defer func() { _ = n.Stop(context.Background()) }() // Stop logs its errors
	if err := n.Start(ctx); err != nil {
		if ctx.Err() != nil {
			log.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	reread := newReloader(args, line, log) // now that the token key is made
	c.announce(out, n)
	tellSystemd(systemdReady)
	watched, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	go feedWatchdog(watched, n.Alive)
	for {
		select {
		case <-again:
			reloadNode(ctx, reread, n, http, phones, calls)
		case <-ctx.Done():
			tellSystemd(systemdStopping)
			log.Info("draining: /readyz says 503 from now on; after the grace the node hands its shards over and stops, within 20 s; a second signal ends it at once", "grace", c.DrainGrace)
			n.Drain(c.DrainGrace)
			return nil
		case err := <-n.Failed():
			tellSystemd(systemdStopping)
			return err
		}
	}
}

// untilSignal returns a context that the first SIGTERM or SIGINT ends. The second one calls again. stop ends this.
func untilSignal(ctx context.Context, again func()) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals, stopped := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for _, do := range []func(){cancel, again} {
			select {
			case <-signals:
				do()
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(stopped); cancel() }
}

// announce prints where the node listens and what to try.
func (f *serveFlags) announce(out io.Writer, n *node.Node) {
	for _, listener := range []string{node.HTTP, node.NATS, node.Gossip} {
		if address := n.Addr(listener); address != "" {
			fmt.Fprintf(out, "%s listening on %s\n", listener, address)
		}
	}
	if s := n.SIP(); s != nil {
		announceSIP(out, s)
	}
	hint := ""
	switch address := n.Addr(node.NATS); {
	case address == "":
		hint = " --nats " + client.Redacted(f.Nats)
	case address != "127.0.0.1:4222":
		hint = " --nats nats://" + address
	}
	fmt.Fprintf(out, "node %s is ready. Try:\n  lamplight import docs/examples/acme.json%s\n  curl http://127.0.0.1:%s/readyz\n", f.Node, hint, n.Port(node.HTTP))
}
