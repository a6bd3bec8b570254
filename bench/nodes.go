package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
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
	name  string
	argv  []string
	log   string
	cmd   *exec.Cmd
	ready chan struct{}
	ended chan struct{}
}

const starting = 90 * time.Second

// startNodes starts nodes of the program at binary on addresses of their own on loopback.
func startNodes(binary string, s *Settings) (*place, error) {
	dir, err := os.MkdirTemp("", "lamplight-bench-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir}
	prefix, err := freeAddresses(s.Nodes)
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
			"--storage", s.Storage, "--sync", s.Sync, "--notify-rate", fmt.Sprint(s.NotifyRate), "--log-level", "warn"}}
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
			err = n.await()
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// freeAddresses finds a part of loopback that nothing listens in.
func freeAddresses(n int) (prefix string, err error) {
	for range 100 {
		prefix = fmt.Sprintf("127.%d.%d.", 64+rand.IntN(128), rand.IntN(256))
		free := true
		for m := 1; m <= n; m++ {
			for _, port := range []string{":4222", ":6222", ":7946", ":8000"} {
				l, e := net.Listen("tcp", fmt.Sprint(prefix, m, port))
				if e != nil {
					free, err = false, e
					continue
				}
				_ = l.Close()
			}
		}
		if free {
			return prefix, nil
		}
	}
	return "", fmt.Errorf("no addresses are free on loopback: %w", err)
}

func (n *node) start() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n.ready, n.ended = make(chan struct{}), make(chan struct{})
	n.cmd = exec.Command(n.argv[0], n.argv[1:]...)
	n.cmd.Stderr = log
	n.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LAMPLIGHT_") }) // settings of other nodes
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := n.cmd.StdoutPipe()
	if err == nil {
		err = n.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	go n.follow(out, log, n.cmd, n.ready, n.ended)
	return nil
}

func (n *node) follow(out io.Reader, log io.WriteCloser, cmd *exec.Cmd, ready, ended chan struct{}) {
	said := false
	for s := bufio.NewScanner(out); s.Scan(); {
		_, _ = fmt.Fprintln(log, s.Text())
		if !said && strings.Contains(s.Text(), "is ready") {
			said = true
			close(ready)
		}
	}
	_ = cmd.Wait()
	_ = log.Close()
	close(ended)
}

func (n *node) await() error {
	select {
	case <-n.ready:
		return nil
	case <-n.ended:
		return fmt.Errorf("node %s ended: %v: %s", n.name, n.cmd.ProcessState, n.tail())
	case <-time.After(starting):
		return fmt.Errorf("node %s is not ready after %v: %s", n.name, starting, n.tail())
	}
}

// tail is the end of what it said.
func (n *node) tail() string {
	b, _ := os.ReadFile(n.log)
	return strings.TrimSpace(string(b[max(0, len(b)-500):]))
}

func (n *node) kill() {
	_ = n.cmd.Process.Signal(syscall.SIGKILL)
	<-n.ended
}

// close ends the nodes that the run started, and removes their data.
func (p *place) close() error {
	for _, n := range p.nodes {
		if n.cmd != nil && n.cmd.Process != nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	var all error
	for _, n := range p.nodes {
		if n.cmd == nil || n.cmd.Process == nil {
			continue
		}
		select {
		case <-n.ended:
		case <-time.After(20 * time.Second):
			n.kill()
			all = errors.Join(all, fmt.Errorf("node %s did not end within 20 s of SIGTERM", n.name))
		}
	}
	if p.dir != "" {
		all = errors.Join(all, os.RemoveAll(p.dir))
	}
	return all
}
