package ownership

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lamplight/cluster/ring"
)

// simulate plays one seed. The result's check.err says what was wrong.
func simulate(seed uint64, off simOff, tracing bool) *sim {
	s := &sim{rng: rand.New(rand.NewPCG(seed, 1)), off: off, check: newChecker(), tracing: tracing, now: time.Hour}
	for i := range 2 {
		st := &stream{sim: s, number: i}
		st.create()
		s.streams = append(s.streams, st)
	}
	for _, name := range []string{"a", "b", "c"} {
		n := &simNode{sim: s, name: name, cut: map[int]Time{}}
		n.shards = make([]*simShard, simShards)
		for i := range n.shards {
			n.shards[i] = &simShard{id: i}
		}
		s.nodes = append(s.nodes, n)
		s.after(s.between(0, 300*time.Millisecond), n.start)
	}
	s.after(time.Second, s.faults)
	s.after(time.Second, s.clients)
	if off.switches() || off == (simOff{}) && seed%2 == 0 { // half of the schedules have no switches
		s.after(time.Second, s.switchClients)
		s.silentAtEnd = seed%4 == 0
		for i := range simSwitches {
			s.after(time.Second, func() { s.speak(i) })
		}
	}
	s.run(time.Hour + 9*time.Second)
	s.heal()
	s.run(s.now + 20*time.Second) // a claim that nobody can read may take two times 10 s
	if s.check.err == nil {
		s.finish()
	}
	return s
}

// seeds returns how many schedules a test plays: LAMPLIGHT_SEEDS, or as many as take a few seconds.
func seeds(t *testing.T) uint64 {
	if v := os.Getenv("LAMPLIGHT_SEEDS"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("LAMPLIGHT_SEEDS: %v", err)
		}
		return n
	}
	return defaultSeeds
}

// search plays the seeds from 1 to n on all cores, until one fails. It returns the lowest that failed, and counts of what
// was done.
func search(n uint64, off simOff) (failed uint64, found bool, done counts) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := uint64(next.Add(1))
				mu.Lock()
				stop := found || seed > n
				mu.Unlock()
				if stop {
					return
				}
				s := simulate(seed, off, false)
				mu.Lock()
				done.add(&s.check)
				if s.check.err != nil && (!found || seed < failed) {
					failed, found = seed, true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed, found, done
}

// counts is what was done in several schedules together.
type counts struct{ acked, reads, stale, noops, told, news, gone, silent, anew, carried, written int }

func (c *counts) add(k *checker) {
	c.acked, c.reads, c.stale, c.noops, c.told = c.acked+k.acked, c.reads+k.reads, c.stale+k.stale, c.noops+k.noops, c.told+k.told
	c.carried, c.written = c.carried+k.carried, c.written+k.written
	c.news, c.gone, c.silent, c.anew = c.news+k.news, c.gone+k.goneAcked, c.silent+k.lapsed, c.anew+k.saidBefore
}

// TestSimulation plays thousands of schedules. With LAMPLIGHT_SEED=n it plays one seed and prints its story.
func TestSimulation(t *testing.T) {
	if v := os.Getenv("LAMPLIGHT_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("LAMPLIGHT_SEED: %v", err)
		}
		s := simulate(seed, simOff{}, true)
		t.Log("\n" + strings.Join(s.trace, "\n"))
		if s.check.err != nil {
			t.Fatalf("seed %d: %v", seed, s.check.err)
		}
		return
	}
	n := seeds(t)
	failed, found, done := search(n, simOff{})
	if found {
		s := simulate(failed, simOff{}, true)
		t.Fatalf("%s\nseed %d: %v\nplay it again: LAMPLIGHT_SEED=%d go test -run TestSimulation ./cluster/ownership",
			strings.Join(s.trace, "\n"), failed, s.check.err, failed)
	}
	t.Logf("%d schedules: %d acknowledged writes, %d acknowledged commands that changed nothing, %d reads, %d stale reads, %d NOTIFYs", n,
		done.acked, done.noops, done.reads, done.stale, done.told)
	t.Logf("of switches: %d acknowledged news of calls, %d switches gone, %d sources that fell silent, %d that were started again", done.news, done.gone, done.silent, done.anew)
	t.Logf("%d bytes of records were written, %d carried on", done.written, done.carried)
	if least := int(n); min(done.acked, done.reads, done.told, done.noops, 10*done.stale, done.news, done.gone, 2*done.silent, 4*done.anew) < least || done.carried < done.written/10 {
		t.Error("the schedules did too little to show anything")
	}
}

// TestSimulationFinds shows that the simulation can fail: with a rule switched off, it finds what the rule prevents.
func TestSimulationFinds(t *testing.T) {
	for name, off := range map[string]simOff{
		"1 lease check":       {Off: Off{LeaseCheck: true}},
		"1 stale commands":    {StaleCommands: true},
		"2 expel":             {Off: Off{Expel: true}},
		"4 fence":             {Fence: true},
		"5 spend the claim":   {SpendClaim: true},
		"6 replay guard":      {Off: Off{ReplayGuard: true}},
		"7 commit, then tell": {CommitFirst: true},
		"8 no NOTIFY while a claim is on its way": {Off: Off{NotifyPause: true}},

		"9 carry on what lives": {Ring: ring.Off{Carry: true}},

		"6 the switches that are gone":          {Departed: true},
		"7 a switch is gone: commit, then tell": {AckEarly: true},
		"a switch is gone: keep it, then end":   {KeepFirst: true},
		"the moment is what was said":           {Moment: true},
		"of two moments the later":              {LastMoment: true},
		"a source has its whole time again":     {WholeTime: true},
	} {
		t.Run(name, func(t *testing.T) {
			failed, found, _ := search(6000, off)
			if !found {
				t.Fatal("without the rule nothing was wrong in 6,000 schedules")
			}
			t.Logf("seed %d: %v", failed, simulate(failed, off, false).check.err)
		})
	}
}

// A seed gives the same schedule each time.
func TestSimulationReplays(t *testing.T) {
	a, b := simulate(7, simOff{}, true), simulate(7, simOff{}, true)
	if strings.Join(a.trace, "\n") != strings.Join(b.trace, "\n") || a.count != b.count {
		t.Fatal("the same seed told two stories")
	}
}
