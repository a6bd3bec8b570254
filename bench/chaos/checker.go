package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// settleTimeout is how long watchers may stay behind, and nodes give no whole answer, after all faults have ended.
const settleTimeout = 40 * time.Second

// verdict is what the checker found.
type verdict struct {
	lost          []string // acknowledged subscriptions that are not listed
	revived       []string // subscriptions that ended or were never made, and are listed
	stuck         []string // lamps that show a call that has ended
	contradictory []string // histories that no order of their operations explains
	behind        []string // watchers whose last NOTIFY is not what is there
	astray        []string // calls on switches that are lit and must be out, or the other way about
	differs       []string // what ends differently on one node alone
	slow          []string // requests that waited too long for their success
	undecided     int      // histories that could not be judged within checkTimeout
	extensions    int
	phones        int
}

// faults are all that the checker found wrong.
func (v *verdict) faults() (all []string) {
	for _, part := range [][]string{v.lost, v.revived, v.stuck, v.contradictory, v.behind, v.astray, v.differs, v.slow} {
		all = append(all, part...)
	}
	return all
}

// check compares what the cluster shows after all faults have ended with what it acknowledged.
func (r *run) check() *verdict {
	phones := r.phones()
	v := &verdict{extensions: len(r.world.all), phones: len(phones)}
	lamps := r.readFinalLamps(v)
	orders := r.checkHistories(v)
	for _, n := range r.cluster.nodes[:members] {
		asked := time.Now()
		data, err := r.wholeListing(n, &asked)
		if err == nil {
			err = v.judgeListing(n.name, data, phones, asked, r.skew())
		}
		if err != nil {
			v.lost = append(v.lost, fmt.Sprintf("%s gives no whole listing within %v: %v", n.name, settleTimeout, err))
		}
	}
	r.checkWatchers(v, lamps)
	v.astray = r.checkSwitches()
	v.slow = slow(r.history.ops, r.history.windows)
	var err error
	if v.differs, err = r.replay(orders, lamps); err != nil {
		v.differs = append(v.differs, fmt.Sprintf("one node alone: %v", err))
	}
	return v
}

// phones gives all phones of the run, also those whose subscription has ended.
func (r *run) phones() (all []*phone) {
	for _, w := range r.workers {
		all = append(append(all, w.phones...), w.endedPhones...)
	}
	return all
}

// skew is how far the nodes' times of day were apart at most.
func (r *run) skew() time.Duration {
	for _, s := range r.steps {
		for _, f := range s.faults {
			if f.name == clockJump {
				return farthestJump
			}
		}
	}
	return 0
}

// readFinalLamps reads every extension once more. These reads are a part of the history, which they end.
func (r *run) readFinalLamps(v *verdict) map[*extension]*shown {
	lamps := map[*extension]*shown{}
	var mu sync.Mutex
	r.each(len(r.world.all), func(i int, x *rand.Rand) {
		e := r.world.all[i]
		o := op{kind: opRead, extension: e, worker: finalReader, tries: 1}
		for begun := time.Now(); time.Since(begun) < settleTimeout; time.Sleep(20 * time.Millisecond) {
			o.begin = r.history.now()
			out, s, stale, _ := r.client.show(r.cluster.pick(x), x.IntN(2) == 0, x.IntN(16), e.name, "")
			if out != acknowledged || stale {
				continue
			}
			var err error
			if o.seen, err = e.lamp(&s); err != nil {
				r.history.wrong(err.Error())
				return
			}
			o.end = r.history.now()
			r.history.add(o)
			mu.Lock()
			defer mu.Unlock()
			lamps[e] = &s
			v.judgeLamp(e.name, o.seen)
			return
		}
		r.history.wrong(fmt.Sprintf("%s could not be read for %v after all faults had ended", e.name, settleTimeout))
	})
	return lamps
}

// judgeLamp judges a lamp after all calls of its extension have ended: only a manual state may be left.
func (v *verdict) judgeLamp(name, seen string) {
	if len(seen) > 1 {
		v.stuck = append(v.stuck, fmt.Sprintf("%s shows %q, and all its calls have ended", name, seen))
	}
}

// each calls f for 0 to n-1, 24 calls at a time, each with random numbers of its own goroutine.
func (r *run) each(n int, f func(i int, x *rand.Rand)) {
	const parallel = 24
	var all sync.WaitGroup
	for first := range parallel {
		all.Go(func() {
			x := rand.New(rand.NewPCG(r.seed, uint64(1000+first)))
			for i := first; i < n; i += parallel {
				f(i, x)
			}
		})
	}
	all.Wait()
}

// checkHistories looks for an order of operations that explains each extension's history, and returns the orders. A history
// that no order explains goes into the verdict, and its picture into the run's directory.
func (r *run) checkHistories(v *verdict) map[*extension][]input {
	of := map[*extension][]op{}
	for _, o := range r.history.ops {
		if o.extension != nil {
			of[o.extension] = append(of[o.extension], o)
		}
	}
	orders := map[*extension][]input{}
	var mu sync.Mutex
	r.each(len(r.world.all), func(i int, _ *rand.Rand) {
		e := r.world.all[i]
		result, info, order := linearizable(of[e])
		mu.Lock()
		defer mu.Unlock()
		switch result {
		case porcupine.Ok:
			orders[e] = order
		case porcupine.Unknown:
			v.undecided++
		case porcupine.Illegal:
			v.contradictory = append(v.contradictory, fmt.Sprintf("the history of %s: no order of its operations explains what was read", e.name))
			if err := porcupine.VisualizePath(model, info, r.cluster.dir+"/contradictory-"+strings.TrimPrefix(e.name, "*")+".html"); err != nil {
				r.logf("%v", err)
			}
		}
	})
	return orders
}

// wholeListing asks a node until its listing has all shards, and returns it. asked is set to when it was asked for that one.
func (r *run) wholeListing(n *node, asked *time.Time) ([]byte, error) {
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		*asked = time.Now()
		out, data, stale, err := r.client.rest(n, "GET", "/presence", nil)
		if out == acknowledged && !stale {
			var l listing
			if err = json.Unmarshal(data, &l); err == nil && !l.Timeout {
				return data, nil
			}
			err = errors.Join(err, fmt.Errorf("shards %v are missing", l.Missing))
		}
		if time.Since(begun) > settleTimeout {
			return nil, err
		}
	}
}

// judgeListing wants every subscription that must be there listed once, and no other. asked is when the listing was asked for.
func (v *verdict) judgeListing(node string, data []byte, phones []*phone, asked time.Time, skew time.Duration) error {
	var l listing
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	times := map[string]int{} // how often each string stands there: a decoder would keep only the last of two equal keys
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if text, ok := t.(string); ok {
			times[text]++
		}
	}
	known := map[string]bool{}
	now := time.Now()
	for _, p := range phones {
		known[p.callID] = true
		_, there := l.Subscriptions[p.extension.name]["dialog"][p.callID]
		may, _ := p.lapsed(now, skew)
		_, must := p.lapsed(asked, skew)
		switch {
		case p.active && !may && !there:
			v.lost = append(v.lost, fmt.Sprintf("%s does not list %s of %s, acknowledged %v ago", node, p.callID, p.extension.name, now.Sub(p.ackedAt)))
		case there && (!p.active || must):
			v.revived = append(v.revived, fmt.Sprintf("%s lists %s of %s, which ended; its last SUBSCRIBE was acknowledged %v ago", node, p.callID, p.extension.name, now.Sub(p.ackedAt)))
		case there && times[p.callID] != 1:
			v.revived = append(v.revived, fmt.Sprintf("%s lists %s %d times", node, p.callID, times[p.callID]))
		}
	}
	for user, packages := range l.Subscriptions {
		for id := range packages["dialog"] {
			if !known[id] && !strings.HasPrefix(id, sipCallBegin) { // the SIP phones judge theirs themselves
				v.revived = append(v.revived, fmt.Sprintf("%s lists %s of %s, which nobody made", node, id, user))
			}
		}
	}
	return nil
}

// checkWatchers waits until each watcher's last NOTIFY shows the final state, at most settleTimeout.
func (r *run) checkWatchers(v *verdict, lamps map[*extension]*shown) {
	edges := map[string]*watcherEdge{}
	for _, e := range r.edges {
		edges[e.name] = e
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		v.behind = v.behind[:0]
		for _, p := range r.phones() {
			may, _ := p.lapsed(time.Now(), r.skew())
			if lamp := lamps[p.extension]; lamp != nil && p.active && !may {
				if why := edges[p.edge].behind(p, lamp); why != "" {
					v.behind = append(v.behind, fmt.Sprintf("watcher %s of %s behind edge %s: %s", p.callID, p.extension.name, p.edge, why))
				}
			}
		}
		v.behind = append(v.behind, r.sipBehind(lamps)...)
		if len(v.behind) == 0 || time.Since(begun) > settleTimeout {
			return
		}
	}
}
