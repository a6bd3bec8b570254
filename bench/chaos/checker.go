package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// settling is how long watchers may stay behind after all has healed.
const settling = 40 * time.Second

// verdict is what the checker found.
type verdict struct {
	lost       []string // acknowledged, and not there
	revived    []string // ended, and there
	stuck      []string // lamps that show a call that ended
	torn       []string // histories that no order of their operations explains
	behind     []string // watchers whose last NOTIFY is not what is there
	undecided  int
	extensions int
	phones     int
}

func (v *verdict) faults() (all []string) {
	for _, part := range [][]string{v.lost, v.revived, v.stuck, v.torn, v.behind} {
		all = append(all, part...)
	}
	return all
}

// check compares what the healed cluster shows with what was acknowledged.
func (r *run) check() *verdict {
	v := &verdict{extensions: len(r.world.all)}
	lamps := r.finalLamps(v)
	r.checkHistories(v)
	for _, n := range r.cluster.nodes[:members] {
		r.checkListing(v, n)
	}
	r.checkWatchers(v, lamps)
	return v
}

// finalLamps reads every extension once more; that is a part of its history.
func (r *run) finalLamps(v *verdict) map[*extension]*shown {
	lamps := map[*extension]*shown{}
	var mu sync.Mutex
	r.each(len(r.world.all), func(i int, x *rand.Rand) {
		e := r.world.all[i]
		o := op{kind: opRead, extension: e, worker: -1, tries: 1}
		for begun := time.Now(); time.Since(begun) < settling; time.Sleep(20 * time.Millisecond) {
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
			if len(o.seen) > 1 {
				v.stuck = append(v.stuck, fmt.Sprintf("%s shows %q, and all its calls have ended", e.name, o.seen))
			}
			return
		}
		r.history.wrong(fmt.Sprintf("%s could not be read for %v after all had healed", e.name, settling))
	})
	return lamps
}

// each runs f for 0 to n-1, a few at a time.
func (r *run) each(n int, f func(i int, x *rand.Rand)) {
	const abreast = 8
	var all sync.WaitGroup
	for first := range abreast {
		all.Go(func() {
			x := rand.New(rand.NewPCG(r.seed, uint64(1000+first)))
			for i := first; i < n; i += abreast {
				f(i, x)
			}
		})
	}
	all.Wait()
}

func (r *run) checkHistories(v *verdict) {
	of := map[*extension][]op{}
	for _, o := range r.history.ops {
		if o.extension != nil {
			of[o.extension] = append(of[o.extension], o)
		}
	}
	var mu sync.Mutex
	r.each(len(r.world.all), func(i int, _ *rand.Rand) {
		e := r.world.all[i]
		result, info := linearizable(of[e])
		mu.Lock()
		defer mu.Unlock()
		switch result {
		case porcupine.Unknown:
			v.undecided++
		case porcupine.Illegal:
			v.torn = append(v.torn, fmt.Sprintf("the history of %s: no order of its operations explains what was read", e.name))
			if err := porcupine.VisualizePath(model, info, r.cluster.dir+"/torn-"+strings.TrimPrefix(e.name, "*")+".html"); err != nil {
				r.logf("%v", err)
			}
		}
	})
}

// checkListing wants every subscription that must be there exactly once, and none that must not.
func (r *run) checkListing(v *verdict, n *node) {
	var l listing
	var data json.RawMessage
	asked := time.Now()
	for begun := asked; ; time.Sleep(50 * time.Millisecond) {
		asked = time.Now()
		out, d, stale, err := r.client.rest(n, "GET", "/presence", nil)
		if out == acknowledged && !stale {
			if l = (listing{}); json.Unmarshal(d, &l) == nil && !l.Timeout {
				data = d
				break
			}
			err = fmt.Errorf("shards %v are missing", l.Missing)
		}
		if time.Since(begun) > settling {
			v.lost = append(v.lost, fmt.Sprintf("%s gives no whole listing for %v: %v", n.name, settling, err))
			return
		}
	}
	known := map[string]bool{}
	v.phones = 0
	for _, w := range r.workers {
		for _, p := range append(append([]*phone{}, w.phones...), w.gone...) {
			known[p.callID] = true
			v.phones++
			_, there := l.Subscriptions[p.extension.name]["dialog"][p.callID]
			may, _ := p.lapsed(time.Now())
			_, must := p.lapsed(asked)
			switch {
			case p.active && !may && !there:
				v.lost = append(v.lost, fmt.Sprintf("%s does not list %s of %s, acknowledged at %v", n.name, p.callID, p.extension.name, p.renewed.Sub(r.history.zero)))
			case there && (!p.active || must):
				v.revived = append(v.revived, fmt.Sprintf("%s lists %s of %s, which ended at %v", n.name, p.callID, p.extension.name, p.renewed.Sub(r.history.zero)))
			case there && strings.Count(string(data), `"`+p.callID+`"`) != 1:
				v.revived = append(v.revived, fmt.Sprintf("%s lists %s more than once", n.name, p.callID))
			}
		}
	}
	for user, packages := range l.Subscriptions {
		for id := range packages["dialog"] {
			if !known[id] {
				v.revived = append(v.revived, fmt.Sprintf("%s lists %s of %s, which nobody made", n.name, id, user))
			}
		}
	}
}

// checkWatchers waits until each watcher's last NOTIFY carries the final state.
func (r *run) checkWatchers(v *verdict, lamps map[*extension]*shown) {
	edges := map[string]*edge{}
	for _, e := range r.edges {
		edges[e.name] = e
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		v.behind = v.behind[:0]
		for _, w := range r.workers {
			for _, p := range append(append([]*phone{}, w.phones...), w.gone...) {
				may, _ := p.lapsed(time.Now())
				if lamp := lamps[p.extension]; lamp != nil && p.active && !may {
					if why := edges[p.edge].behind(p, lamp); why != "" {
						v.behind = append(v.behind, fmt.Sprintf("watcher %s of %s behind %s: %s", p.callID, p.extension.name, p.edge, why))
					}
				}
			}
		}
		if len(v.behind) == 0 || time.Since(begun) > settling {
			return
		}
	}
}
