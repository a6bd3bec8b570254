package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// plan says what a run is to do.
type plan struct {
	seed      uint64
	steps     []step
	workers   int
	repeaters int           // further workers, which repeat sets
	switchers int           // and such as tell of calls on switches
	atLeast   int           // acknowledged operations: after its steps the run goes on until there are so many
	limit     time.Duration // of the run; one that takes longer has failed
	sip       bool          // there are SIP edges, and phones behind them
	logf      func(string, ...any)
}

// run is a plan while it is carried out, and what came of it.
type run struct {
	plan
	cluster *cluster
	client  *client
	world   *world
	history *history
	workers []*worker
	silent  *silentSource
	edges   []*watcherEdge

	switchers []*switcher

	sipEdges  []*sipEdge
	sipPhones []*sipPhone
	hangUp    context.CancelFunc // ends the SIP phones
	phoning   sync.WaitGroup

	drains []window
	done   int // steps that are done
}

// execute starts a cluster, has the workers make requests while the plan's faults happen, waits until all nodes are ready, and
// ends all calls. The history has what happened. An error means that the run could not be carried out.
func execute(c *cluster, p plan) (*run, error) {
	r := &run{plan: p, cluster: c, world: newWorld(60, 120)}
	begun := time.Now()
	if err := c.start(); err != nil {
		return r, err
	}
	p.logf("seed %d: the cluster is ready after %v", p.seed, time.Since(begun).Round(time.Millisecond))
	r.history = &history{start: time.Now()}
	var err error
	if r.client, err = newClient(c); err != nil {
		return r, err
	}
	for i, name := range edgeNames {
		urls := c.natsURLs
		at := i % len(urls)
		e, err := startEdge(context.Background(), name, append(append([]string{}, urls[at:]...), urls[:at]...), r.history)
		if err != nil {
			return r, err
		}
		r.edges = append(r.edges, e)
	}
	ctx, stop := context.WithTimeout(context.Background(), p.limit)
	defer stop()
	var working sync.WaitGroup
	for i := range p.workers + p.repeaters + p.switchers + 1 {
		w := &worker{number: i, random: rand.New(rand.NewPCG(p.seed, uint64(i+1))), client: r.client, world: r.world, history: r.history}
		r.workers = append(r.workers, w)
		does := w.run
		switch {
		case i < p.workers:
		case i < p.workers+p.repeaters:
			does = w.repeatSets
		case i < p.workers+p.repeaters+p.switchers:
			s := newSwitcher(w)
			r.switchers = append(r.switchers, s)
			does = s.run
		default:
			r.silent = &silentSource{worker: w}
			does = r.silent.run
		}
		working.Go(func() { does(ctx) })
	}
	if p.sip {
		var phoning context.Context
		phoning, r.hangUp = context.WithCancel(context.Background())
		if err := r.startSIP(phoning, &r.phoning); err != nil {
			stop()
			working.Wait()
			return r, err
		}
	}
	err = r.injectFaults(ctx)
	for ctx.Err() == nil && err == nil && r.history.acked() < p.atLeast {
		time.Sleep(50 * time.Millisecond)
	}
	late := ctx.Err() != nil
	stop()
	working.Wait()
	if late && err == nil {
		err = fmt.Errorf("the run took longer than %v: %d of %d steps are done, and %d of %d operations are acknowledged", p.limit, r.done, len(p.steps), r.history.acked(), p.atLeast)
	}
	if e := c.healthy(startTimeout); err == nil {
		err = e
	}
	for _, w := range r.workers {
		working.Go(w.finish)
	}
	working.Wait()
	return r, err
}

// close ends everything that the run started.
func (r *run) close() {
	if r.hangUp != nil {
		r.hangUp()
		r.phoning.Wait()
	}
	for _, e := range r.sipEdges {
		if p := e.process(); p != nil {
			p.Kill()
		}
	}
	for _, e := range r.edges {
		e.close()
	}
	if r.client != nil {
		r.client.close()
	}
	r.cluster.end()
}

// injectFaults carries out the steps of the plan.
func (r *run) injectFaults(ctx context.Context) error {
	for _, s := range r.steps {
		select {
		case <-time.After(s.pause):
		case <-ctx.Done():
			return nil
		}
		if err := r.runStep(s); err != nil {
			return err
		}
		r.done++
	}
	return nil
}

// runStep carries out one step, waits until all nodes are ready, and notes the window.
func (r *run) runStep(s step) error {
	begin := r.history.now()
	errs := make([]error, len(s.faults))
	var all sync.WaitGroup
	for i, f := range s.faults {
		all.Go(func() {
			if err := f.run(r, s.machines[i], s.holds[i]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.name, err)
			}
		})
	}
	all.Wait()
	healed := time.Now()
	err := errors.Join(errs...)
	if err == nil {
		err = r.cluster.healthy(startTimeout)
	}
	w := window{begin: begin, end: r.history.now(), limit: limitOfWait}
	var detail []string
	for i, f := range s.faults {
		w.faults = append(w.faults, f.name)
		w.limit = max(w.limit, f.waitLimit)
		detail = append(detail, fmt.Sprintf("%s (machine %d, held %v)", f.name, s.machines[i], s.holds[i].Round(time.Millisecond)))
	}
	w.detail = strings.Join(detail, " and ")
	r.history.mu.Lock()
	r.history.windows = append(r.history.windows, w)
	r.history.mu.Unlock()
	r.logf("%8v %s; ready %v after it ended", time.Duration(begin).Round(time.Millisecond), w.detail, time.Since(healed).Round(time.Millisecond))
	return err
}
