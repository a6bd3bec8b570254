package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lamplight/tools/need"
)

// long says whether this is a long run (`make chaos`).
var long = os.Getenv("CHAOS") == "long"

// scratch is a directory for what is built, until the tests end.
var scratch string

// TestMain makes the scratch directory, and after a long run prints the totals of all runs.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "chaos"); err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		if size := os.Getenv("CHAOS"); size != "" && !long {
			fmt.Printf("CHAOS is %q; it must be \"long\", or not set for a short run\n", size)
			return 2
		}
		inside := os.Getenv("CHAOS_TOTALS") != ""
		if !inside {
			_ = os.Setenv("CHAOS_TOTALS", filepath.Join(scratch, "totals"))
		}
		code := m.Run()
		if sum, runs := sumTotals(); !inside && runs > 0 && long {
			fmt.Printf("ALL %d RUNS TOGETHER\n%v", runs, sum)
		}
		return code
	}())
}

// noteTotals appends a run's totals to the file that TestMain adds up. It is a file because TestPartition runs in a process of
// its own.
func noteTotals(t *totals) error {
	f, err := os.OpenFile(os.Getenv("CHAOS_TOTALS"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(t)
}

// sumTotals adds up what noteTotals wrote.
func sumTotals() (sum *totals, runs int) {
	sum = newTotals()
	f, err := os.Open(os.Getenv("CHAOS_TOTALS"))
	if err != nil {
		return sum, 0
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; runs++ {
		one := newTotals()
		if d.Decode(one) != nil {
			return sum, runs
		}
		sum.add(one)
	}
}

// programs builds the product as it is shipped, without the race detector, and natsd. CHAOS_BINARY and CHAOS_NATSD name programs
// that are built already.
var programs = sync.OnceValues(func() (built [2]string, err error) {
	if built = [2]string{os.Getenv("CHAOS_BINARY"), os.Getenv("CHAOS_NATSD")}; built[0] != "" && built[1] != "" {
		return built, nil
	}
	for i, pkg := range []string{"lamplight/cmd/lamplight", "lamplight/bench/chaos/natsd"} {
		built[i] = filepath.Join(scratch, filepath.Base(pkg))
		build := exec.Command("go", "build", "-o", built[i], pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return built, fmt.Errorf("go build %s: %w: %s", pkg, err, out)
		}
	}
	return built, nil
})

// newSeed gives CHAOS_SEED, or a new seed.
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

// size is how long a run is.
type size struct {
	steps, atLeast int
	hold           time.Duration // of a fault, at most
}

// newPlan makes the plan of a run: of the size whole under `make chaos`, else of the size short. CHAOS_FAULTS replaces its
// schedule.
func newPlan(t *testing.T, seed uint64, kit []fault, short, whole size) plan {
	t.Logf("CHAOS_SEED=%d replays this schedule", seed)
	s, limit := short, 4*time.Minute
	if long {
		s, limit = whole, 10*time.Minute
	}
	random := seeded(seed)
	steps := schedule(random, kit, s.steps, s.hold)
	if names := os.Getenv("CHAOS_FAULTS"); names != "" {
		var err error
		if steps, err = namedSteps(random, kit, strings.Split(names, ","), s.hold); err != nil {
			t.Fatalf("CHAOS_FAULTS: %v", err)
		}
	}
	return plan{seed: seed, steps: steps, workers: 20, repeaters: 4, switchers: 3, atLeast: s.atLeast, limit: limit, logf: t.Logf}
}

// TestMisspeltFault checks that a name in CHAOS_FAULTS that is no fault of a test fails the test, and that the test lists its faults.
func TestMisspeltFault(t *testing.T) {
	self := exec.Command(os.Args[0], "-test.run=^TestCluster$")
	self.Env = append(os.Environ(), "CHAOS_FAULTS=drain a node,kil -9 a node", "CHAOS_BINARY=none", "CHAOS_NATSD=none")
	out, err := self.CombinedOutput()
	if err == nil {
		t.Errorf("TestCluster passes with a misspelt fault:\n%s", out)
	}
	for _, want := range append(names(nodeFaults[:3]), `CHAOS_FAULTS: no fault here is named "kil -9 a node"`) {
		if !strings.Contains(string(out), want) {
			t.Errorf("TestCluster with a misspelt fault does not say %q:\n%s", want, out)
		}
	}
}

// TestCluster runs three nodes with embedded NATS servers.
func TestCluster(t *testing.T) {
	seed := newSeed(t)
	l, err := loopback(rand.New(rand.NewPCG(seed, uint64(os.Getpid()))))
	if err != nil {
		t.Fatal(err)
	}
	kit := append(append([]fault{}, nodeFaults...), sipFaults...)
	if !need.Has(t, canJump, needOfJump, clockJump) {
		kit = slices.DeleteFunc(kit, func(f fault) bool { return f.name == clockJump })
	}
	if !need.Has(t, os.Geteuid() == 0, "root, whom a time namespace needs, for %q", clockApart) {
		kit = slices.DeleteFunc(kit, func(f fault) bool { return f.name == clockApart })
	}
	p := newPlan(t, seed, kit, size{2, 1500, 2 * time.Second}, size{18, 50_000, 5 * time.Second})
	p.sip = true
	runAndCheck(t, l, false, p)
}

// TestExternalNATS runs three nodes on three NATS servers in processes of their own.
func TestExternalNATS(t *testing.T) {
	seed := newSeed(t)
	l, err := loopback(rand.New(rand.NewPCG(seed, uint64(os.Getpid()))))
	if err != nil {
		t.Fatal(err)
	}
	kit := append(append(faultsNamed(nodeFaults, "kill -9 a node", "SIGSTOP a node", longFreeze), serverFaults...), sipFaults...)
	p := newPlan(t, seed, kit, size{1, 1000, 2 * time.Second}, size{11, 30_000, 5 * time.Second})
	p.sip = true
	runAndCheck(t, l, true, p)
}

// TestPartition runs the same in network namespaces, one for each machine. It starts itself again in a namespace that is the switch
// between them.
func TestPartition(t *testing.T) {
	if os.Getenv("CHAOS_HUB") == "" {
		inHub(t)
		return
	}
	l, err := enterHub()
	if err != nil {
		t.Fatal(err)
	}
	kit := append(append([]fault{}, networkFaults...), append(faultsNamed(nodeFaults, "SIGSTOP a node"), faultsNamed(serverFaults, "kill -9 a NATS server")...)...)
	runAndCheck(t, l, true, newPlan(t, newSeed(t), kit, size{1, 1000, 2 * time.Second}, size{10, 24_000, 5 * time.Second}))
}

// inHub starts the test again in a namespace of its own, and takes over its result.
func inHub(t *testing.T) {
	need.Met(t, os.Getenv("LAMPLIGHT_NO_NETNS") != "1", "network namespaces, and LAMPLIGHT_NO_NETNS=1 says that this machine has none")
	if out, err := exec.Command("unshare", "--net", "--mount", "ip", "netns", "list").CombinedOutput(); err != nil {
		t.Fatalf("network namespaces need root, util-linux (unshare) and iproute2 (ip): %v: %s; LAMPLIGHT_NO_NETNS=1 skips this test on a developer's machine", err, out)
	}
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	self := exec.Command("unshare", "--net", "--mount", "--propagation", "private", os.Args[0], "-test.v", "-test.timeout=15m", "-test.run=^TestPartition$")
	self.Env = append(os.Environ(), "CHAOS_HUB=1", "CHAOS_BINARY="+built[0], "CHAOS_NATSD="+built[1])
	self.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := self.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the test failed in the namespace of the switch: %v", err)
	}
}

// runAndCheck carries out a plan on a new cluster, and fails the test for everything that the checker finds.
func runAndCheck(t *testing.T, l layout, serversApart bool, p plan) {
	t.Helper()
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if keep := os.Getenv("CHAOS_DIR"); keep != "" {
		dir = filepath.Join(keep, fmt.Sprintf("%s-%d", t.Name(), p.seed))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	natsd := ""
	if serversApart {
		natsd = built[1]
	}
	c, err := newCluster(built[0], natsd, dir, l)
	if err != nil {
		t.Fatal(err)
	}
	r, err := execute(c, p)
	t.Cleanup(r.close)
	if err != nil {
		t.Errorf("seed %d: %v", p.seed, err)
	}
	if r.history == nil || r.client == nil {
		t.FailNow()
	}
	begun := time.Now()
	v := r.check()
	t.Logf("checked in %v\n%s", time.Since(begun).Round(time.Millisecond), r.figures(v))
	for _, f := range append(v.faults(), r.history.wrongs...) {
		t.Errorf("seed %d: %s", p.seed, f)
	}
	if v.undecided > len(r.world.all)/20 {
		t.Errorf("seed %d: %d of %d histories are undecided", p.seed, v.undecided, len(r.world.all))
	}
	if err := noteTotals(r.totals(v)); err != nil {
		t.Error(err)
	}
}
