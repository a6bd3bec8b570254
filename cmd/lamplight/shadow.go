package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/rabbitmq/amqp091-go"

	"lamplight/transport/client"
	"lamplight/transport/shadow"
)

type shadowCommand struct {
	Realm     realmName `required:"" placeholder:"R" help:"The realm to compare, such as acme.example.com."`
	AMQP      []string  `name:"amqp" xor:"side" placeholder:"URL[,URL]" help:"Compare with a Kazoo: its RabbitMQ brokers, one for each zone, such as amqp://user:password@10.0.0.20/. The variable LAMPLIGHT_AMQP keeps a password out of the list of processes."`
	Watch     []string  `name:"watch" xor:"side" placeholder:"EXTENSION[,...]" help:"Compare with another presence server, such as Kamailio's: watch these extensions there as a phone does, such as 1001,1002. At most 10000."`
	Grace     span      `default:"5s" help:"How long the sides may differ before that is a difference. What lasts shorter is counted as later."`
	Every     span      `default:"10s" help:"How often both sides are asked for listings."`
	Interval  span      `default:"1m" help:"How often a summary is printed."`
	For       span      `placeholder:"D" help:"End after this time (default: when the command is interrupted)."`
	Output    string    `short:"o" enum:"table,json" default:"table" help:"How results are printed: table or json."`
	HTTP      string    `name:"http" default:"127.0.0.1:8003" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics of the command are served."`
	LogLevel  string    `enum:"debug,info,warn,error" default:"info" help:"Which log lines are written: those of this level and above. debug, info, warn or error."`
	LogFormat string    `enum:"text,json" default:"text" help:"How log lines are written: text or json."`
	phoneFlags
	natsFlags
}

// maxWatched is how many extensions may be watched over SIP.
const maxWatched = 10_000

// config checks the flags and makes a configuration of them.
func (c *shadowCommand) config() (s shadow.Config, err error) {
	if err := c.check(); err != nil {
		return s, err
	}
	if err := checkListeners([]listener{{flag: "--http", address: c.HTTP, tcp: true}}); err != nil {
		return s, err
	}
	s = shadow.Config{Realm: strings.ToLower(string(c.Realm)), Grace: time.Duration(c.Grace), Every: time.Duration(c.Every), Interval: time.Duration(c.Interval), Brokers: c.AMQP,
		Prefix: c.prefix(), Version: version}
	if len(c.AMQP)+len(c.Watch) == 0 {
		return s, fmt.Errorf("%w: give --amqp for a Kazoo, or --watch for another presence server", errUsage)
	}
	for _, b := range c.AMQP {
		if _, err := amqp091.ParseURI(b); err != nil {
			return s, fmt.Errorf("%w: --amqp has %q; it must be URLs such as amqp://user:password@10.0.0.20/, or amqps://, separated by commas", errUsage, client.Redacted(b))
		}
	}
	if len(c.Watch) > maxWatched {
		return s, fmt.Errorf("%w: --watch has %d extensions; it may have at most %d", errUsage, len(c.Watch), maxWatched)
	}
	for _, user := range c.Watch {
		var name extensionName
		if err := name.UnmarshalText([]byte(user)); err != nil {
			return s, fmt.Errorf("%w: --watch: %w", errUsage, err)
		}
		if user = strings.ToLower(user); !slices.Contains(s.Extensions, user) {
			s.Extensions = append(s.Extensions, user)
		}
	}
	if len(c.Watch) > 0 {
		s.Phone, s.Subscribe, err = c.phone(s.Realm)
	}
	return s, err
}

// Run implements shadow. On SIGHUP it reads the configuration again.
func (c *shadowCommand) Run(out io.Writer, args commandLine, line *kong.Context) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	config.Log = newLog(os.Stderr, c.LogLevel, c.LogFormat)
	hangUp, again := hangUps(), newReloader(args, line, config.Log)
	ctx, stop := untilSignal(context.Background(), func() { os.Exit(1) })
	defer stop()
	go again.onHangUp(ctx, hangUp, func(now *commands) (string, error) {
		_, err := now.Shadow.config()
		return now.Shadow.LogLevel, err
	})
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.For))
		defer cancel()
	}
	here, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if config.Conn, err = c.connect("lamplight shadow"); err != nil {
		return err
	}
	defer config.Conn.Close()
	health, registry, err := startHealth(ctx, config.Conn, healthFlags{c.HTTP, "lamplight shadow", bridgeConnections, until(ctx, "the comparison")}, config.Log)
	if err != nil {
		return err
	}
	defer stopHealth(health)
	config.Registerer = registry
	fmt.Fprintf(os.Stderr, "http listening on %s\ncomparing %s; press Ctrl-C to end\n", health.Addr(), config.Realm)
	report := &shadowReport{out: out, json: c.Output == "json", fail: fail}
	config.Report = report
	err = shadow.New(config).Run(here)
	if cause := context.Cause(here); err == nil && ctx.Err() == nil && cause != nil {
		err = cause // the output can't be written
	}
	if err != nil {
		return explainRefusal(err)
	}
	return report.end()
}

// maxKept is how many differences the table at the end has: the newest.
const maxKept = 1000

// shadowReport prints what a comparison finds.
type shadowReport struct {
	out  io.Writer
	json bool
	fail func(error)
	kept []*shadow.Difference // for the table at the end
	last *shadow.Summary
}

// Found implements shadow.Reporter.
func (r *shadowReport) Found(d *shadow.Difference) {
	if r.json {
		r.line(map[string]any{"found": d})
		return
	}
	if len(r.kept) == maxKept {
		r.kept = slices.Delete(r.kept, 0, 1)
	}
	r.kept = append(r.kept, d)
	what := d.Extension
	if d.Watcher != "" {
		what = d.Watcher + " watching " + d.Package + " of " + d.Extension
	}
	text := fmt.Sprintf("%s  difference %d: %s is %s at Lamplight and %s at the running system: %s\n    %s", seconds(d.Since), d.ID, what, d.Lamplight.State, d.Running.State, d.Cause, d.Because)
	for _, side := range []struct {
		name string
		all  []shadow.Seen
	}{{"Lamplight", d.Events.Lamplight}, {"the running system", d.Events.Running}} {
		for _, s := range side.all {
			text += fmt.Sprintf("\n    %s  %s: %s", s.At.UTC().Format(time.RFC3339Nano), side.name, s.What)
		}
	}
	r.print(text)
}

// Over implements shadow.Reporter.
func (r *shadowReport) Over(d *shadow.Difference) {
	if r.json {
		r.line(map[string]any{"over": d})
		return
	}
	r.print(fmt.Sprintf("%s  difference %d is over: %s, after %.1f s", seconds(d.Over), d.ID, d.Extension, d.Lasted))
}

// Summary implements shadow.Reporter.
func (r *shadowReport) Summary(s *shadow.Summary) {
	r.last = s
	if r.json {
		r.line(map[string]any{"summary": s})
		return
	}
	r.print(fmt.Sprintf("%s  %d extensions compared: %d agree, %d wait, %d differ; %d are lit and unwatched; %d differences so far", seconds(s.At),
		s.Extensions.Compared, s.Extensions.Agreed, s.Extensions.Waiting, s.Extensions.Differ, s.Extensions.Unwatched, s.Differences.All))
}

// seconds is a time for people.
func seconds(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// line prints a document as one line.
func (r *shadowReport) line(v any) {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		r.fail(err)
		return
	}
	r.print(string(text))
}

func (r *shadowReport) print(text string) {
	if err := writeLine(r.out, text); err != nil {
		r.fail(err)
	}
}

// end prints the tables at the end.
func (r *shadowReport) end() error {
	s := r.last
	if r.json || s == nil {
		return nil
	}
	w := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	if len(r.kept) > 0 {
		fmt.Fprintln(w, "\nDIFFERENCE\tKIND\tEXTENSION\tWATCHER\tLAMPLIGHT\tRUNNING SYSTEM\tSINCE\tSECONDS\tCAUSE")
	}
	for _, d := range r.kept {
		lasted, watcher := "open", "-"
		if !d.Over.IsZero() {
			lasted = fmt.Sprintf("%.1f", d.Lasted)
		}
		if d.Watcher != "" {
			watcher = d.Watcher
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Kind, d.Extension, watcher, d.Lamplight.State, d.Running.State, seconds(d.Since), lasted, d.Cause)
	}
	fmt.Fprintln(w, "\nCAUSE\tDIFFERENCES")
	for _, cause := range shadow.Causes {
		if n := s.Differences.ByCause[cause]; n > 0 {
			fmt.Fprintf(w, "%s\t%d\n", cause, n)
		}
	}
	fmt.Fprintln(w, "\nLATER\tCHANGES\tP50 MS\tP90 MS\tP99 MS\tMAX MS")
	for _, l := range []struct {
		name string
		shadow.Later
	}{{"Lamplight", s.Later.Lamplight}, {"the running system", s.Later.Running}} {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", l.name, l.Changes, l.P50, l.P90, l.P99, l.Most)
	}
	fmt.Fprintln(w, "\nEXTENSIONS\tAGREED\tWAITING\tDIFFER\tUNWATCHED\tUNREADABLE\tLISTINGS")
	fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d of Lamplight, %d of the running system\n", s.Extensions.Compared, s.Extensions.Agreed, s.Extensions.Waiting, s.Extensions.Differ,
		s.Extensions.Unwatched, s.Unreadable, s.Listings.Lamplight.Complete, s.Listings.Running.Complete)
	if s.Subscriptions.Compared {
		fmt.Fprintln(w, "\nSUBSCRIPTIONS\tONLY LAMPLIGHT\tONLY RUNNING SYSTEM")
		fmt.Fprintf(w, "%d\t%d\t%d\n", s.Subscriptions.Both, s.Subscriptions.Lamplight, s.Subscriptions.Running)
	}
	return w.Flush()
}
