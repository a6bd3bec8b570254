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

// place is the cluster that a run drives.
type place struct {
	http  []string // base URLs, one for each node
	nats  []string
	nodes []*node // those that the run started
	dir   string
}

// node is one node that the run started, as a process.
type node struct {
	name    string
	argv    []string
	log     string
	process *local.Process
}

const starting = 90 * time.Second

// startNodes starts nodes of the program at binary on addresses of their own on loopback.
func startNodes(binary string, s *Settings) (*place, error) {
	dir, err := os.MkdirTemp("", "lamplight-bench-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir}
	prefix, err := local.Prefix(rand.New(rand.NewPCG(rand.Uint64(), 0)), s.Nodes)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "gossip.key"), []byte(strings.Repeat("0123456789abcdef", 4)), 0o600)
	}
	var join []string
	for m := 1; m <= s.Nodes; m++ {
		join = append(join, fmt.Sprint(prefix, m, ":7946"))
	}
	for m := 1; m <= s.Nodes && err == nil; m++ {
		host := fmt.Sprint(prefix, m)
		name := string(rune('a' + m - 1))
		n := &node{name: name, log: filepath.Join(dir, name+".log"), argv: []string{binary, "serve", "--node", name, "--data", filepath.Join(dir, name),
			"--http", host + ":8000", "--nats-listen", host + ":4222", "--gossip", host + ":7946", "--gossip-key", filepath.Join(dir, "gossip.key"),
			"--storage", s.Storage, "--sync", s.Sync, "--replicas", fmt.Sprint(s.Replicas), "--notify-rate", fmt.Sprint(s.NotifyRate), "--log-level", "warn"}}
		if s.Nodes > 1 {
			n.argv = append(n.argv, "--join", strings.Join(join, ","), "--nats-cluster", host+":6222")
		}
		p.nodes = append(p.nodes, n)
		p.http = append(p.http, "http://"+host+":8000")
		p.nats = append(p.nats, "nats://"+host+":4222")
		err = n.start()
	}
	for _, n := range p.nodes {
		if err == nil {
			err = n.process.Await(starting)
		}
	}
	if err != nil {
		for _, n := range p.nodes {
			if n.process != nil {
				n.process.Kill()
			}
		}
		return nil, err // what the nodes wrote stays
	}
	return p, nil
}

func (n *node) start() error {
	var err error
	n.process, err = local.Launch("node "+n.name, n.log, n.argv...)
	return err
}

// close ends the nodes that the run started, and removes their data if they did so well and nothing was wrong.
func (p *place) close(remove bool) error {
	errs := make([]error, len(p.nodes))
	var all sync.WaitGroup
	for i, n := range p.nodes {
		if n.process != nil && n.process.Running() {
			all.Go(func() { errs[i] = n.process.Drain(30 * time.Second) })
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil || !remove {
		return err // what the nodes wrote stays
	}
	return os.RemoveAll(p.dir)
}
