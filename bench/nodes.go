package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lamplight/bench/local"
)

// localCluster is the nodes that a run started on this machine.
type localCluster struct {
	http []string // base URLs, one for each node
	nats []string
	sip  []string // HOST:PORT of the SIP edges in the nodes
	// The addresses of the phones, and of the switch that publishes calls, which the edges trust.
	phones, publisher string
	nodes             []*node
	dir               string // their data and logs
}

// node is one node, as a process.
type node struct {
	name    string
	argv    []string
	log     string
	process *local.Process
}

// startTimeout is how long a node may take until it is ready.
const startTimeout = 90 * time.Second

// startNodes starts s.Nodes nodes of the program at binary, each on an address of its own on loopback, and waits until they
// are ready. If one does not start, it kills all and leaves their logs.
func startNodes(binary string, s *Settings) (*localCluster, error) {
	dir, err := os.MkdirTemp("", "lamplight-bench-")
	if err != nil {
		return nil, err
	}
	p := &localCluster{dir: dir}
	prefix, ports, err := local.Prefix(rand.New(rand.NewPCG(rand.Uint64(), 0)), s.Nodes)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "gossip.key"), []byte(strings.Repeat("0123456789abcdef", 4)), 0o600)
	}
	p.phones, p.publisher = prefix+"100", prefix+"101"
	var join []string
	for m := 1; m <= s.Nodes; m++ {
		join = append(join, local.At(fmt.Sprint(prefix, m), ports.Gossip))
	}
	for m := 1; m <= s.Nodes && err == nil; m++ {
		host := fmt.Sprint(prefix, m)
		name := string(rune('a' + m - 1))
		n := &node{name: name, log: filepath.Join(dir, name+".log"), argv: []string{binary, "serve", "--drain-grace", "0", "--node", name, "--data", filepath.Join(dir, name),
			"--http", local.At(host, ports.HTTP), "--nats-listen", local.At(host, ports.NATS), "--gossip", local.At(host, ports.Gossip), "--gossip-key", filepath.Join(dir, "gossip.key"),
			"--storage", s.Storage, "--sync", s.Sync, "--replicas", fmt.Sprint(s.Replicas), "--notify-rate", fmt.Sprint(s.NotifyRate), "--log-level", "warn"}}
		if s.Nodes > 1 {
			n.argv = append(n.argv, "--join", strings.Join(join, ","), "--nats-cluster", local.At(host, ports.Routes))
		}
		if s.sip() {
			p.sip = append(p.sip, local.At(host, ports.SIP))
			auth := "none"
			if s.Password != "" {
				auth = "digest"
			}
			n.argv = append(n.argv, "--sip-"+s.Transport, local.At(host, ports.SIP), "--sip-auth", auth, "--trust", p.publisher+"/32")
			if s.tls[0] != "" {
				n.argv = append(n.argv, "--sip-tls-cert", s.tls[0], "--sip-tls-key", s.tls[1])
			}
		}
		p.nodes = append(p.nodes, n)
		p.http = append(p.http, "http://"+local.At(host, ports.HTTP))
		p.nats = append(p.nats, "nats://"+local.At(host, ports.NATS))
		err = n.start()
	}
	for _, n := range p.nodes {
		if err == nil {
			err = n.process.Await(startTimeout)
		}
	}
	if err != nil {
		for _, n := range p.nodes {
			if n.process != nil {
				n.process.Kill()
			}
		}
		return nil, err // the logs stay, so that someone can read them
	}
	return p, nil
}

// start starts the node's process. It does not wait until the node is ready.
func (n *node) start() error {
	var err error
	n.process, err = local.Launch("node "+n.name, n.log, n.argv...)
	return err
}

// close ends the nodes with SIGTERM. If remove is true and all of them exit with 0, it deletes their data and logs.
func (p *localCluster) close(remove bool) error {
	errs := make([]error, len(p.nodes))
	var all sync.WaitGroup
	for i, n := range p.nodes {
		if n.process != nil && n.process.Running() {
			all.Go(func() { errs[i] = n.process.Drain(30 * time.Second) })
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil || !remove {
		return err // the logs stay, so that someone can read them
	}
	return os.RemoveAll(p.dir)
}
