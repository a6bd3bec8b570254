package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/transport/edge"
)

// Target is a cluster that runs already.
type Target struct {
	HTTP    []string // base URLs of its nodes
	SIP     []string // HOST:PORT of its SIP edges; they may be none without SIP
	Connect func(name string) (*nats.Conn, error)
}

// Progress is told how far a run is. All calls come from the goroutine of Run.
type Progress interface {
	// Phase begins a phase of the run. steps is how many steps it takes, or 0 if that is not known.
	Phase(name string, steps int)
	// At says how many steps of the phase are done, and how the last ones went.
	At(steps int, about string)
	// Done ends the last phase.
	Done()
}

// run is one run, while it goes on.
type run struct {
	Settings
	target   Target
	progress Progress
	binary   string // the program whose nodes it starts
	random   *rand.Rand
	own      *localCluster // the nodes that it started; nil: target runs already
	world    *world
	model    *model
	traffic  *traffic
	nats     *natsSender
	rest     *restSender
	sip      *sipSender // nil without SIP
	edges    []*edge.Edge
	conns    []*nats.Conn
	client   *http.Client // for requests that are no load
	sampler  *sampler
	result   *Result
	token    string
}

// Run drives a cluster as the settings say, and checks it. It drives target; if target is nil, it starts nodes of the program at
// binary and ends them afterwards. If the checks find something wrong, Run returns the result together with an ErrWrong.
func Run(ctx context.Context, s Settings, version, binary string, target *Target, p Progress) (result *Result, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	r := &run{Settings: s, progress: p, binary: binary, random: rand.New(rand.NewPCG(s.Seed, 0)), client: &http.Client{Timeout: 2 * time.Minute},
		result: &Result{Format: 1, At: time.Now().UTC().Truncate(time.Second), Version: version, Commit: commit(), Machine: machine(), Settings: s}}
	p.Phase("starting", 0)
	if target != nil {
		r.target = *target
	} else if err := r.startOwn(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close(ctx.Err() != nil)) }()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	pacing, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { r.traffic.pace.run(pacing) })
	defer working.Wait()
	defer stop()
	err = r.ramp(ctx)
	switch {
	case err != nil:
	case r.Objective != Objective{}:
		err = r.search(ctx)
	default:
		err = r.load(ctx)
	}
	if err == nil {
		err = r.check(ctx)
	}
	p.Done()
	return r.result, err
}

// startOwn starts nodes for the run. Each connection to their NATS servers begins at another node.
func (r *run) startOwn() error {
	var err error
	if r.own, err = startNodes(r.binary, &r.Settings); err != nil {
		return err
	}
	r.target.HTTP, r.target.SIP = r.own.http, r.own.sip
	next := 0
	r.target.Connect = func(name string) (*nats.Conn, error) {
		urls := append(append([]string{}, r.own.nats[next%len(r.own.nats):]...), r.own.nats[:next%len(r.own.nats)]...)
		next++
		o := nats.GetDefaultOptions()
		o.Servers, o.Name, o.NoRandomize = urls, name, true
		o.ReconnectWait, o.MaxReconnect, o.ReconnectBufSize = 50*time.Millisecond, -1, -1
		return o.Connect()
	}
	return nil
}

// prepare makes the world, loads its accounts, connects, and starts the edges and senders.
func (r *run) prepare(ctx context.Context) error {
	run := "r" + strconv.FormatInt(time.Now().UnixMilli()%1e10, 36)
	r.world = newWorld(&r.Settings, run, r.random)
	r.model = newModel(r.world)
	r.model.meter.Store(newMeter(time.Now()))
	for range r.Connections + r.Edges {
		c, err := r.target.Connect("lamplight bench " + run)
		if err != nil {
			return err
		}
		r.conns = append(r.conns, c)
	}
	if err := r.importAccounts(ctx); err != nil {
		return err
	}
	for i, name := range r.world.edges { // with --via sip they have no watchers
		e := newEdge(name, r.conns[r.Connections+i], r.model)
		if err := e.Start(ctx); err != nil {
			return err
		}
		r.edges = append(r.edges, e)
	}
	var err error
	if r.nats, err = newNATSSender(r.conns[:r.Connections]); err != nil {
		return err
	}
	r.rest = newRESTSender(r.target.HTTP, r.token, 8*r.Connections)
	if r.Settings.sip() {
		var phones, publisher string
		if r.own != nil {
			phones, publisher = r.own.phones, r.own.publisher
		}
		if r.sip, err = newSIPSender(ctx, &r.Settings, r.target.SIP, phones, publisher, r.model); err != nil {
			return err
		}
	}
	r.sampler = newSampler(r.target.HTTP, r.client)
	r.traffic = &traffic{settings: &r.Settings, world: r.world, model: r.model, nats: r.nats, rest: r.rest, sip: r.sip, pace: newPacer(), random: r.newRandom()}
	return nil
}

// newRandom makes a source of random numbers for another goroutine.
func (r *run) newRandom() *rand.Rand {
	return rand.New(rand.NewPCG(r.random.Uint64(), r.random.Uint64()))
}

// close ends what prepare and startOwn began, and removes the accounts from a cluster that goes on.
// interrupted says that the caller of Run has ended the run.
func (r *run) close(interrupted bool) error {
	var err error
	if r.rest != nil {
		r.rest.close()
	}
	if r.sip != nil {
		r.sip.close()
	}
	if r.nats != nil {
		r.nats.close()
	}
	for _, e := range r.edges {
		_ = e.Stop(context.Background())
	}
	if r.own == nil && r.token != "" {
		err = r.removeAccounts()
	}
	for _, c := range r.conns {
		c.Close()
	}
	r.client.CloseIdleConnections()
	if r.own != nil {
		err = errors.Join(err, r.own.close(r.result.Verdict.Right() || interrupted && r.result.Verdict.Watchers == 0))
	}
	return err
}

// rampInFlight is how many SUBSCRIBEs of the ramp wait for their acknowledgement at a time.
const rampInFlight = 512

// ramp makes every subscription, as fast as the cluster acknowledges them.
func (r *run) ramp(ctx context.Context) error {
	r.progress.Phase("subscribing", len(r.world.watched))
	r.beginPart()
	meter := r.model.meter.Load()
	rec := meter.recorder("subscribe")
	slots := make(chan struct{}, rampInFlight)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for i := range r.world.watched {
		for full := true; full; {
			select {
			case slots <- struct{}{}:
				full = false
			case now := <-second.C:
				r.sampleSecond(now, &r.result.Ramp, i, "")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r.traffic.subscribe(int32(i), time.Now(), rec, func(error) { <-slots })
	}
	settled := func() bool {
		if len(slots) > 0 { // cheaper than behind, which looks at every watcher
			return false
		}
		never, _, _ := r.model.behind()
		return never == 0
	}
	if err := r.waitFor(ctx, settled, &r.result.Ramp, len(r.world.watched), ""); err != nil {
		return err
	}
	r.endPart(&r.result.Ramp, meter, 0)
	return nil
}

// beginPart begins a part of the run: latencies go into a new meter from now on.
func (r *run) beginPart() {
	r.model.meter.Store(newMeter(time.Now()))
	r.sampler.sample(0)
	r.traffic.pace.takeMaxLate()
	r.traffic.offered.Store(0)
	r.traffic.blocked.Store(0)
}

// endPart fills in what a part measured. window is for how long arrivals came; 0: there were none.
func (r *run) endPart(p *Part, m *meter, window time.Duration) {
	p.Seconds, p.Window = time.Since(m.begun).Seconds(), window.Seconds()
	p.Operations = m.operations(window)
	p.Offered, p.Blocked = r.traffic.offered.Load(), r.traffic.blocked.Load()
	if len(p.Samples) == 0 { // the part took less than a second
		p.Samples = append(p.Samples, r.sampler.sample(time.Since(m.begun)))
	}
}

// sampleSecond ends one second of a part: it keeps the second's latencies and what the nodes used, and shows the progress.
func (r *run) sampleSecond(now time.Time, p *Part, steps int, about string) {
	m := r.model.meter.Load()
	m.closeSecond(now)
	p.Samples = append(p.Samples, r.sampler.sample(now.Sub(m.begun)))
	p.Late = max(p.Late, r.traffic.pace.takeMaxLate().Microseconds())
	r.progress.At(steps, about+m.line())
}

// settleTimeout is how long the cluster may take to finish what was asked of it, after the last arrival.
const settleTimeout = 30 * time.Second

// waitFor waits until reached returns true, at most settleTimeout. A timeout is no error: the checks say then what is wrong.
func (r *run) waitFor(ctx context.Context, reached func() bool, p *Part, steps int, about string) error {
	deadline := time.Now().Add(settleTimeout)
	last := time.Now()
	for !reached() && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-time.After(20 * time.Millisecond):
			if now.Sub(last) >= time.Second {
				last = now
				r.sampleSecond(now, p, steps, about)
			}
		}
	}
	return ctx.Err()
}

// load drives the measured part at the rate of the settings.
func (r *run) load(ctx context.Context) error {
	r.progress.Phase(r.Scenario, int(r.Duration.Seconds()))
	meter, err := r.drive(ctx, r.Rate, r.Warmup, r.Duration, &r.result.Load)
	if err == nil {
		r.endPart(&r.result.Load, meter, r.Duration)
	}
	return err
}

// drive starts arrivals at a rate, first during warmup, unmeasured, and then during duration, measured. It returns when all of
// them have ended, or settleTimeout later.
func (r *run) drive(ctx context.Context, rate float64, warmup, duration time.Duration, p *Part) (*meter, error) {
	begin := time.Now().Add(10 * time.Millisecond)
	from, until := begin.Add(warmup), begin.Add(warmup+duration)
	t := r.traffic
	t.pace.stream(rate, r.newRandom(), begin, until, t.arrival())
	if r.Storm > 0 {
		t.stormed = 0
		t.pace.stream(r.Storm, r.newRandom(), from.Add(duration/2), until, t.storm)
	}
	r.progress.At(0, fmt.Sprintf("%.0f %s/s ", rate, r.unit()))
	if warmup > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(from)):
		}
	}
	r.beginPart()
	meter := r.model.meter.Load()
	if r.Scenario == "failover" {
		killing, stop := context.WithCancel(ctx)
		var killer sync.WaitGroup
		killer.Go(func() { r.killNodes(killing, meter, until, p) })
		defer killer.Wait()
		defer stop()
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for time.Now().Before(until) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case now := <-second.C:
			r.sampleSecond(now, p, int(now.Sub(from).Seconds()), fmt.Sprintf("%.0f %s/s ", rate, r.unit()))
		}
	}
	idle := func() bool {
		if !t.pace.idle() || r.nats.unanswered.Load() > 0 || r.rest.unanswered.Load() > 0 || r.sip.unanswered() > 0 { // cheaper than behind, which looks at every watcher
			return false
		}
		_, stuck, _ := r.model.behind()
		return stuck == 0
	}
	return meter, r.waitFor(ctx, idle, p, int(duration.Seconds()), "")
}

// killNodes kills one node after the other with SIGKILL, and starts each again. It notes each step as an event of the part.
func (r *run) killNodes(ctx context.Context, m *meter, until time.Time, p *Part) {
	note := func(format string, a ...any) {
		p.Events = append(p.Events, Event{time.Since(m.begun).Seconds(), fmt.Sprintf(format, a...)})
	}
	wait := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	for i := 0; ; i++ {
		if time.Now().Add(r.KillEvery / 3).After(until) {
			return
		}
		if !wait(r.KillEvery / 3) {
			return
		}
		n := r.own.nodes[i%len(r.own.nodes)]
		n.process.Kill()
		note("kill -9 %s", n.name)
		back := wait(r.DownFor)
		if err := n.start(); err != nil {
			r.model.addMistake("%v", err)
			return
		}
		note("%s starts", n.name)
		if err := n.process.Await(startTimeout); err != nil {
			r.model.addMistake("%v", err)
			return
		}
		note("%s is ready", n.name)
		if !back || !wait(r.KillEvery-r.KillEvery/3-r.DownFor) {
			return
		}
	}
}
