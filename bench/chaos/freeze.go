package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A freeze that is longer than all that the product waits for: the frozen node is expelled, and learns so when it wakes.
const (
	longFreeze = "SIGSTOP a node for 11 s"
	frozenFor  = 11 * time.Second
	callEvery  = 250 * time.Millisecond
	callWaits  = 20 * time.Second // how long a caller waits for an answer before it counts as none
	answerTime = 5 * time.Second  // how long an answer at another node may take; the aim is 4 s, and 2.4 s were the longest of 30 freezes
)

// freeze is what callers saw of a node that was frozen: sets of extensions that the node owned when it froze, sent through each
// of the nodes every callEvery, and repeated until one of them succeeded.
type freeze struct {
	node         string
	answer, done []time.Duration // at the other nodes: of each set until its first answer, and until its success
	refused      int             // of the first answers at the other nodes, how many were no success
	frozen       []time.Duration // at the frozen node itself: until the success
}

func (f *freeze) String() string {
	for _, d := range [][]time.Duration{f.answer, f.done, f.frozen} {
		slices.Sort(d)
	}
	if len(f.answer) == 0 || len(f.frozen) == 0 {
		return fmt.Sprintf("%s was frozen for %v, and owned none of the probes", f.node, frozenFor)
	}
	return fmt.Sprintf("%s was frozen for %v. Callers at the other nodes (%d sets, %d of them answered 503 first): an answer after p50 %v, p99 %v, at most %v; "+
		"a success after p50 %v, p99 %v, at most %v. Callers at the frozen node (%d): a success after p50 %v, at most %v", f.node, frozenFor, len(f.answer), f.refused,
		percentile(f.answer, 50), percentile(f.answer, 99), percentile(f.answer, 100), percentile(f.done, 50), percentile(f.done, 99), percentile(f.done, 100),
		len(f.frozen), percentile(f.frozen, 50), percentile(f.frozen, 100))
}

// freezeLong freezes a node for frozenFor while sets of its extensions go to all nodes.
func freezeLong(r *run, machine int, _ time.Duration) error {
	n := r.cluster.nodes[machine-1]
	f := &freeze{node: n.name}
	owned := r.ownedBy(n)
	n.process().Signal(syscall.SIGSTOP)
	begun := time.Now()
	var calls sync.WaitGroup
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	for i := 0; time.Since(begun) < frozenFor && len(owned) > 0; i++ {
		for k, at := range r.cluster.nodes[:members] {
			name := owned[(i*members+k)%len(owned)]
			calls.Go(func() { r.callFrozen(f, n, at, name) })
		}
		<-tick.C
	}
	n.process().Signal(syscall.SIGCONT)
	calls.Wait()
	if len(f.answer) > 0 && slices.Max(f.answer) > answerTime {
		r.history.wrong(fmt.Sprintf("while a node was frozen, a set at another node was answered after %v", slices.Max(f.answer)))
	}
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	r.history.freezes = append(r.history.freezes, *f)
	return nil
}

// callFrozen sets an extension of the frozen node through a node, until that succeeds.
func (r *run) callFrozen(f *freeze, frozen, at *node, name string) {
	begun, first := time.Now(), time.Duration(0)
	for out := unknown; out != acknowledged; {
		var err error
		out, _, _, err = r.client.restWithin(callWaits, at, "POST", "/presence/"+name, json.RawMessage(`{"action":"set","state":"early"}`))
		if out == wrong || time.Since(begun) > giveUpAfter {
			r.history.wrong(fmt.Sprintf("a set of %s through %s, while %s was frozen: %v", name, at.name, frozen.name, err))
			return
		}
		if first == 0 {
			if first = time.Since(begun); at != frozen && out != acknowledged {
				r.history.mu.Lock()
				f.refused++
				r.history.mu.Unlock()
			}
		}
		if out != acknowledged {
			time.Sleep(20 * time.Millisecond)
		}
	}
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	if at == frozen {
		f.frozen = append(f.frozen, time.Since(begun))
		return
	}
	f.answer, f.done = append(f.answer, first), append(f.done, time.Since(begun))
}
