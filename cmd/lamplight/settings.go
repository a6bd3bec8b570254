package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/access"
)

// settings returns the configuration of the node that the flags ask for. It is the one set of checks of serve and check-config: it
// refuses flags and files with which the node could not work, and it starts and writes nothing. passing names what keeps the node
// from starting now and may be another way later: a port or a data directory that another process uses, and a name that can't be
// looked up.
func (f *serveFlags) settings(log *slog.Logger) (c node.Config, passing, err error) {
	sync, err := f.check()
	if err == nil {
		c, err = f.node(sync, log)
	}
	if err == nil {
		_, err = access.NewVerifier(nil, c.JWKS, c.Audience)
	}
	var busy, out error // passing, of the data directory and of the listeners
	if err == nil {
		busy, err = checkData(&c)
	}
	if err == nil {
		err = f.checkTokenKey()
	}
	if err == nil {
		out, err = c.TryPorts()
	}
	return c, errors.Join(f.lookUp(), busy, out), usage(err)
}

// usage marks an error as one of a command that was called in a wrong way.
func usage(err error) error {
	if err == nil || errors.Is(err, errUsage) {
		return err
	}
	return fmt.Errorf("%w: %w", errUsage, err)
}

// named marks the error of reading a file that the command line names as wrong usage if there is no such file.
func named(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usage(err)
	}
	return err
}

// check refuses flags that can't work. It fills in the default of --node and returns --sync as a duration, 0 for always.
func (f *serveFlags) check() (sync time.Duration, err error) {
	if err := f.natsFlags.check(); err != nil {
		return 0, err
	}
	if f.Sync != "always" {
		if sync, err = time.ParseDuration(f.Sync); err != nil || sync < time.Millisecond || sync > time.Hour {
			return 0, fmt.Errorf("%w: --sync is %q; it must be a duration such as 1s, 1ms to 1h, or always", errUsage, f.Sync)
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
	if f.EdgeName == "" {
		f.EdgeName = f.Node
	}
	if f.enabled() {
		if err := checkEdgeName("--edge-name", f.EdgeName); err != nil {
			return 0, err
		}
	}
	if err := f.checkBounds(); err != nil {
		return 0, err
	}
	if err := checkAMQP("--bridge-amqp", f.BridgeAMQP, "--bridge-amqp-queue", f.BridgeQueue, "--bridge-amqp-resync", f.BridgeResync); err != nil {
		return 0, err
	}
	if err := f.checkAddresses(); err != nil {
		return 0, err
	}
	if err := f.sipFlags.check(); err != nil {
		return 0, err
	}
	if err := f.checkCluster(); err != nil {
		return 0, err
	}
	if host, _, _ := net.SplitHostPort(f.Gossip); f.GossipKey == "" && !natsd.Loopback(host) {
		return 0, fmt.Errorf("%w: --gossip %s is not a loopback address, so gossip must be encrypted: give --gossip-key", errUsage, f.Gossip)
	}
	switch {
	case f.Data == "":
		return 0, fmt.Errorf("%w: --data is empty; it must be the name of a directory", errUsage)
	case (f.HTTPTLSCert == "") != (f.HTTPTLSKey == ""):
		return 0, fmt.Errorf("%w: --http-tls-cert and --http-tls-key go together", errUsage)
	case f.JWKSAudience != "" && f.JWKS == "":
		return 0, fmt.Errorf("%w: --jwks-audience is %q, and there is no other issuer whose tokens it could be about: give --jwks too", errUsage, f.JWKSAudience)
	}
	for name, file := range map[string]string{"--http-tls-key": f.HTTPTLSKey, "--token-key": f.tokenKeyPath()} {
		if err := checkSecret(name, file); err != nil {
			return 0, err
		}
	}
	return sync, f.checkReach()
}

// most is the largest bound on watchers, calls and messages that a flag may set.
const most = 1_000_000_000

// checkBounds refuses numbers and durations with which the node could not work.
func (f *serveFlags) checkBounds() error {
	descriptors := node.Descriptors()
	for _, b := range []struct {
		flag  string
		is    any
		good  bool
		right string
	}{
		{"--request-timeout", f.RequestTimeout, f.RequestTimeout >= 10*time.Millisecond && f.RequestTimeout <= 12*time.Second, "10ms to 12s"},
		{"--drain-grace", f.DrainGrace, f.DrainGrace >= 0 && f.DrainGrace <= time.Minute, "0 to 1m"},
		{"--call-lease", f.CallLease, f.CallLease >= time.Second && f.CallLease <= presence.LongestLease*time.Second, "1s to 8760h, a year"},
		{"--notify-rate", f.NotifyRate, f.NotifyRate == 0 || f.NotifyRate >= 0.001 && f.NotifyRate <= 1000, "0, or 0.001 to 1000"},
		{"--rate-limit", f.RateLimit, f.RateLimit >= 0 && f.RateLimit <= math.MaxInt32, "a whole number, at least 0"},
		{"--traces", f.Traces, f.Traces == "" || validCollector(f.Traces), "the URL of a collector of traces, such as http://127.0.0.1:4318, without a query"},
		{"--trace-share", f.TraceShare, f.TraceShare >= 0 && f.TraceShare <= 1, "0 to 1"},
		{"--trace-share", f.TraceShare, f.TraceShare == 0 || f.Traces != "", "0 unless --traces names a collector"},
		{"--replicas", f.Replicas, f.Replicas <= 5, "1 to 5"},
		{"--max-watchers", f.MaxWatchers, f.MaxWatchers <= most, fmt.Sprintf("1 to %d", most)},
		{"--max-dialogs", f.MaxDialogs, f.MaxDialogs <= most, fmt.Sprintf("1 to %d", most)},
		{"--max-mailbox", f.MaxMailbox, f.MaxMailbox <= most, fmt.Sprintf("1 to %d", most)},
		{"--edge-memory", f.EdgeMemory, f.EdgeMemory <= 1<<20, "1 to 1048576 MiB"},
		{"--max-connections", f.MaxConnections, int(f.MaxConnections) <= descriptors*3/4,
			fmt.Sprintf("at most three quarters of the %d file descriptors that the process may open (ulimit -n, LimitNOFILE)", descriptors)},
		{"--max-connections-per-address", f.MaxPerAddress, f.MaxPerAddress <= most, fmt.Sprintf("1 to %d", most)},
	} {
		if !b.good {
			return fmt.Errorf("%w: %s is %v; it must be %s", errUsage, b.flag, b.is, b.right)
		}
	}
	return nil
}

// validCollector says whether spans can be sent to a URL.
func validCollector(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// checkCluster refuses flags with which the embedded NATS servers can't become a cluster.
func (f *serveFlags) checkCluster() error {
	if f.NatsCluster == "" {
		if other := slices.IndexFunc(f.Join, func(a string) bool { return a != f.Gossip }); other >= 0 && f.Nats == "embedded" {
			return fmt.Errorf("%w: --join %s without --nats-cluster: this node and that one would each keep a journal of their own, with two truths. "+
				"Give --nats-cluster HOST:PORT on every node, so that their embedded NATS servers replicate one journal, or --nats URL with NATS servers of your own",
				errUsage, f.Join[other])
		}
		if f.Replicas > 1 && f.Nats == "embedded" {
			return fmt.Errorf("%w: --replicas is %d, and the embedded NATS server stands alone, so there can be one copy only: give --nats-cluster and --join on every node, "+
				"or leave --replicas out", errUsage, f.Replicas)
		}
		return nil
	}
	host, _, _ := net.SplitHostPort(f.NatsCluster)
	switch {
	case f.Nats != "embedded":
		return fmt.Errorf("%w: --nats-cluster is for the embedded NATS server; with --nats the servers are yours, so leave one of the two out", errUsage)
	case len(f.Join) == 0:
		return fmt.Errorf("%w: --nats-cluster needs --join with the gossip addresses of all nodes", errUsage)
	case f.Storage == "memory" && f.replicas() == 1:
		return fmt.Errorf("%w: --storage memory in a cluster needs --replicas 3: a single copy would be lost with its server", errUsage)
	case f.GossipKey == "" && !natsd.Loopback(host):
		return fmt.Errorf("%w: --nats-cluster %s is not a loopback address: give --gossip-key, from which the servers' secret is derived", errUsage, f.NatsCluster)
	}
	_, err := f.route()
	return err
}

// replicas returns --replicas, or its default.
func (f *serveFlags) replicas() int {
	switch {
	case f.Replicas > 0:
		return int(f.Replicas)
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
		MaxWatchers: int(f.MaxWatchers), MaxCalls: int(f.MaxDialogs), MaxTombstones: 8192, Transitions: 8}
	if f.NotifyRate > 0 {
		r.NotifyInterval = time.Duration(float64(time.Second) / f.NotifyRate)
	}
	return r
}

// node returns the configuration of the node that the flags ask for. sync is --sync. check must have accepted the flags.
func (f *serveFlags) node(sync time.Duration, log *slog.Logger) (node.Config, error) {
	c := node.Config{Name: f.Node, Version: version, Data: f.Data, NATS: f.options(), Prefix: f.prefix(),
		Memory: f.Storage == "memory", Replicas: int(f.Replicas), AwaitRestore: f.AwaitRestore,
		Gossip: f.Gossip, Advertise: f.Advertise, Join: f.Join,
		HTTP: f.HTTP, RequestTimeout: f.RequestTimeout, RateLimit: f.RateLimit, MaxConnections: int(f.MaxConnections), MaxPerAddress: int(f.MaxPerAddress),
		AcceptLoss: f.AcceptLoss, TokenKey: f.tokenKeyPath(), Audience: f.JWKSAudience,
		Traces: f.Traces, TraceShare: f.TraceShare,
		Rules: f.rules(), HideParties: f.HideParties, MaxMailbox: int(f.MaxMailbox), EdgeMemory: int64(f.EdgeMemory) << 20, Log: log}
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
			return c, fmt.Errorf("--jwks: %w", err)
		}
	}
	if f.enabled() {
		edge, err := f.config(f.EdgeName)
		if err != nil {
			return c, err
		}
		c.SIP = &edge
	}
	if c.Sources, err = f.sources("--bridge-freeswitch", f.BridgeFreeswitch, log); err != nil {
		return c, err
	}
	if len(f.BridgeAMQP) > 0 {
		c.Sources = append(c.Sources, amqpSource(f.BridgeAMQP, f.BridgeQueue, f.BridgeServe, f.BridgeResync, f.prefix()))
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
		return nil, fmt.Errorf("--gossip-key: %w", err)
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

// checkTokenKey refuses a token key that can't be read, or can't be made where there is none.
func (f *serveFlags) checkTokenKey() error {
	path := f.tokenKeyPath()
	data, err := os.ReadFile(path)
	switch dir := filepath.Dir(path); {
	case err == nil:
		_, err = access.ParseKey(data)
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path, "/"):
		err = errors.New("this names a directory; it must be the name of a file")
	case errors.Is(err, fs.ErrNotExist) && filepath.Clean(dir) == filepath.Clean(f.Data):
		return nil // the node makes the data directory first
	case errors.Is(err, fs.ErrNotExist):
		if _, err = os.Stat(dir); err == nil {
			err = natsd.Writable(dir)
		}
		if err != nil {
			err = fmt.Errorf("there is no such file, and it can't be made: %w; make the directory, or give another file", err)
		}
	}
	if err != nil {
		return fmt.Errorf("--token-key %s: %w", path, err)
	}
	return nil
}

// checkData refuses a data directory and a configuration of the embedded NATS server with which the server would not start. passing
// says that another process uses the directory.
func checkData(c *node.Config) (passing, err error) {
	if c.Embedded == nil {
		return nil, natsd.CheckData(c.Data)
	}
	s := natsd.Config{Listen: c.Embedded.Listen, Data: c.Data, Config: c.Embedded.Config, Sync: c.Embedded.Sync, Name: c.Name}
	if c.Embedded.Cluster != "" {
		s.Routes = &natsd.Routes{Listen: c.Embedded.Cluster}
	}
	inUse, err := natsd.Check(s)
	if inUse {
		passing = fmt.Errorf("data directory %s is in use by another lamplight process: a second one would not start on it", c.Data)
	}
	return passing, err
}
