package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
)

// serveFlags are the flags of serve and check-config.
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
	Sync           string        `default:"1s" placeholder:"DURATION|always" help:"How often the embedded NATS server writes the journal through to the disk. After a power cut, up to so much of the last acknowledged changes can be lost. With always none are, at a lower throughput. kill -9 loses none either way."`
	Replicas       int           `placeholder:"N" help:"How many NATS servers keep a copy of the journal, 1 to 5. It counts when the journal is made (default: 1, or 3 when NATS is a cluster)."`
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
	CallLease      time.Duration `default:"24h" help:"How long a call lives of which nothing more is heard. It then counts as ended."`
	NotifyRate     float64       `default:"5" help:"How many changes a second one watcher is told at most, 0 to 1000. Changes in between are told as one. 0 means that nothing is held back."`
	RequestTimeout time.Duration `default:"10s" help:"How long a request may take, at most 12s."`
	RateLimit      int           `default:"0" help:"How many HTTP requests a second each account may make from one client address. 0 means any number."`
	MaxConnections int           `placeholder:"N" help:"How many HTTP connections may be open (default: half of the process's file descriptors, 65536 at most). At the bound, connections that are idle are closed for new ones."`
	MaxPerAddress  int           `name:"max-connections-per-address" placeholder:"N" help:"How many HTTP connections one client address may have open (default: half of --max-connections)."`
	MaxWatchers    int           `default:"10000" help:"The most watchers that one extension may have."`
	MaxDialogs     int           `default:"100" help:"The most calls, and as many registers and mailboxes, that one extension may have."`
	MaxMailbox     int           `default:"4096" help:"The most messages that may wait for one shard. More are refused (HTTP 429)."`
	EdgeMemory     int64         `default:"256" placeholder:"MIB" help:"Memory for the NOTIFY messages that are kept to be sent to edges again, in MiB for all edges together."`
	LogLevel       string        `default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat      string        `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	natsFlags
}

type serveCommand struct{ serveFlags }

// check refuses flags that can't work, before anything starts. It fills in the default of --node and returns --sync as a
// duration, 0 for always.
func (f *serveFlags) check() (sync time.Duration, err error) {
	if err := f.natsFlags.check(); err != nil {
		return 0, err
	}
	if f.Sync != "always" {
		if sync, err = time.ParseDuration(f.Sync); err != nil || sync <= 0 {
			return 0, fmt.Errorf("%w: --sync is %q; it must be a duration such as 1s, or always", errUsage, f.Sync)
		}
	}
	if f.Node == "" {
		if f.Node, err = os.Hostname(); err != nil {
			return 0, err
		}
	}
	if len(f.Node) > 128 || strings.ContainsFunc(f.Node, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return 0, fmt.Errorf("%w: --node is %q; it must be at most 128 printable ASCII characters without spaces", errUsage, f.Node)
	}
	if f.RequestTimeout <= 0 || f.RequestTimeout > 12*time.Second {
		return 0, fmt.Errorf("%w: --request-timeout is %v; it must be above 0 and at most 12s", errUsage, f.RequestTimeout)
	}
	if f.DrainGrace < 0 || f.DrainGrace > time.Minute {
		return 0, fmt.Errorf("%w: --drain-grace is %v; it must be 0 to 1m", errUsage, f.DrainGrace)
	}
	if f.NotifyRate < 0 || f.NotifyRate > 1000 || f.RateLimit < 0 || f.CallLease <= 0 || f.MaxWatchers < 1 || f.MaxDialogs < 1 || f.MaxMailbox < 1 || f.EdgeMemory < 1 {
		return 0, fmt.Errorf("%w: --notify-rate must be 0 to 1000, --rate-limit at least 0, --call-lease above 0, and --max-watchers, --max-dialogs, --max-mailbox and --edge-memory at least 1", errUsage)
	}
	if most := node.Descriptors(); f.MaxConnections < 0 || f.MaxConnections > most*3/4 || f.MaxPerAddress < 0 {
		return 0, fmt.Errorf("%w: --max-connections is %d and --max-connections-per-address %d; they must be at least 0, and the first at most three quarters of the %d file descriptors that the process may open (ulimit -n, LimitNOFILE)", errUsage, f.MaxConnections, f.MaxPerAddress, most)
	}
	if f.Replicas < 0 || f.Replicas > 5 {
		return 0, fmt.Errorf("%w: --replicas is %d; it must be 1 to 5", errUsage, f.Replicas)
	}
	for name, a := range map[string]string{"--http": f.HTTP, "--nats-listen": f.NatsListen, "--gossip": f.Gossip} {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return 0, fmt.Errorf("%w: %s is %q; it must be HOST:PORT", errUsage, name, a)
		}
	}
	for _, a := range f.Join {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			return 0, fmt.Errorf("%w: --join has %q; it must be HOST:PORT[,HOST:PORT]", errUsage, a)
		}
	}
	if err := f.checkCluster(); err != nil {
		return 0, err
	}
	if host, _, _ := net.SplitHostPort(f.Gossip); f.GossipKey == "" && !natsd.Loopback(host) {
		return 0, fmt.Errorf("%w: --gossip %s is not a loopback address, so gossip must be encrypted: give --gossip-key", errUsage, f.Gossip)
	}
	if _, err := readGossipKey(f.GossipKey); err != nil {
		return 0, err
	}
	if (f.HTTPTLSCert == "") != (f.HTTPTLSKey == "") {
		return 0, fmt.Errorf("%w: --http-tls-cert and --http-tls-key go together", errUsage)
	}
	if _, err := f.httpTLS(); err != nil {
		return 0, err
	}
	for name, file := range map[string]string{"--http-tls-key": f.HTTPTLSKey, "--token-key": f.tokenKeyPath()} {
		if err := checkSecret(name, file); err != nil {
			return 0, err
		}
	}
	return sync, f.checkReach()
}

// checkReach refuses a loopback address of this node when it is to join nodes on other machines: they could not answer. It happens
// easily, because many systems resolve a machine's own name to the loopback address. Names that can't be resolved are not checked:
// they may be resolved later.
func (f *serveFlags) checkReach() error {
	far := slices.IndexFunc(f.Join, func(a string) bool {
		host, _, _ := net.SplitHostPort(a)
		ip, err := net.ResolveIPAddr("ip", host)
		return err == nil && !ip.IP.IsLoopback() && !ip.IP.IsUnspecified()
	})
	if far < 0 || f.Advertise != "" {
		return nil
	}
	for name, a := range map[string]string{"--gossip": f.Gossip, "--nats-cluster": f.NatsCluster} {
		host, port, _ := net.SplitHostPort(a)
		if ip, err := net.ResolveIPAddr("ip", host); host != "" && err == nil && ip.IP.IsLoopback() {
			return fmt.Errorf("%w: %s %s is the loopback address here, which %s can't answer to: give this machine's own address, %s ADDRESS:%s", errUsage, name, a, f.Join[far], name, port)
		}
	}
	return nil
}

// checkCluster refuses flags with which the embedded NATS servers can't become a cluster.
func (f *serveFlags) checkCluster() error {
	if f.NatsCluster == "" {
		if other := slices.IndexFunc(f.Join, func(a string) bool { return a != f.Gossip }); other >= 0 && f.Nats == "embedded" {
			return fmt.Errorf("%w: --join %s without --nats-cluster: this node and that one would each keep a journal of their own, with two truths. "+
				"Give --nats-cluster HOST:PORT on every node, so that their embedded NATS servers replicate one journal, or --nats URL with NATS servers of your own",
				errUsage, f.Join[other])
		}
		return nil
	}
	host, _, err := net.SplitHostPort(f.NatsCluster)
	switch {
	case err != nil:
		return fmt.Errorf("%w: --nats-cluster is %q; it must be HOST:PORT", errUsage, f.NatsCluster)
	case f.Nats != "embedded":
		return fmt.Errorf("%w: --nats-cluster is for the embedded NATS server; with --nats the servers are yours, so leave one of the two out", errUsage)
	case len(f.Join) == 0:
		return fmt.Errorf("%w: --nats-cluster needs --join with the gossip addresses of all nodes", errUsage)
	case f.Storage == "memory" && f.replicas() == 1:
		return fmt.Errorf("%w: --storage memory in a cluster needs --replicas 3: a single copy would be lost with its server", errUsage)
	case f.GossipKey == "" && !natsd.Loopback(host):
		return fmt.Errorf("%w: --nats-cluster %s is not a loopback address: give --gossip-key, from which the servers' secret is derived", errUsage, f.NatsCluster)
	}
	_, err = f.route()
	return err
}

// replicas returns --replicas, or its default.
func (f *serveFlags) replicas() int {
	switch {
	case f.Replicas > 0:
		return f.Replicas
	case f.NatsCluster != "":
		return 3
	}
	return 1
}

// route returns the HOST:PORT at which the other nodes' NATS servers reach the embedded one; "" when it stands alone.
func (f *serveFlags) route() (string, error) {
	if f.NatsCluster == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(f.NatsCluster)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", fmt.Errorf("%w: --nats-cluster %s has the port 0; give the port that the other nodes are to use", errUsage, f.NatsCluster)
	}
	gossip, _, _ := net.SplitHostPort(f.Gossip)
	for _, h := range []string{f.Advertise, host, gossip} {
		if ip := net.ParseIP(h); h != "" && (ip == nil || !ip.IsUnspecified()) {
			return net.JoinHostPort(h, port), nil
		}
	}
	return "", fmt.Errorf("%w: --nats-cluster %s listens on all addresses: say with --advertise at which host the other nodes reach this one", errUsage, f.NatsCluster)
}

// rules returns the domain's rules that the flags ask for.
func (f *serveFlags) rules() presence.Rules {
	r := presence.Rules{CallLease: f.CallLease, TombstoneLife: time.Minute,
		MaxWatchers: f.MaxWatchers, MaxCalls: f.MaxDialogs, MaxTombstones: 8192, Transitions: 8}
	if f.NotifyRate > 0 {
		r.NotifyInterval = time.Duration(float64(time.Second) / f.NotifyRate)
	}
	return r
}

// Run implements serve. It runs the node until SIGTERM or SIGINT, or until the node fails, and then stops it.
func (c *serveCommand) Run(out io.Writer) error {
	sync, err := c.check()
	if err != nil {
		return err
	}
	log, err := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	config, err := c.node(sync, log)
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
	n := node.New(config)
	defer func() { _ = n.Stop(context.Background()) }() // Stop logs its errors
	if err := n.Start(ctx); err != nil {
		if ctx.Err() != nil {
			log.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	c.announce(out, n)
	tellSystemd(systemdReady)
	watched, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	go feedWatchdog(watched, n.Alive)
	select {
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

// node returns the configuration of the node that the flags ask for. check must have accepted them.
func (f *serveFlags) node(sync time.Duration, log *slog.Logger) (node.Config, error) {
	c := node.Config{Name: f.Node, Version: version, Data: f.Data, NATS: f.options(), Prefix: f.prefix(),
		Memory: f.Storage == "memory", Replicas: f.Replicas, AwaitRestore: f.AwaitRestore,
		Gossip: f.Gossip, Advertise: f.Advertise, Join: f.Join,
		HTTP: f.HTTP, RequestTimeout: f.RequestTimeout, RateLimit: f.RateLimit, MaxConnections: f.MaxConnections, MaxPerAddress: f.MaxPerAddress, AcceptLoss: f.AcceptLoss, TokenKey: f.tokenKeyPath(), Audience: f.JWKSAudience,
		Rules: f.rules(), MaxMailbox: f.MaxMailbox, EdgeMemory: f.EdgeMemory << 20, Log: log}
	if f.Nats == "embedded" {
		route, err := f.route()
		if err != nil {
			return c, err
		}
		c.Embedded = &node.Embedded{Listen: f.NatsListen, Config: f.NatsConfig, Sync: sync, Cluster: f.NatsCluster, Route: route}
		if f.NatsCluster != "" && f.Replicas == 0 {
			c.Replicas = f.replicas()
		}
	}
	var err error
	if c.GossipKey, err = readGossipKey(f.GossipKey); err != nil {
		return c, err
	}
	if f.JWKS != "" {
		if c.JWKS, err = os.ReadFile(f.JWKS); err != nil {
			return c, err
		}
	}
	c.HTTPTLS, err = f.httpTLS()
	return c, err
}

// httpTLS returns how the HTTP API speaks TLS; nil: it does not.
func (f *serveFlags) httpTLS() (*tls.Config, error) {
	if f.HTTPTLSCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(f.HTTPTLSCert, f.HTTPTLSKey)
	if err != nil {
		return nil, fmt.Errorf("--http-tls-cert and --http-tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// announce prints where the node listens and what to try.
func (f *serveFlags) announce(out io.Writer, n *node.Node) {
	for _, listener := range []string{node.HTTP, node.NATS, node.Gossip} {
		if address := n.Addr(listener); address != "" {
			fmt.Fprintf(out, "%s listening on %s\n", listener, address)
		}
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

// readGossipKey reads the key in a file; "" is no key.
func readGossipKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	if err := checkSecret("--gossip-key", path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(data))
	if len(text) == 64 {
		key := make([]byte, 32)
		for i := range key {
			v, err := strconv.ParseUint(text[2*i:2*i+2], 16, 8)
			if err != nil {
				return nil, fmt.Errorf("--gossip-key: the file has 64 characters, but they are not all hexadecimal; it must have 32 bytes, or 64 hexadecimal characters")
			}
			key[i] = byte(v)
		}
		return key, nil
	}
	if len(data) != 32 {
		return nil, fmt.Errorf("--gossip-key: the file has %d bytes; it must have 32 bytes, or 64 hexadecimal characters", len(data))
	}
	return data, nil
}

// tokenKeyPath returns --token-key, or its default.
func (f *serveFlags) tokenKeyPath() string {
	if f.TokenKey != "" {
		return f.TokenKey
	}
	return filepath.Join(f.Data, "token.pem")
}
