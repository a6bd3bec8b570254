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
	HTTP    []string // base URLs
	Connect func(name string) (*nats.Conn, error)
}

// Progress hears how far a run is. It is called from one goroutine.
type Progress interface {
	// Phase begins a part of the run that takes so many steps, if that is known (else 0).
	Phase(name string, steps int)
	// At says how many steps are done, and something about them.
	At(steps int, about string)
	// Done ends the last part.
	Done()
}

// run is one run under way.
type run struct {
	Settings
	target   Target
	progress Progress
	binary   string
	random   *rand.Rand
	place    *place
	world    *world
	model    *model
	traffic  *traffic
	news     *news
	web      *web
	edges    []*edge.Edge
	conns    []*nats.Conn
	client   *http.Client // for what is not load
	sampler  *sampler
	result   *Result
	token    string
}

// Run does what the settings say. A result that was reached comes with an error too when the checks failed (ErrWrong).
// binary is the program whose nodes it starts, unless target says what to drive.
func Run(ctx context.Context, s Settings, version, binary string, target *Target, p Progress) (result *Result, err error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	r := &run{Settings: s, progress: p, binary: binary, random: rand.New(rand.NewPCG(s.Seed, 0)), client: &http.Client{Timeout: 2 * time.Minute},
		result: &Result{Format: 1, At: time.Now().UTC().Truncate(time.Second), Version: version, Commit: commit(), Machine: machine(), Settings: s}}
	p.Phase("starting", 0)
	if target != nil {
		r.target = *target
	} else if err := r.start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
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

// start starts nodes of its own.
func (r *run) start() error {
	var err error
	if r.place, err = startNodes(r.binary, &r.Settings); err != nil {
		return err
	}
	r.target.HTTP = r.place.http
	next := 0
	r.target.Connect = func(name string) (*nats.Conn, error) {
		urls := append(append([]string{}, r.place.nats[next%len(r.place.nats):]...), r.place.nats[:next%len(r.place.nats)]...)
		next++
		o := nats.GetDefaultOptions()
		o.Servers, o.Name, o.NoRandomize = urls, name, true
		o.ReconnectWait, o.MaxReconnect, o.ReconnectBufSize = 50*time.Millisecond, -1, -1
		return o.Connect()
	}
	return nil
}

// open makes the world, its connections and its edges.
func (r *run) open(ctx context.Context) error {
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
	if err := r.provision(ctx); err != nil {
		return err
	}
	for i, name := range r.world.edges {
		e := newEdge(name, r.conns[r.Connections+i], r.model)
		if err := e.Start(ctx); err != nil {
			return err
		}
		r.edges = append(r.edges, e)
	}
	var err error
	if r.news, err = newNews(r.conns[:r.Connections]); err != nil {
		return err
	}
	r.web = newWeb(r.target.HTTP, r.token, 8*r.Connections)
	r.sampler = newSampler(r.target.HTTP, r.client)
	r.traffic = &traffic{settings: &r.Settings, world: r.world, model: r.model, news: r.news, web: r.web, pace: newPacer(), random: r.fork()}
	return nil
}

// fork gives random numbers to another goroutine.
func (r *run) fork() *rand.Rand { return rand.New(rand.NewPCG(r.random.Uint64(), r.random.Uint64())) }

func (r *run) close() error {
	var err error
	if r.web != nil {
		r.web.close()
	}
	if r.news != nil {
		r.news.close()
	}
	for _, e := range r.edges {
		_ = e.Stop(context.Background())
	}
	if r.place == nil && r.token != "" {
		err = r.remove()
	}
	for _, c := range r.conns {
		c.Close()
	}
	r.client.CloseIdleConnections()
	if r.place != nil {
		err = errors.Join(err, r.place.close(r.result.Verdict.Right()))
	}
	return err
}

// inFlight is how many SUBSCRIBEs of the ramp wait for their acknowledgement at once.
const inFlight = 512

// ramp makes every subscription, as fast as they are acknowledged.
func (r *run) ramp(ctx context.Context) error {
	r.progress.Phase("subscribing", len(r.world.watches))
	r.measure()
	meter := r.model.meter.Load()
	rec := meter.of("subscribe")
	slots := make(chan struct{}, inFlight)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for i := range r.world.watches {
		for full := true; full; {
			select {
			case slots <- struct{}{}:
				full = false
			case now := <-second.C:
				r.tick(now, &r.result.Ramp, i, "")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r.traffic.subscribe(int32(i), time.Now(), rec, func(error) { <-slots })
	}
	settled := func() bool {
		if len(slots) > 0 { // before all watchers are looked at
			return false
		}
		never, _, _ := r.model.behind()
		return never == 0
	}
	if err := r.until(ctx, settled, &r.result.Ramp, len(r.world.watches), ""); err != nil {
		return err
	}
	r.finish(&r.result.Ramp, meter)
	return nil
}

// measure begins a part: what comes from now on is kept in a new meter.
func (r *run) measure() {
	r.model.meter.Store(newMeter(time.Now()))
	r.sampler.sample(0)
	r.traffic.pace.late()
	r.traffic.blocked.Store(0)
}

func (r *run) finish(p *Part, m *meter) {
	p.Seconds = time.Since(m.begun).Seconds()
	p.Operations = m.operations()
	p.Blocked = r.traffic.blocked.Load()
	if len(p.Samples) == 0 { // it took less than a second
		p.Samples = append(p.Samples, r.sampler.sample(time.Since(m.begun)))
	}
}

// tick is one second of a part.
func (r *run) tick(now time.Time, p *Part, steps int, about string) {
	m := r.model.meter.Load()
	m.tick(now)
	p.Samples = append(p.Samples, r.sampler.sample(now.Sub(m.begun)))
	p.Late = max(p.Late, r.traffic.pace.late().Microseconds())
	r.progress.At(steps, about+m.line())
}

// settling is how long the cluster may take to work off what was asked of it.
const settling = 30 * time.Second

// until waits for something that must come; when it doesn't, the checks say what is wrong.
func (r *run) until(ctx context.Context, reached func() bool, p *Part, steps int, about string) error {
	deadline := time.Now().Add(settling)
	last := time.Now()
	for !reached() && time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-time.After(20 * time.Millisecond):
			if now.Sub(last) >= time.Second {
				last = now
				r.tick(now, p, steps, about)
			}
		}
	}
	return ctx.Err()
}

// load is the measured part at the rate of the settings.
func (r *run) load(ctx context.Context) error {
	r.progress.Phase(r.Scenario, int(r.Duration.Seconds()))
	meter, err := r.drive(ctx, r.Rate, r.Warmup, r.Duration, &r.result.Load)
	if err == nil {
		r.finish(&r.result.Load, meter)
	}
	return err
}

// drive lets arrivals come at a rate, first unmeasured, then measured, and waits until all of them ended.
func (r *run) drive(ctx context.Context, rate float64, warmup, duration time.Duration, p *Part) (*meter, error) {
	begin := time.Now().Add(10 * time.Millisecond)
	from, until := begin.Add(warmup), begin.Add(warmup+duration)
	t := r.traffic
	t.pace.stream(rate, r.fork(), begin, until, t.arrive())
	if r.Storm > 0 {
		t.storming = 0
		t.pace.stream(r.Storm, r.fork(), from.Add(duration/2), until, t.storm)
	}
	r.progress.At(0, fmt.Sprintf("%.0f %s/s ", rate, r.unit()))
	if warmup > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(from)):
		}
	}
	r.measure()
	meter := r.model.meter.Load()
	if r.Scenario == "failover" {
		killing, stop := context.WithCancel(ctx)
		var killer sync.WaitGroup
		killer.Go(func() { r.kill(killing, meter, until, p) })
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
			r.tick(now, p, int(now.Sub(from).Seconds()), fmt.Sprintf("%.0f %s/s ", rate, r.unit()))
		}
	}
	idle := func() bool {
		if !t.pace.idle() || r.news.out.Load() > 0 || r.web.out.Load() > 0 { // before all watchers are looked at
			return false
		}
		_, stuck, _ := r.model.behind()
		return stuck == 0
	}
	return meter, r.until(ctx, idle, p, int(duration.Seconds()), "")
}

// kill ends one node after the other as a power cut would, and starts each again.
func (r *run) kill(ctx context.Context, m *meter, until time.Time, p *Part) {
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
		n := r.place.nodes[i%len(r.place.nodes)]
		n.process.Kill()
		note("kill -9 %s", n.name)
		back := wait(r.DownFor)
		if err := n.start(); err != nil {
			r.model.wrong("%v", err)
			return
		}
		note("%s starts", n.name)
		if err := n.process.Await(starting); err != nil {
			r.model.wrong("%v", err)
			return
		}
		note("%s is ready", n.name)
		if !back || !wait(r.KillEvery-r.KillEvery/3-r.DownFor) {
			return
		}
	}
}
