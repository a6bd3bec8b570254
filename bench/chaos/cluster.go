package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lamplight/bench/local"
)

// startTimeout is how long a node or NATS server may take until it is ready.
const startTimeout = 60 * time.Second

// node is one node. Its process may end and start again; its data directory stays.
type node struct {
	name string
	http string
	argv []string
	log  string

	mu   sync.Mutex
	proc *local.Process
}

// server is a NATS server in a process of its own, for nodes that have no embedded one.
type server struct {
	name, url string
	argv      []string
	log       string
	proc      *local.Process
}

// layout gives the addresses of a cluster's machines.
type layout struct {
	gossip, nats, http func(machine int) string   // addresses without ports; machines count from 1
	ports              local.Ports                // of every machine
	inside             func(machine int) []string // the command that starts another one on the machine
}

// loopback gives each machine an address of its own on loopback, on which nobody listens yet.
func loopback(r *rand.Rand) (layout, error) {
	prefix, ports, err := local.Prefix(r, members+1)
	at := func(machine int) string { return fmt.Sprint(prefix, machine) }
	return layout{gossip: at, nats: at, http: at, ports: ports, inside: func(int) []string { return nil }}, err
}

// cluster is three nodes, a fourth one that may join, and their NATS servers.
type cluster struct {
	product, dir string
	layout       layout
	nodes        []*node   // the last one is the fourth, which joins later
	servers      []*server // empty: the nodes have embedded ones
	natsURLs     []string
	token        string
}

// members is how many nodes a cluster has from its start.
const members = 3

// newCluster makes a cluster and starts nothing. If natsd is not "", it is the program of the NATS servers; else the nodes have
// embedded ones.
func newCluster(product, natsd, dir string, l layout) (*cluster, error) {
	c := &cluster{product: product, dir: dir, layout: l}
	key := filepath.Join(dir, "gossip.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)), 0o600); err != nil {
		return nil, err
	}
	var join, routes []string
	for m := 1; m <= members; m++ {
		join = append(join, local.At(l.gossip(m), l.ports.Gossip))
		routes = append(routes, "nats://"+local.At(l.nats(m), l.ports.Routes))
		c.natsURLs = append(c.natsURLs, "nats://"+local.At(l.nats(m), l.ports.NATS))
	}
	if natsd != "" {
		for m := 1; m <= members; m++ {
			if err := c.addServer(natsd, m, routes); err != nil {
				return nil, err
			}
		}
	}
	for m := 1; m <= members+1; m++ {
		name := string(rune('a' + m - 1))
		n := &node{name: name, http: local.At(l.http(m), l.ports.HTTP), log: filepath.Join(dir, name+".log")}
		n.argv = append(append([]string{}, l.inside(m)...), product, "serve", "--drain-grace", "0", "--node", name, "--data", filepath.Join(dir, name), "--http", n.http,
			"--gossip", local.At(l.gossip(m), l.ports.Gossip), "--gossip-key", key, "--join", strings.Join(join, ","))
		if natsd == "" && m <= members {
			n.argv = append(n.argv, "--nats-listen", local.At(l.nats(m), l.ports.NATS), "--nats-cluster", local.At(l.nats(m), l.ports.Routes))
		} else {
			at := (m - 1) % members
			n.argv = append(n.argv, "--replicas", "3", "--nats", strings.Join(append(append([]string{}, c.natsURLs[at:]...), c.natsURLs[:at]...), ","))
		}
		c.nodes = append(c.nodes, n)
	}
	return c, nil
}

func (c *cluster) addServer(natsd string, m int, routes []string) error {
	name := fmt.Sprintf("n%d", m)
	file := filepath.Join(c.dir, name+".conf")
	text := fmt.Sprintf("server_name: %s\nlisten: %s\njetstream { store_dir: %q }\ncluster { name: chaos, listen: %s, routes: [%s] }\n",
		name, local.At(c.layout.nats(m), c.layout.ports.NATS), filepath.Join(c.dir, name), local.At(c.layout.nats(m), c.layout.ports.Routes), strings.Join(routes, ", "))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	c.servers = append(c.servers, &server{name: name, url: c.natsURLs[m-1], argv: append(append([]string{}, c.layout.inside(m)...), natsd, file), log: filepath.Join(c.dir, name+".log")})
	return nil
}

// start starts everything, loads the account and makes a token.
func (c *cluster) start() error {
	for _, s := range c.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	first := c.nodes[:min(members, len(c.nodes))]
	for _, n := range first {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range first {
		if err := n.await(); err != nil {
			return err
		}
	}
	file := filepath.Join(c.dir, "account.json")
	if err := os.WriteFile(file, []byte(accountFile), 0o600); err != nil {
		return err
	}
	if _, err := c.command("import", file, "--nats", c.natsURLs[0]); err != nil {
		return err
	}
	var err error
	c.token, err = c.command("token", "--account", accountID, "--ttl", "24h", "--data", filepath.Join(c.dir, first[0].name))
	return err
}

// command runs a subcommand of lamplight and returns its output.
func (c *cluster) command(args ...string) (string, error) {
	out, err := exec.Command(c.product, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("lamplight %s: %w: %s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// end kills every process that still runs.
func (c *cluster) end() {
	for _, n := range c.nodes {
		if p := n.process(); p != nil {
			p.Kill()
		}
	}
	for _, s := range c.servers {
		if s.proc != nil {
			s.proc.Kill()
		}
	}
}

// pick gives a random member, alive or not.
func (c *cluster) pick(r *rand.Rand) *node { return c.nodes[r.IntN(members)] }

// healthy waits until /readyz of every node that runs is 200.
func (c *cluster) healthy(within time.Duration) error {
	deadline := time.Now().Add(within)
	for _, n := range c.nodes {
		p := n.process()
		for p != nil && p.Running() {
			why := n.readyz()
			if why == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("node %s is not ready %v after the fault ended: %w", n.name, within, why)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func (s *server) start() error {
	var err error
	if s.proc, err = local.Launch(s.name, s.log, s.argv...); err != nil {
		return err
	}
	return s.proc.Await(startTimeout)
}

func (n *node) process() *local.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// start starts the node's process. within is a command that is given the node's own as arguments.
func (n *node) start(within ...string) error {
	p, err := local.Launch(n.name, n.log, append(append([]string{}, within...), n.argv...)...)
	if err == nil {
		n.mu.Lock()
		n.proc = p
		n.mu.Unlock()
	}
	return err
}

// await waits until the node is ready.
func (n *node) await() error { return n.process().Await(startTimeout) }

// readyz returns nil if the node answers /readyz with 200.
func (n *node) readyz() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.http+"/readyz", nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = a.Body.Close()
	if a.StatusCode != 200 {
		return fmt.Errorf("GET /readyz is answered %d, not 200", a.StatusCode)
	}
	return nil
}
