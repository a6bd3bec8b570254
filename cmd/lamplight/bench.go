package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"lamplight/bench"
	"lamplight/transport/client"
)

type benchCommand struct {
	Subscribe benchSubscribe `cmd:"" help:"Make --subscriptions subscriptions to --extensions extensions, then refresh them, --rate a second."`
	Blf       benchBlf       `cmd:"" help:"A carrier's busy hour: accounts of 10 to 5,000 extensions, 20 BLF keys a phone, and --rate calls a second that ring, are answered and end."`
	Fanout    benchFanout    `cmd:"" help:"One extension with --subscriptions watchers behind --edges edges. Its lamp changes --rate times a second."`
	Rest      benchRest      `cmd:"" help:"--rate HTTP requests a second: 80 % reads, 2 % listings of an account, 15 % sets, 3 % resets."`
	Failover  benchFailover  `cmd:"" help:"The load of blf on three nodes of its own, while one node after the other is killed (kill -9) and started again."`
	Compare   benchCompare   `cmd:"" help:"Say what changed between two results, and whether the change is more than noise."`
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

// benchFlags are the flags of every scenario. A flag that is left out has the scenario's own default, which its help names.
type benchFlags struct {
	Target        []string      `placeholder:"URL" help:"Use a cluster that runs already: the HTTP addresses of its nodes, such as http://a:8000,http://b:8000. --nats must name its NATS servers. The accounts that the run makes are removed at its end."`
	Nodes         amount        `placeholder:"N" help:"How many nodes to start for the run, 1 or 3 (default: 1; failover 3). Not with --target."`
	Through       string        `default:"nats" enum:"nats,rest,sip" help:"How changes are sent: nats sends documents over NATS, rest sends sets over HTTP, sip sends PUBLISHes to the SIP edges, which must trust this machine (--trust)."`
	Via           string        `default:"nats" enum:"nats,sip" help:"How watchers subscribe and are told: nats plays edges on NATS, sip plays phones at the SIP edges. subscribe, blf and fanout only."`
	Transport     string        `default:"udp" enum:"udp,tcp" help:"How SIP travels."`
	Flows         amount        `placeholder:"N" help:"The number of SIP sockets or connections to each edge, which the phones share (default: 8; tcp 256)."`
	Password      string        `placeholder:"TEXT" help:"Authenticate each phone with this password (digest). Without it, the nodes that the run starts take everybody for whom From names."`
	SIP           []string      `name:"sip" placeholder:"HOST:PORT" help:"The SIP edges of the --target cluster. Nodes that the run starts have one inside."`
	Extensions    amount        `placeholder:"N" help:"The number of extensions in all accounts (default: 10,000; fanout 1)."`
	Subscriptions amount        `placeholder:"N" help:"The number of subscriptions (default: one for each extension; blf and failover 20 for each; fanout 1,000)."`
	AccountMin    amount        `placeholder:"N" help:"The number of extensions of the smallest account (default: 10)."`
	AccountMax    amount        `placeholder:"N" help:"The number of extensions of the largest account (default: 5,000)."`
	Edges         amount        `placeholder:"N" help:"The number of edges that the watchers are behind (default: 4)."`
	Rate          rate          `placeholder:"N" help:"How many refreshes, calls, changes or requests begin in a second (default: subscribe 2,000; blf 100; fanout 50; rest 1,000; failover 50). A search begins with this rate."`
	Storm         rate          `placeholder:"N" help:"Simulate a registration storm: from the middle of the run on, refresh every subscription once, so many a second."`
	Duration      span          `help:"How long the load is measured (default: 30s; in a search 8s for each rate)."`
	Warmup        time.Duration `help:"For how long the same load runs before, without being measured."`
	Ring          span          `help:"How long a call rings until it is answered (default: 2s)."`
	Talk          span          `help:"How long a call lasts after it was answered (default: 4s)."`
	Connections   amount        `placeholder:"N" help:"The number of connections to NATS (default: 4). There are eight times as many HTTP connections."`
	KillEvery     span          `help:"failover: the time from one kill to the next (default: 15s)."`
	DownFor       span          `help:"failover: the time until the killed node is started again (default: 5s)."`
	Seed          amount        `placeholder:"N" help:"The seed of everything that is random: the same seed gives the same load (default: 1)."`
	NotifyRate    string        `placeholder:"N" help:"--notify-rate of the nodes that the run starts (default: 5; fanout and a search 0)."`
	Storage       storage       `help:"--storage of the nodes that the run starts (default: file)."`
	Sync          string        `help:"--sync of the nodes that the run starts (default: 1s)."`
	Replicas      amount        `placeholder:"N" help:"--replicas of the nodes that the run starts (default: as many as nodes)."`
	Search        string        `placeholder:"OPERATION:pN<DURATION" help:"Look for the highest rate that keeps a latency, such as 'told:p99<100ms'. The operations are those of the printed table. told is the time from a change until the last watcher's edge has it."`
	FailIf        []string      `placeholder:"CONDITION" help:"Exit with 3 when the load meets a condition, such as 'told:p99>100ms', 'ring:rate<95', 'told:max>1s', 'ring:failed>0' or 'dropped>10'. It may be given several times."`
	JSON          string        `name:"json" placeholder:"FILE" help:"Write the result to a file, as JSON."`
	HTML          string        `name:"html" placeholder:"FILE" help:"Write a report with plots to a file. It opens without a network."`
	natsFlags
}

// settings returns the settings of a run that the flags ask for.
func (c *benchFlags) settings(scenario string) (bench.Settings, error) {
	s := bench.Settings{Scenario: scenario, Through: c.Through, Via: c.Via, Transport: c.Transport, Flows: int(c.Flows), Password: c.Password, Nodes: int(c.Nodes), Extensions: int(c.Extensions),
		Subscriptions: int(c.Subscriptions), Smallest: int(c.AccountMin), Largest: int(c.AccountMax), Edges: int(c.Edges), Rate: float64(c.Rate), Storm: float64(c.Storm),
		Duration: time.Duration(c.Duration), Warmup: c.Warmup, Ring: time.Duration(c.Ring), Talk: time.Duration(c.Talk), Connections: int(c.Connections),
		KillEvery: time.Duration(c.KillEvery), DownFor: time.Duration(c.DownFor), Seed: uint64(c.Seed), Storage: string(c.Storage), Sync: c.Sync, Replicas: int(c.Replicas)}
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
			return s, fmt.Errorf("%w: --notify-rate is %q; it must be a whole number, at least 0", errUsage, c.NotifyRate)
		}
	case scenario != "fanout" && c.Search == "":
		s.NotifyRate = 5
	}
	switch {
	case len(c.Target) > 0 && s.Nodes > 0:
		return s, fmt.Errorf("%w: --target drives a cluster that runs already, --nodes starts one: give one of them", errUsage)
	case (len(c.Target) > 0 && (c.Via == "sip" || c.Through == "sip")) != (len(c.SIP) > 0):
		return s, fmt.Errorf("%w: --sip names the SIP edges of the --target cluster, for --via sip and --through sip: give all of these or none", errUsage)
	case c.AccountMin > 0 && c.AccountMax > 0 && c.AccountMin > c.AccountMax:
		return s, fmt.Errorf("%w: --account-min is %d and --account-max %d; the second must not be below the first", errUsage, c.AccountMin, c.AccountMax)
	case len(c.Target) > 0 && scenario == "failover":
		return s, fmt.Errorf("%w: failover kills nodes, and so it starts its own: leave --target out", errUsage)
	case len(c.Target) == 0 && s.Nodes == 0 && scenario == "failover":
		s.Nodes = 3
	case len(c.Target) == 0 && s.Nodes == 0:
		s.Nodes = 1
	}
	for _, u := range c.Target {
		if at, err := url.Parse(u); err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.RawQuery != "" {
			return s, fmt.Errorf("%w: --target has %q; it must be the HTTP address of a node, such as http://a:8000", errUsage, client.Redacted(u))
		}
	}
	s.Defaults()
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("%w: %w", errUsage, err)
	}
	return s, nil
}

// objective reads a latency of --search, OPERATION:pN<DURATION.
func objective(text string) (bench.Objective, error) {
	var o bench.Objective
	operation, rest, ok := strings.Cut(text, ":p")
	q, within, ok2 := strings.Cut(rest, "<")
	n, err := strconv.ParseFloat(q, 64)
	d, err2 := time.ParseDuration(within)
	if !ok || !ok2 || err != nil || err2 != nil || operation == "" || n <= 0 || n > 100 || d <= 0 {
		return o, fmt.Errorf("%w: --search is %q; it must be OPERATION:pN<DURATION, such as told:p99<100ms", errUsage, text)
	}
	return bench.Objective{Operation: operation, Quantile: n / 100, Within: d}, nil
}

// run runs a scenario, prints its result, and writes it to --json and --html.
func (c *benchFlags) run(out io.Writer, scenario string) error {
	s, err := c.settings(scenario)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	var conditions []bench.Condition
	for _, text := range c.FailIf {
		condition, err := bench.ReadCondition(scenario, text)
		if err != nil {
			return fmt.Errorf("%w: --fail-if: %w", errUsage, err)
		}
		conditions = append(conditions, condition)
	}
	var target *bench.Target
	if len(c.Target) > 0 {
		target = &bench.Target{SIP: c.SIP, Connect: func(name string) (*nats.Conn, error) { return c.connect(name) }}
		for _, u := range c.Target {
			target.HTTP = append(target.HTTP, strings.TrimSuffix(u, "/"))
		}
	}
	if err := errors.Join(writable("--json", c.JSON), writable("--html", c.HTML)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, err := bench.Run(ctx, s, version, self, target, newProgress(os.Stderr))
	if result == nil || result.Verdict.Watchers == 0 { // the run ended before it checked the lamps
		if ctx.Err() != nil {
			return fmt.Errorf("the run was interrupted, so there is no result: %w", err)
		}
		return err
	}
	result.Command = redactedCommand(os.Args)
	if crossed := result.Judge(conditions); err == nil {
		err = crossed
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

// writable says why a file that a flag names can't be written; "" is no file. It leaves a file as it is.
func writable(flag, file string) error {
	if file == "" {
		return nil
	}
	_, missing := os.Stat(file)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("%s: the result could not be written after the run: %w", flag, err)
	}
	if missing != nil {
		defer func() { _ = os.Remove(file) }()
	}
	return f.Close()
}

// redactedCommand returns a command line as it may be shown: for a shell, without the passwords in URLs.
func redactedCommand(args []string) string {
	words := []string{filepath.Base(args[0])}
	for i, a := range args[1:] {
		if strings.Contains(a, "://") || strings.HasPrefix(a, "--nats=") || args[i] == "--nats" {
			a = client.Redacted(a)
		}
		if strings.ContainsAny(a, " \t\n'\"\\$&|<>;()*?[]#~`!{}") || a == "" {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// progress shows how far a run is: as a bar on a terminal, else with a line for each phase.
type progress struct {
	out      io.Writer
	terminal bool
	bar      *progressbar.ProgressBar // nil: none is shown
	phase    string
}

// newProgress makes a progress that writes to f.
func newProgress(f *os.File) *progress {
	return &progress{out: f, terminal: isTerminal(f)}
}

// isTerminal says whether someone reads what is written to w on a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
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
	Before string `arg:"" type:"path" help:"The earlier result, which --json wrote."`
	After  string `arg:"" type:"path" help:"The later result, of the same scenario."`
}

// Run implements bench compare.
func (c *benchCompare) Run(out io.Writer) error {
	before, err := bench.Load(c.Before)
	if err != nil {
		return named(err)
	}
	after, err := bench.Load(c.After)
	if err != nil {
		return named(err)
	}
	return bench.Compare(out, before, after)
}
