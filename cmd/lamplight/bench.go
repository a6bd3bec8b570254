package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/schollz/progressbar/v3"

	"lamplight/bench"
)

type benchCommand struct {
	Subscribe benchSubscribe `cmd:"" help:"Ramp to --subscriptions over --extensions, then steady refreshes (--rate a second)."`
	Blf       benchBlf       `cmd:"" help:"A carrier's busy hour: accounts of 10 to 5,000 extensions, 20 BLF keys a phone, --rate calls a second that ring, are answered and end."`
	Fanout    benchFanout    `cmd:"" help:"One extension with --subscriptions watchers behind --edges edges, changed --rate times a second."`
	Rest      benchRest      `cmd:"" help:"REST: 80 % reads, 2 % listings of an account, 15 % sets, 3 % resets; --rate requests a second."`
	Failover  benchFailover  `cmd:"" help:"blf on three nodes of its own, while one after the other is killed (-9) and started again."`
	Compare   benchCompare   `cmd:"" help:"Say what changed between two results, and whether it is more than noise."`
}

type (
	benchSubscribe struct{ benchFlags }
	benchBlf       struct{ benchFlags }
	benchFanout    struct{ benchFlags }
	benchRest      struct{ benchFlags }
	benchFailover  struct{ benchFlags }
)

func (c *benchSubscribe) Run(out io.Writer) error { return c.run(out, "subscribe") }
func (c *benchBlf) Run(out io.Writer) error       { return c.run(out, "blf") }
func (c *benchFanout) Run(out io.Writer) error    { return c.run(out, "fanout") }
func (c *benchRest) Run(out io.Writer) error      { return c.run(out, "rest") }
func (c *benchFailover) Run(out io.Writer) error  { return c.run(out, "failover") }

// benchFlags are those of every scenario; what is left out has the scenario's own default.
type benchFlags struct {
	Target        []string      `placeholder:"URL" help:"HTTP addresses of the nodes of a cluster that runs already, as http://a:8000,http://b:8000; its NATS by --nats. Accounts made for the run are removed at its end."`
	Nodes         int           `help:"Start 1 or 3 nodes for the run (1 without --target; failover: 3)."`
	Through       string        `default:"nats" enum:"nats,rest" help:"How changes go in: as NATS documents, or as REST sets. Subscriptions go in through NATS."`
	Extensions    int           `help:"Extensions in all accounts (10,000; fanout: 1)."`
	Subscriptions int           `help:"Subscriptions of all watchers (one an extension; blf and failover: 20; fanout: 1,000)."`
	AccountMin    int           `help:"Extensions of the smallest account (10)."`
	AccountMax    int           `help:"Extensions of the largest account (5,000)."`
	Edges         int           `help:"Edges that the watchers are behind (4)."`
	Rate          float64       `help:"Arrivals a second (subscribe 2,000; blf 100; fanout 50; rest 1,000; failover 50), or where a search begins."`
	Storm         float64       `help:"From the middle of the run on, refresh every subscription once, so many a second: a registration storm."`
	Duration      time.Duration `help:"How long the load is measured (30s; each rate of a search: 8s)."`
	Warmup        time.Duration `help:"The same load before that, unmeasured."`
	Ring          time.Duration `help:"A call's time from its start to its answer (2s)."`
	Talk          time.Duration `help:"And on to its end (4s)."`
	Connections   int           `help:"Connections to NATS (4), and eight times as many to HTTP."`
	KillEvery     time.Duration `help:"failover: from one kill to the next (15s)."`
	DownFor       time.Duration `help:"failover: until the killed node is started again (5s)."`
	Seed          uint64        `help:"Of all that is random (1)."`
	NotifyRate    string        `placeholder:"N" help:"--notify-rate of the nodes that are started (5; fanout and a search: 0, no coalescing)."`
	Storage       string        `help:"--storage of the nodes that are started (file)."`
	Sync          string        `help:"--sync of the nodes that are started (1s)."`
	Replicas      int           `help:"--replicas of the nodes that are started (as many as nodes)."`
	Search        string        `placeholder:"OPERATION:pN<DURATION" help:"Look for the highest rate that meets a latency, as 'told:p99<100ms'. Operations are those of the table; told: from a change to the last of its watchers' edges."`
	JSON          string        `name:"json" placeholder:"FILE" help:"Write the result as JSON."`
	HTML          string        `name:"html" placeholder:"FILE" help:"Write a report with plots, which opens without a network."`
	natsFlags
}

func (c *benchFlags) settings(scenario string) (bench.Settings, error) {
	s := bench.Settings{Scenario: scenario, Through: c.Through, Nodes: c.Nodes, Extensions: c.Extensions, Subscriptions: c.Subscriptions, Smallest: c.AccountMin,
		Largest: c.AccountMax, Edges: c.Edges, Rate: c.Rate, Storm: c.Storm, Duration: c.Duration, Warmup: c.Warmup, Ring: c.Ring, Talk: c.Talk,
		Connections: c.Connections, KillEvery: c.KillEvery, DownFor: c.DownFor, Seed: c.Seed, Storage: c.Storage, Sync: c.Sync, Replicas: c.Replicas}
	var err error
	if c.Search != "" {
		if s.Objective, err = objective(c.Search); err != nil {
			return s, err
		}
		if s.Duration == 0 {
			s.Duration = 8 * time.Second
		}
	}
	switch {
	case c.NotifyRate != "":
		if s.NotifyRate, err = strconv.Atoi(c.NotifyRate); err != nil || s.NotifyRate < 0 {
			return s, fmt.Errorf("%w: --notify-rate %q: a number, at least 0", errUsage, c.NotifyRate)
		}
	case scenario != "fanout" && c.Search == "":
		s.NotifyRate = 5
	}
	switch {
	case len(c.Target) > 0 && s.Nodes > 0:
		return s, fmt.Errorf("%w: --target drives a cluster that runs already, --nodes starts one: give one of them", errUsage)
	case len(c.Target) > 0 && scenario == "failover":
		return s, fmt.Errorf("%w: failover kills nodes, and so it starts its own: leave --target out", errUsage)
	case len(c.Target) == 0 && s.Nodes == 0 && scenario == "failover":
		s.Nodes = 3
	case len(c.Target) == 0 && s.Nodes == 0:
		s.Nodes = 1
	}
	s.Defaults()
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("%w: %w", errUsage, err)
	}
	return s, nil
}

// objective reads OPERATION:pN<DURATION.
func objective(text string) (bench.Objective, error) {
	var o bench.Objective
	operation, rest, ok := strings.Cut(text, ":p")
	q, within, ok2 := strings.Cut(rest, "<")
	n, err := strconv.ParseFloat(q, 64)
	d, err2 := time.ParseDuration(within)
	if !ok || !ok2 || err != nil || err2 != nil || operation == "" || n <= 0 || n > 100 || d <= 0 {
		return o, fmt.Errorf("%w: --search %q: OPERATION:pN<DURATION, as told:p99<100ms", errUsage, text)
	}
	return bench.Objective{Operation: operation, Quantile: n / 100, Within: d}, nil
}

func (c *benchFlags) run(out io.Writer, scenario string) error {
	s, err := c.settings(scenario)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	var target *bench.Target
	if len(c.Target) > 0 {
		target = &bench.Target{Connect: func(name string) (*nats.Conn, error) { return c.connect(name) }}
		for _, u := range c.Target {
			target.HTTP = append(target.HTTP, strings.TrimSuffix(u, "/"))
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, err := bench.Run(ctx, s, version, self, target, newProgress(os.Stderr))
	if result == nil || result.Verdict.Watchers == 0 { // it did not come as far as its checks
		return err
	}
	if e := result.Print(out); e != nil {
		return e
	}
	if c.JSON != "" {
		err = errors.Join(err, result.Save(c.JSON))
	}
	if c.HTML != "" {
		err = errors.Join(err, result.SaveHTML(c.HTML))
	}
	return err
}

// progress shows how far a run is: a bar on a terminal, else a line for each phase.
type progress struct {
	out      io.Writer
	terminal bool
	bar      *progressbar.ProgressBar
	phase    string
}

func newProgress(f *os.File) *progress {
	info, err := f.Stat()
	return &progress{out: f, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Phase implements bench.Progress.
func (p *progress) Phase(name string, steps int) {
	p.Done()
	p.phase = name
	if !p.terminal {
		fmt.Fprintln(p.out, name)
		return
	}
	if steps == 0 {
		steps = -1
	}
	p.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(name), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(20), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionSetPredictTime(false))
}

// At implements bench.Progress.
func (p *progress) At(steps int, about string) {
	if p.bar == nil {
		return
	}
	p.bar.Describe(strings.TrimSpace(p.phase + " " + about))
	_ = p.bar.Set(steps)
}

// Done implements bench.Progress.
func (p *progress) Done() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}

type benchCompare struct {
	Before string `arg:"" type:"existingfile" help:"A result, from --json."`
	After  string `arg:"" type:"existingfile" help:"Another one of the same scenario."`
}

// Run implements bench compare.
func (c *benchCompare) Run(out io.Writer) error {
	before, err := bench.Load(c.Before)
	if err != nil {
		return err
	}
	after, err := bench.Load(c.After)
	if err != nil {
		return err
	}
	return bench.Compare(out, before, after)
}
