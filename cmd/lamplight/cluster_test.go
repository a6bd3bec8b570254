package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// portsGiven are the ports that this process has given out. Others may not have them again before a node listens there.
var portsGiven sync.Map

// ports returns addresses with ports that are free now, and that no other test gets. The nodes of a cluster must know each other's ports before
// they start. The ports are below those that the kernel gives to connections, of which other tests make thousands meanwhile.
func ports(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, 0, n)
	for tries := 0; len(addresses) < n; tries++ {
		if tries > 10000 {
			t.Fatal("no ports are free")
		}
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if _, taken := portsGiven.LoadOrStore(address, true); taken {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		addresses = append(addresses, address)
	}
	return addresses
}

// three starts three nodes whose embedded NATS servers replicate. It does not wait until they are ready.
func three(t *testing.T, flags ...string) (nodes []*process) {
	t.Helper()
	return newTrio(t).startAll(t, nil, flags...)
}

// trio is the addresses and data directories of three nodes whose embedded NATS servers replicate.
type trio struct {
	dir                     string
	gossip, routes, clients []string
}

func newTrio(t *testing.T) *trio {
	a := ports(t, 9)
	return &trio{dir: t.TempDir(), gossip: a[:3], routes: a[3:6], clients: a[6:]}
}

// startAll starts all three nodes, each behind the command before. It does not wait until they are ready.
func (c *trio) startAll(t *testing.T, before []string, flags ...string) (nodes []*process) {
	t.Helper()
	for i := range c.gossip {
		nodes = append(nodes, c.start(t, i, before, flags...))
	}
	return nodes
}

// start starts a node, behind the command before, and does not wait until it is ready.
func (c *trio) start(t *testing.T, i int, before []string, flags ...string) *process {
	t.Helper()
	name := string(rune('a' + i))
	p := startWith(t, before, filepath.Join(c.dir, name), append([]string{"--node", name, "--gossip", c.gossip[i], "--join", strings.Join(c.gossip, ","),
		"--nats-cluster", c.routes[i], "--nats-listen", c.clients[i]}, flags...)...)
	p.nats = "nats://" + c.clients[i]
	return p
}

// overview returns what `lamplight cluster -o json` prints, and its exit code.
func overview(t *testing.T, url string) (o status.Overview, code int) {
	t.Helper()
	c := exec.Command(binary, "cluster", "-o", "json", "--nats", url, "--interval", "100ms")
	out, err := c.Output()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &o); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
	}
	return o, c.ProcessState.ExitCode()
}

// nodeOf returns what an overview says of a node.
func nodeOf(o status.Overview, name string) (n status.NodeView) {
	for _, n := range o.Nodes {
		if n.Node == name {
			return n
		}
	}
	return n
}

// `lamplight cluster` shows three nodes that share the shards. When one is killed it shows that it is expelled and that the others
// have its shards. One that is frozen it shows as silent.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := three(t)
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	nodes[0].subscribe("1001", subscription("c1"))
	var o status.Overview
	eventually(t, "three nodes that serve", 30*time.Second, func() bool {
		var code int
		o, code = overview(t, nodes[1].nats)
		return code == 0 && len(o.Nodes) == 3 && len(o.Disagreements) == 0
	})
	shards, subscriptions := 0, 0
	for _, n := range o.Nodes {
		if n.State != status.Serving || !n.Member || n.Open != n.Shards || n.Shards < 250 || n.Shards > 430 || n.Takeovers < uint64(n.Shards) {
			t.Errorf("%+v", n)
		}
		shards += n.Shards
		subscriptions += n.Subscriptions
	}
	if shards != 1024 || subscriptions != 1 {
		t.Errorf("%d shards, %d subscriptions", shards, subscriptions)
	}
	if table := nodes[0].lamplight("cluster", "--nats", nodes[0].nats); !strings.Contains(table, "b     serving  yes") {
		t.Errorf("the table:\n%s", table)
	}
	nodes[0].set("1003", "confirmed")
	watch := watchLamps(t, nodes[0].nats, "table")
	nodes[0].set("1003", "early")
	if l := <-watch; !strings.HasSuffix(l, "1003  confirmed -> early") {
		t.Errorf("watched: %s", l)
	}
	_ = nodes[2].cmd.Process.Kill()
	_ = nodes[2].cmd.Wait()
	eventually(t, "c is expelled and its shards are taken over", 60*time.Second, func() bool {
		o, code := overview(t, nodes[0].nats)
		return code == 0 && nodeOf(o, "c").State == status.Expelled && nodeOf(o, "c").Shards == 0 && len(o.Disagreements) == 0 &&
			nodeOf(o, "a").Expulsions+nodeOf(o, "b").Expulsions >= 1
	})
	select {
	case l := <-watch:
		if !strings.Contains(l, "changes may be missing since ") || !strings.HasSuffix(l, ": another node took shards over") {
			t.Errorf("watched: %s", l)
		}
	case <-time.After(30 * time.Second):
		t.Error("presence watch does not mark the takeover")
	}
	if l := <-watch; !strings.HasSuffix(l, "  1003  is early") {
		t.Errorf("watched: %s", l)
	}
	_ = nodes[1].cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, "b is silent, and said to hold claims", 30*time.Second, func() bool {
		o, _ := overview(t, nodes[0].nats)
		return nodeOf(o, "b").State == status.Silent && strings.Contains(strings.Join(o.Disagreements, "\n"), "b holds the claims of")
	})
	_ = nodes[1].cmd.Process.Signal(syscall.SIGCONT)
	if _, code := overview(t, "nats://127.0.0.1:1"); code != 1 {
		t.Errorf("without NATS: exit %d", code)
	}
}

// When the node is killed whose NATS server leads, the servers of the others stand for election before NATS itself notices.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	nodes := three(t)
	for _, n := range nodes {
		n.await()
	}
	leader := func(n *process) string {
		js, err := jetstream.New(n.conn)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "LAMPLIGHT_JOURNAL_0")
		if err != nil || s.CachedInfo().Cluster == nil {
			return ""
		}
		return s.CachedInfo().Cluster.Leader
	}
	was := leader(nodes[0])
	at := slices.Index([]string{"a", "b", "c"}, was)
	if at < 0 {
		t.Fatalf("the leader is %q", was)
	}
	left := slices.Delete(slices.Clone(nodes), at, at+1)
	_ = nodes[at].cmd.Process.Kill()
	_ = nodes[at].cmd.Wait()
	eventually(t, "another leads, and stood for it", 30*time.Second, func() bool {
		now := leader(left[0])
		return now != "" && now != was && strings.Contains(left[0].stderr.String()+left[1].stderr.String(), "lost="+was)
	})
}

// Three nodes come up together also when the journal has only one copy.
func TestOneReplica(t *testing.T) {
	t.Parallel()
	nodes := three(t, "--replicas", "1")
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	nodes[1].subscribe("1001", subscription("c1"))
}

// When two of three nodes are gone there is no majority. Commands say so in few words, and the third node is not ready. When the
// others are back, everything is as before.
func TestMajorityLost(t *testing.T) {
	t.Parallel()
	nodes := three(t)
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	nodes[0].subscribe("1001", subscription("c1"))
	for _, n := range nodes[1:] {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
	url := nodes[0].nats
	file := filepath.Join(t.TempDir(), "backup")
	eventually(t, "NATS has no leader", 60*time.Second, func() bool {
		out, _ := exec.Command(binary, "backup", file, "--nats", url).CombinedOutput()
		return strings.Contains(string(out), "More than half of the NATS servers must be up.")
	})
	fails(t, "More than half of the NATS servers must be up.", "import", "../../docs/examples/acme.json", "--nats", url)
	if out, err := exec.Command(binary, "presence", "list", "--realm", realm, "--nats", url).CombinedOutput(); err == nil || !strings.Contains(string(out), "of 1024 shards (") || len(out) > 1000 {
		t.Errorf("a listing with %v: %.2000s", err, out)
	}
	if out, err := exec.Command("curl", "-s", nodes[0].http+"/readyz").Output(); err != nil || !strings.Contains(string(out), "not ready") {
		t.Errorf("readyz: %s, %v", out, err)
	}
	for i, n := range nodes[1:] {
		args := n.cmd.Args
		nodes[1+i] = start(t, n.data, args[len(args)-10:]...)
	}
	eventually(t, "all is as before", 60*time.Second, func() bool {
		out, err := exec.Command(binary, "presence", "list", "--realm", realm, "--nats", url).Output()
		return err == nil && strings.Contains(string(out), "c1")
	})
}

// A node is stopped after the two others were killed. It can neither hand its shards over nor carry a request out, so it stops after 5 s, and does not wait
// for its parts until the limit of 20 s.
func TestStoppedWithoutMajority(t *testing.T) {
	t.Parallel()
	nodes := three(t)
	for _, n := range nodes {
		n.await()
	}
	for _, n := range nodes[1:] {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
	conn := nodes[0].conn
	err := conn.PublishRequest(subject.SwitchGone, conn.NewInbox(), document("switch_gone", map[string]any{"Switch-URI": "sip:10.0.0.7:5060"}))
	if err = errors.Join(err, conn.Flush()); err != nil {
		t.Fatal(err)
	}
	_ = nodes[0].cmd.Process.Signal(syscall.SIGTERM)
	_ = nodes[0].cmd.Wait()
	if log := nodes[0].stderr.String(); strings.Count(log, "NATS has taken no heartbeat for 5s") != 1 || strings.Contains(log, "part=directory") {
		t.Errorf("it says: %s", log)
	}
}

// A node that is stopped while it waits for others exits with 0.
func TestStoppedWhileWaiting(t *testing.T) {
	t.Parallel()
	gossip, routes := ports(t, 2), ports(t, 1)
	p := start(t, t.TempDir(), "--gossip", gossip[0], "--join", strings.Join(gossip, ","), "--nats-cluster", routes[0])
	eventually(t, "it waits", 20*time.Second, func() bool { return strings.Contains(p.stderr.String(), "waiting for the nodes to join") })
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil || !strings.Contains(p.stderr.String(), "stopped before it was ready") {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
}
