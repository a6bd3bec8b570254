package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var product, natsd string

func TestMain(m *testing.M) {
	if product, natsd = os.Getenv("CHAOS_BINARY"), os.Getenv("CHAOS_NATSD"); product != "" && natsd != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		panic(err)
	}
	product, natsd = filepath.Join(dir, "lamplight"), filepath.Join(dir, "natsd")
	for target, pkg := range map[string]string{product: "lamplight/cmd/lamplight", natsd: "lamplight/bench/chaos/natsd"} {
		build := exec.Command("go", "build", "-o", target, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// long says that `make chaos` runs.
var long = os.Getenv("CHAOS") == "long"

// newSeed is CHAOS_SEED, or a new one.
func newSeed(t *testing.T) uint64 {
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		return n
	}
	return uint64(time.Now().UnixNano()) % 1_000_000
}

// size is how much of each kind of run there is.
type size struct {
	steps, atLeast int
	limit          time.Duration
}

func (s size) plan(t *testing.T, seed uint64, kit []fault) plan {
	t.Logf("CHAOS_SEED=%d replays this schedule", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	steps := schedule(random, kit, s.steps)
	if names := os.Getenv("CHAOS_FAULTS"); names != "" {
		var err error
		if steps, err = only(random, kit, strings.Split(names, ",")); err != nil {
			t.Skip(err)
		}
	}
	return plan{seed: seed, steps: steps, workers: 24, atLeast: s.atLeast, limit: s.limit, logf: t.Logf}
}

func of(short, whole size) size {
	if long {
		return whole
	}
	return short
}

// Nodes with embedded NATS servers.
func TestCluster(t *testing.T) {
	seed := newSeed(t)
	l, err := loopback(rand.New(rand.NewPCG(seed, uint64(os.Getpid()))))
	if err != nil {
		t.Fatal(err)
	}
	prove(t, l, "", of(size{4, 2000, 30 * time.Second}, size{14, 50_000, 210 * time.Second}).plan(t, seed, nodeFaults))
}

// Nodes on NATS servers of their own.
func TestExternalNATS(t *testing.T) {
	if !long {
		t.Skip("a part of make chaos")
	}
	seed := newSeed(t)
	l, err := loopback(rand.New(rand.NewPCG(seed, uint64(os.Getpid()))))
	if err != nil {
		t.Fatal(err)
	}
	kit := append(append([]fault{}, serverFaults...), nodeFaults[0], nodeFaults[2])
	prove(t, l, natsd, size{8, 30_000, 130 * time.Second}.plan(t, seed, kit))
}

// Machines in network namespaces of their own. The test starts itself again in one that is the switch between them.
func TestPartition(t *testing.T) {
	if os.Getenv("CHAOS_HUB") == "" {
		inHub(t)
		return
	}
	l, err := enterHub()
	if err != nil {
		t.Fatal(err)
	}
	kit := append(append([]fault{}, networkFaults...), nodeFaults[2], serverFaults[0])
	p := of(size{2, 1500, 30 * time.Second}, size{9, 20_000, 140 * time.Second}).plan(t, newSeed(t), kit)
	prove(t, l, natsd, p)
}

func inHub(t *testing.T) {
	if out, err := exec.Command("unshare", "--net", "--mount", "ip", "netns", "list").CombinedOutput(); err != nil {
		why := fmt.Sprintf("NO PARTITION WAS TESTED: network namespaces need root and iproute2 (%v: %s)", err, out)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	self := exec.Command("unshare", "--net", "--mount", "--propagation", "private", os.Args[0], "-test.v", "-test.timeout=8m", "-test.run=^TestPartition$")
	self.Env = append(os.Environ(), "CHAOS_HUB=1", "CHAOS_BINARY="+product, "CHAOS_NATSD="+natsd)
	self.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := self.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in the switch's namespace: %v", err)
	}
}

// prove runs a plan on a new cluster, and fails for whatever the checker found.
func prove(t *testing.T, l layout, natsd string, p plan) {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("CHAOS_DIR"); keep != "" {
		dir = filepath.Join(keep, fmt.Sprintf("%s-%d", t.Name(), p.seed))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c, err := newCluster(product, natsd, dir, l)
	if err != nil {
		t.Fatal(err)
	}
	r, err := execute(c, p)
	t.Cleanup(r.close)
	if err != nil {
		t.Errorf("seed %d: %v", p.seed, err)
	}
	if r.history == nil {
		t.FailNow()
	}
	begun := time.Now()
	v := r.check()
	t.Logf("checked in %v\n%s", time.Since(begun).Round(time.Millisecond), r.figures(v))
	for _, f := range append(v.faults(), r.history.wrongs...) {
		t.Errorf("seed %d: %s", p.seed, f)
	}
	if r.history.counts[acknowledged] < p.atLeast/2 || r.ran < len(p.steps) {
		t.Errorf("seed %d: only %d operations and %d faults happened within %v", p.seed, r.history.counts[acknowledged], r.ran, p.limit)
	}
	for _, w := range r.history.windows {
		if o := worst(r.history.ops, w); w.alone && o.took > limitOfWait {
			t.Errorf("seed %d: %s: a %v waited %v for its success", p.seed, w.name, o.kind, o.took)
		}
	}
}
