package main

import (
	"context"
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
)

// serveFlags are what a node can be told.
type serveFlags struct {
	HTTP           string        `name:"http" default:":8000" placeholder:"HOST:PORT" help:"Where the HTTP API listens."`
	Data           string        `default:"./lamplight-data" placeholder:"DIR" help:"Data directory: the journal of the embedded NATS server and the token key."`
	NatsListen     string        `default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Where the embedded NATS server listens."`
	NatsCluster    string        `placeholder:"HOST:PORT" help:"Where the embedded NATS server listens for those of the other nodes: together they replicate the journal. Needs --join."`
	NatsConfig     string        `type:"existingfile" placeholder:"FILE" help:"NATS configuration for the embedded server (users, TLS)."`
	Storage        string        `enum:"file,memory" default:"file" help:"Where NATS keeps the journal: file survives a restart of the NATS server, memory does not."`
	Sync           string        `default:"1s" placeholder:"DURATION|always" help:"How much a power cut may take. kill -9 takes nothing either way; always syncs each write and costs throughput."`
	Replicas       int           `placeholder:"N" help:"Copies of the journal when it is made (default: 1; 3 in a NATS cluster)."`
	Node           string        `placeholder:"NAME" help:"Name of this node (default: the host name)."`
	Gossip         string        `default:"127.0.0.1:7946" placeholder:"HOST:PORT" help:"Where gossip listens."`
	Advertise      string        `placeholder:"HOST" help:"Address that other nodes reach this one at."`
	Join           []string      `placeholder:"HOST:PORT" help:"Nodes to join."`
	GossipKey      string        `type:"existingfile" placeholder:"FILE" help:"Gossip encryption key: 32 bytes, or 64 hexadecimal characters."`
	AwaitRestore   bool          `help:"Wait, before serving for the first time, until lamplight restore has loaded a backup."`
	TokenKey       string        `placeholder:"FILE" help:"Ed25519 key (PEM) that signs tokens (default: token.pem in the data directory, made if missing)."`
	JWKS           string        `name:"jwks" type:"existingfile" placeholder:"FILE" help:"JWKS or PEM public key of another issuer whose tokens are good."`
	CallLease      time.Duration `default:"24h" help:"A call without news ends after this."`
	NotifyRate     float64       `default:"5" help:"NOTIFYs a second to one watcher at most; 0: no coalescing."`
	RequestTimeout time.Duration `default:"10s" help:"Deadline of a request, at most 12s."`
	RateLimit      int           `default:"0" help:"HTTP requests a second per account and client address; 0: off."`
	MaxWatchers    int           `default:"10000" help:"Watchers per extension."`
	MaxDialogs     int           `default:"100" help:"Calls, registers or mailboxes per extension."`
	MaxMailbox     int           `default:"4096" help:"Messages that wait for one shard."`
	EdgeMemory     int64         `default:"256" placeholder:"MIB" help:"Memory for messages that are kept for edges to be sent again, in MiB for all edges together."`
	LogLevel       string        `default:"info" help:"debug, info, warn or error."`
	LogFormat      string        `enum:"text,json" default:"text" help:"text or json."`
	natsFlags
}

type serveCommand struct{ serveFlags }

type checkCommand struct{ serveFlags }

// check refuses what can't work before anything starts.
func (f *serveFlags) check() (sync time.Duration, err error) {
	if err := f.natsFlags.check(); err != nil {
		return 0, err
	}
	if f.Sync != "always" {
		if sync, err = time.ParseDuration(f.Sync); err != nil || sync <= 0 {
			return 0, fmt.Errorf("%w: --sync %q: a duration such as 1s, or always", errUsage, f.Sync)
		}
	}
	if f.Node == "" {
		if f.Node, err = os.Hostname(); err != nil {
			return 0, err
		}
	}
	if len(f.Node) > 128 || strings.ContainsFunc(f.Node, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return 0, fmt.Errorf("%w: --node %q: at most 128 printable ASCII characters without spaces", errUsage, f.Node)
	}
	if f.RequestTimeout <= 0 || f.RequestTimeout > 12*time.Second {
		return 0, fmt.Errorf("%w: --request-timeout %v: above 0, at most 12s", errUsage, f.RequestTimeout)
	}
	if f.NotifyRate < 0 || f.NotifyRate > 1000 || f.RateLimit < 0 || f.CallLease <= 0 || f.MaxWatchers < 1 || f.MaxDialogs < 1 || f.MaxMailbox < 1 || f.EdgeMemory < 1 {
		return 0, fmt.Errorf("%w: --notify-rate is 0 to 1000, --rate-limit at least 0, --call-lease above 0, the bounds at least 1", errUsage)
	}
	if f.Replicas < 0 || f.Replicas > 5 {
		return 0, fmt.Errorf("%w: --replicas %d: 1 to 5", errUsage, f.Replicas)
	}
	if err := f.checkCluster(); err != nil {
		return 0, err
	}
	for name, a := range map[string]string{"--http": f.HTTP, "--nats-listen": f.NatsListen, "--gossip": f.Gossip} {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return 0, fmt.Errorf("%w: %s %q: HOST:PORT", errUsage, name, a)
		}
	}
	for _, a := range f.Join {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			return 0, fmt.Errorf("%w: --join %q: HOST:PORT[,HOST:PORT]", errUsage, a)
		}
	}
	if host, _, _ := net.SplitHostPort(f.Gossip); f.GossipKey == "" && !natsd.Loopback(host) {
		return 0, fmt.Errorf("%w: --gossip %s is not loopback: give --gossip-key", errUsage, f.Gossip)
	}
	if _, err := readGossipKey(f.GossipKey); err != nil {
		return 0, err
	}
	return sync, nil
}

// checkReach refuses addresses of this node that those to join could not answer to: many systems give a machine's own
// name the loopback address. Names that can't be looked up are left to time.
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

// checkCluster refuses what can't become a cluster.
func (f *serveFlags) checkCluster() error {
	if f.NatsCluster == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(f.NatsCluster)
	switch {
	case err != nil:
		return fmt.Errorf("%w: --nats-cluster %q: HOST:PORT", errUsage, f.NatsCluster)
	case f.Nats != "embedded":
		return fmt.Errorf("%w: --nats-cluster is for the embedded NATS server; with --nats the servers are yours", errUsage)
	case len(f.Join) == 0:
		return fmt.Errorf("%w: --nats-cluster needs --join with the gossip addresses of all nodes", errUsage)
	case f.Storage == "memory" && f.replicas() == 1:
		return fmt.Errorf("%w: --storage memory in a cluster needs --replicas 3: one copy would go with its server", errUsage)
	case f.GossipKey == "" && !natsd.Loopback(host):
		return fmt.Errorf("%w: --nats-cluster %s is not loopback: give --gossip-key, from which the servers' secret is derived", errUsage, f.NatsCluster)
	}
	_, err = f.route()
	return err
}

// replicas is --replicas or its default.
func (f *serveFlags) replicas() int {
	switch {
	case f.Replicas > 0:
		return f.Replicas
	case f.NatsCluster != "":
		return 3
	}
	return 1
}

// route is where the other nodes' servers reach the embedded one; "": it stands alone.
func (f *serveFlags) route() (string, error) {
	if f.NatsCluster == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(f.NatsCluster)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", fmt.Errorf("%w: --nats-cluster %s: the other nodes must know the port", errUsage, f.NatsCluster)
	}
	gossip, _, _ := net.SplitHostPort(f.Gossip)
	for _, h := range []string{f.Advertise, host, gossip} {
		if ip := net.ParseIP(h); h != "" && (ip == nil || !ip.IsUnspecified()) {
			return net.JoinHostPort(h, port), nil
		}
	}
	return "", fmt.Errorf("%w: --nats-cluster %s listens everywhere: say with --advertise at which host the others find this node", errUsage, f.NatsCluster)
}

func (f *serveFlags) rules() presence.Rules {
	r := presence.Rules{CallLease: f.CallLease, Grace: 20 * time.Second, TombstoneLife: time.Minute,
		MaxWatchers: f.MaxWatchers, MaxCalls: f.MaxDialogs, MaxTombstones: 8192, Transitions: 8}
	if f.NotifyRate > 0 {
		r.NotifyInterval = time.Duration(float64(time.Second) / f.NotifyRate)
	}
	return r
}

// Run implements check-config.
func (c *checkCommand) Run(out io.Writer) error {
	if _, err := c.check(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "http: %s\ndata: %s\nnats: %s\nnats-listen: %s\nstorage: %s\nsync: %s\nnode: %s\ngossip: %s\nnotify-rate: %v\nrequest-timeout: %v\nthe configuration is good\n",
		c.HTTP, c.Data, c.Nats, c.NatsListen, c.Storage, c.Sync, c.Node, c.Gossip, c.NotifyRate, c.RequestTimeout)
	return err
}

// Run implements serve: until a signal, and then it drains.
func (c *serveCommand) Run(out io.Writer) error {
	sync, err := c.check()
	if err != nil {
		return err
	}
	log, err := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	if err := c.checkReach(); err != nil {
		return err
	}
	config, err := c.node(sync, log)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	n := node.New(config)
	defer func() { _ = n.Stop(context.Background()) }() // it logs what goes wrong
	if err := n.Start(ctx); err != nil {
		if ctx.Err() != nil {
			log.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	c.announce(out, n)
	tellSystemd(systemdReady)
	defer tellSystemd(systemdStopping)
	select {
	case <-ctx.Done():
		log.Info("draining")
		return nil
	case err := <-n.Failed():
		return err
	}
}

// node is the configuration of a node that the flags ask for. check has found them good.
func (f *serveFlags) node(sync time.Duration, log *slog.Logger) (node.Config, error) {
	c := node.Config{Name: f.Node, Version: version, Data: f.Data, NATS: f.options(), Prefix: f.prefix(),
		Memory: f.Storage == "memory", Replicas: f.Replicas, AwaitRestore: f.AwaitRestore,
		Gossip: f.Gossip, Advertise: f.Advertise, Join: f.Join,
		HTTP: f.HTTP, RequestTimeout: f.RequestTimeout, RateLimit: f.RateLimit, TokenKey: f.tokenKeyPath(),
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
		c.JWKS, err = os.ReadFile(f.JWKS)
	}
	return c, err
}

// announce says where the node listens and what to try.
func (f *serveFlags) announce(out io.Writer, n *node.Node) {
	for _, listener := range []string{node.HTTP, node.NATS, node.Gossip} {
		if address := n.Addr(listener); address != "" {
			fmt.Fprintf(out, "%s listening on %s\n", listener, address)
		}
	}
	hint := ""
	switch address := n.Addr(node.NATS); {
	case address == "":
		hint = " --nats " + f.Nats
	case address != "127.0.0.1:4222":
		hint = " --nats nats://" + address
	}
	fmt.Fprintf(out, "node %s is ready. Try:\n  lamplight import docs/examples/acme.json%s\n  curl http://127.0.0.1:%s/readyz\n", f.Node, hint, n.Port(node.HTTP))
}

func readGossipKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
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
				return nil, fmt.Errorf("--gossip-key: 64 hexadecimal characters, or 32 bytes")
			}
			key[i] = byte(v)
		}
		return key, nil
	}
	if len(data) != 32 {
		return nil, fmt.Errorf("--gossip-key: 32 bytes, or 64 hexadecimal characters; the file has %d", len(data))
	}
	return data, nil
}

func (f *serveFlags) tokenKeyPath() string {
	if f.TokenKey != "" {
		return f.TokenKey
	}
	return filepath.Join(f.Data, "token.pem")
}
