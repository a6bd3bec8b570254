package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// fault is something that goes wrong. run does it to a machine (1 to 3), holds it for a time, and undoes it.
type fault struct {
	name      string
	run       func(r *run, machine int, hold time.Duration) error
	exclusive bool // concerns more than one machine, so no other fault happens at the same time

	waitLimit time.Duration // how long a request may wait for its success; 0: limitOfWait
}

// nodeFaults can happen to any cluster.
var nodeFaults = []fault{
	{name: "kill -9 a node", run: killNode},
	{name: "kill -9 two nodes", run: killTwo, exclusive: true},
	{name: "SIGSTOP a node", run: freezeNode},
	{name: longFreeze, run: freezeLong, exclusive: true},
	{name: "drain a node", run: drainNode},
	{name: "rolling restart", run: rollingRestart, exclusive: true},
	{name: "join and drain a fourth node", run: joinFourth},
	{name: "kill -9 everything", run: killAll, exclusive: true},
	{name: "restart of everything", run: restartAll, exclusive: true, waitLimit: 40 * time.Second},
	{name: clockApart, run: shiftBootClock},
	{name: clockJump, run: shiftTimeOfDay},
}

// faultsNamed gives the faults of a kit that have these names.
func faultsNamed(kit []fault, names ...string) (some []fault) {
	for _, f := range kit {
		if slices.Contains(names, f.name) {
			some = append(some, f)
		}
	}
	return some
}

// Names of faults that some machines cannot have, and how far a time of day jumps.
const (
	clockJump    = "a node's time of day jumps"
	clockApart   = "a node whose boot was a day earlier"
	farthestJump = 20 * time.Second // together with maxCallAge and the longest wait it is below the minute that a tombstone lives
)

// serverFaults need a cluster with NATS servers of its own.
var serverFaults = []fault{
	{name: "kill -9 a NATS server", run: killServer},
	{name: "kill -9 a stream's leader", run: killLeader, exclusive: true},
	{name: "SIGSTOP a NATS server", run: freezeServer},
	{name: "no NATS at all", run: killServers, exclusive: true, waitLimit: limitOfWait + 5*time.Second},
}

func killNode(r *run, machine int, hold time.Duration) error {
	n := r.cluster.nodes[machine-1]
	orphans := r.ownedBy(n)
	n.process().Kill()
	r.measureTakeover(n, orphans)
	time.Sleep(hold)
	return r.restart(n)
}

// killTwo kills a machine's node and the next one, so that one of three is left.
func killTwo(r *run, machine int, hold time.Duration) error {
	one, two := r.cluster.nodes[machine-1], r.cluster.nodes[machine%members]
	one.process().Kill()
	two.process().Kill()
	time.Sleep(hold)
	return r.restart(one, two)
}

// killAll kills all nodes and NATS servers at the same moment, and starts them again at once.
func killAll(r *run, _ int, _ time.Duration) error {
	for _, n := range r.cluster.nodes[:members] {
		n.process().Signal(syscall.SIGKILL)
	}
	for _, s := range r.cluster.servers {
		s.proc.Signal(syscall.SIGKILL)
	}
	for _, n := range r.cluster.nodes[:members] {
		n.process().Kill()
	}
	for _, s := range r.cluster.servers {
		s.proc.Kill()
		if err := s.start(); err != nil {
			return err
		}
	}
	return r.restart(r.cluster.nodes[:members]...)
}

func freezeNode(r *run, machine int, hold time.Duration) error {
	p := r.cluster.nodes[machine-1].process()
	p.Signal(syscall.SIGSTOP)
	time.Sleep(hold)
	p.Signal(syscall.SIGCONT)
	return nil
}

func drainNode(r *run, machine int, hold time.Duration) error {
	n := r.cluster.nodes[machine-1]
	if err := r.drain(n); err != nil {
		return err
	}
	time.Sleep(hold / 2)
	return r.restart(n)
}

func rollingRestart(r *run, _ int, _ time.Duration) error {
	for _, n := range r.cluster.nodes[:members] {
		if err := r.drain(n); err != nil {
			return err
		}
		if err := r.restart(n); err != nil {
			return err
		}
		if err := r.cluster.healthy(startTimeout); err != nil {
			return err
		}
	}
	return nil
}

func joinFourth(r *run, _ int, hold time.Duration) error {
	n := r.cluster.nodes[members]
	if err := r.restart(n); err != nil {
		return err
	}
	time.Sleep(hold)
	return r.drain(n)
}

// restartAll ends all nodes at once with SIGTERM, as an operator would, and starts them again. It may take longer than a fault,
// because no node is left to take over and NATS has to elect all its leaders again.
func restartAll(r *run, _ int, _ time.Duration) error {
	nodes := r.cluster.nodes[:members]
	errs := make([]error, members)
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = r.drain(n) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.restart(nodes...)
}

// shiftTimeOfDay sets a node's time of day ahead, then behind, then right again.
func shiftTimeOfDay(r *run, machine int, hold time.Duration) error {
	p := r.cluster.nodes[machine-1].process()
	by := farthestJump - hold
	for _, offset := range []time.Duration{by, -by, 0} {
		if err := setClockOffset(p.PID(), offset.Truncate(time.Second)); err != nil {
			return err
		}
		if offset != 0 {
			time.Sleep(hold / 2)
		}
	}
	return nil
}

// shiftBootClock restarts a node in a time namespace, in which the clocks that count from boot are a day ahead of the others'.
func shiftBootClock(r *run, machine int, hold time.Duration) error {
	n := r.cluster.nodes[machine-1]
	n.process().Kill()
	if err := n.start("unshare", "--time", "--boottime", "86400", "--monotonic", "86400"); err != nil {
		return err
	}
	if err := n.await(); err != nil {
		return err
	}
	time.Sleep(hold)
	n.process().Kill()
	return r.restart(n)
}

func killServer(r *run, machine int, hold time.Duration) error {
	s := r.cluster.servers[machine-1]
	s.proc.Kill()
	time.Sleep(hold)
	return s.start()
}

// killLeader kills the NATS server that leads the journal's first stream.
func killLeader(r *run, _ int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	js, err := jetstream.New(r.client.busConns[0].conn)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "LAMPLIGHT_JOURNAL_0")
	if err != nil {
		return fmt.Errorf("cannot ask NATS who leads the first stream: %w", err)
	}
	leader := stream.CachedInfo().Cluster.Leader
	for _, s := range r.cluster.servers {
		if s.name == leader {
			s.proc.Kill()
			time.Sleep(hold)
			return s.start()
		}
	}
	return fmt.Errorf("the leader of the first stream is %q, which is none of the NATS servers", leader)
}

func freezeServer(r *run, machine int, hold time.Duration) error {
	p := r.cluster.servers[machine-1].proc
	p.Signal(syscall.SIGSTOP)
	time.Sleep(hold)
	p.Signal(syscall.SIGCONT)
	return nil
}

// killServers kills all NATS servers, so that the nodes have none for a time.
func killServers(r *run, _ int, hold time.Duration) error {
	for _, s := range r.cluster.servers {
		s.proc.Kill()
	}
	time.Sleep(hold)
	for _, s := range r.cluster.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

// restart starts nodes and waits until they are ready.
func (r *run) restart(nodes ...*node) error {
	for _, n := range nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := n.await(); err != nil {
			return err
		}
	}
	return nil
}

// drain ends a node with SIGTERM, as an operator would, and notes from when to when.
func (r *run) drain(n *node) error {
	w := window{detail: "drain of " + n.name, begin: r.history.now()}
	err := n.process().Drain(30 * time.Second)
	w.end = r.history.now()
	r.history.mu.Lock()
	r.drains = append(r.drains, w)
	r.history.mu.Unlock()
	return err
}

// probes is how many extensions measureTakeover has for itself.
const probes = 60

func probe(i int) string { return fmt.Sprintf("probe-%d", i) }

// ownedBy gives the probes that a node owns. No worker uses a probe.
func (r *run) ownedBy(n *node) (owned []string) {
	for i := range probes {
		if out, s, _, _ := r.client.show(n, false, 0, probe(i), "?explain=true"); out == acknowledged && s.Explain.Node == n.name {
			owned = append(owned, probe(i))
		}
	}
	return owned
}

// measureTakeover asks the other nodes for the extensions of a killed one, until a read and a set of each succeed.
func (r *run) measureTakeover(killed *node, orphans []string) {
	begun := time.Now()
	var others []*node
	for _, n := range r.cluster.nodes[:members] {
		if n != killed && n.process().Running() {
			others = append(others, n)
		}
	}
	var all sync.WaitGroup
	for i, name := range orphans {
		all.Go(func() {
			var t takeover
			until := func(ask func(*node) outcome) time.Duration {
				for try := i; time.Since(begun) < giveUpAfter; try++ {
					if ask(others[try%len(others)]) == acknowledged {
						return time.Since(begun)
					}
					time.Sleep(10 * time.Millisecond)
				}
				r.history.wrong(fmt.Sprintf("%s was not served within %v of the end of %s", name, giveUpAfter, killed.name))
				return giveUpAfter
			}
			var both sync.WaitGroup
			both.Go(func() {
				t.read = until(func(n *node) outcome {
					out, _, stale, _ := r.client.show(n, false, 0, name, "")
					if stale {
						return refused
					}
					return out
				})
			})
			both.Go(func() {
				t.write = until(func(n *node) outcome {
					out, _, _, _ := r.client.rest(n, "POST", "/presence/"+name, json.RawMessage(`{"action":"set","state":"early"}`))
					return out
				})
			})
			both.Wait()
			r.history.mu.Lock()
			r.history.takeover = append(r.history.takeover, t)
			r.history.mu.Unlock()
		})
	}
	all.Wait()
}

// step is one fault, or two at once on different machines.
type step struct {
	pause    time.Duration // before the step
	faults   []fault
	machines []int
	holds    []time.Duration
}

// names gives the names of faults.
func names(kit []fault) (all []string) {
	for _, f := range kit {
		all = append(all, f.name)
	}
	return all
}

// namedSteps makes a schedule of the faults with these names, in their order, one after the other.
func namedSteps(r *rand.Rand, kit []fault, wanted []string, hold time.Duration) (all []step, err error) {
	for _, name := range wanted {
		i := slices.IndexFunc(kit, func(f fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no fault here is named %q; the names, separated by commas, are: %s", name, strings.Join(names(kit), ", "))
		}
		s := step{pause: time.Second}
		s.add(r, kit[i], 1+r.IntN(members), hold)
		all = append(all, s)
	}
	return all, nil
}

// schedule makes steps of random faults. Every fault comes once, in random order, before any comes again; from then on two may
// come at once. No fault is held for longer than hold.
func schedule(r *rand.Rand, kit []fault, steps int, hold time.Duration) (all []step) {
	order := r.Perm(len(kit))
	for i := range steps {
		f := kit[r.IntN(len(kit))]
		if i < len(order) {
			f = kit[order[i]]
		}
		s := step{pause: time.Duration(r.Int64N(int64(hold / 2)))}
		machine := 1 + r.IntN(members)
		s.add(r, f, machine, hold)
		if second := kit[r.IntN(len(kit))]; i >= len(order) && !f.exclusive && !second.exclusive && r.IntN(3) == 0 {
			s.add(r, second, 1+machine%members, hold)
		}
		all = append(all, s)
	}
	return all
}

// add puts a fault into the step, held for a random time between a quarter of hold and hold.
func (s *step) add(r *rand.Rand, f fault, machine int, hold time.Duration) {
	s.faults, s.machines = append(s.faults, f), append(s.machines, machine)
	s.holds = append(s.holds, hold/4+time.Duration(r.Int64N(int64(hold*3/4))))
}

// seeded gives the random numbers of a seed's schedule.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
