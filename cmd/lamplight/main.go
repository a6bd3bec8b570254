// Command lamplight is a clustered in-memory presence server for telephone carriers. This package is its command line: it reads
// flags, prints results and sets exit codes (docs/contract/command-line.md). Package node makes the parts of a node and puts
// them together; package bench runs the benchmarks.
//
// main.go has the commands and the exit codes, config.go the configuration file, values.go the types of flags and arguments. nats.go has the flags of all commands that talk to NATS.
// settings.go and addresses.go check the flags of serve and check-config, sip_flags.go those of a SIP edge.
// Each other file has one command; check.go is check-config, the doctor files are doctor, help.go also has version and the man page, watchers.go also has top,
// and account.go and bench.go have all commands below account and bench. bridge.go has what all bridges share, each bridge_*.go one of them. presence.go has what
// the commands below presence share, and list, show and set.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors/presence"
	"lamplight/bench"
	"lamplight/cluster/directory"
	"lamplight/cluster/loglevel"
	"lamplight/transport/client"
)

// version is the release. The build sets it.
var version = "0.1.0"

// commands is the command line, as kong reads it from the tags.
type commands struct {
	Config      kong.ConfigFlag `help:"A YAML file with values of flags. A flag on the command line wins over its LAMPLIGHT_* variable, which wins over the file." placeholder:"FILE"`
	ShowVersion versionFlag     `name:"version" env:"-" help:"Print the version."`

	Serve       serveCommand      `cmd:"" help:"Run a node. Without flags it serves HTTP on 127.0.0.1:8000, starts an embedded NATS server on 127.0.0.1:4222 and keeps its data in ./lamplight-data."`
	Edge        edgeCommand       `cmd:"" help:"Run a SIP edge alone: phones subscribe there, and it reaches the nodes over NATS."`
	Bridge      bridgeCommand     `cmd:"" help:"Bring news of calls from switches and other platforms to the nodes, over NATS."`
	Token       tokenCommand      `cmd:"" help:"Make an API token for an account and print it."`
	Account     accountCommand    `cmd:"" help:"Create and list accounts."`
	Import      importCommand     `cmd:"" help:"Load accounts, users and devices from a JSON file. It removes nothing, and loading a file twice changes nothing."`
	Presence    presenceCommand   `cmd:"" help:"List, show, set, reset and watch lamps, over NATS."`
	Cluster     clusterCommand    `cmd:"" help:"Show the nodes with their states, shards and load, and what they disagree on. It exits with 1 when shards have no owner."`
	LogLevel    logLevelCommand   `cmd:"" name:"log-level" help:"Show or change the levels of the nodes' logs while they run, over NATS."`
	Watchers    watchersCommand   `cmd:"" help:"Say by edge how many watchers may show something else than their lamps are, since when, and of which extensions."`
	Top         topCommand        `cmd:"" help:"List the accounts that make the most HTTP requests, events and NOTIFYs now, or hold the most subscriptions."`
	Sources     sourcesCommand    `cmd:"" help:"List the sources of calls, such as bridges, and the switches with the number of their calls."`
	Shadow      shadowCommand     `cmd:"" help:"Compare the lamps and subscriptions of a realm with those of the presence server that phones use now, until the command is interrupted."`
	Backup      backupCommand     `cmd:"" help:"Save the journal and the directory in one file, and check such files."`
	Restore     restoreCommand    `cmd:"" help:"Load a file that backup wrote, before the first node serves: start the nodes with --await-restore."`
	Bench       benchCommand      `cmd:"" help:"Put load on a cluster, measure it, and check all the while that every lamp is right."`
	CheckConfig checkCommand      `cmd:"" name:"check-config" help:"Check the flags, variables, configuration file and files that serve would use, and print every setting with where it came from."`
	Doctor      doctorCommand     `cmd:"" help:"Examine this machine for a node: configuration, ports, clock, limits, disk, NATS, gossip and keys. It says what is wrong and what to do, before a node is started and beside a running one. It takes the flags of serve, and exits with 1 when something is wrong."`
	Ready       readyCommand      `cmd:"" help:"Ask a node on this machine whether it serves, for health checks. It exits with 1 when the node does not."`
	Completion  completionCommand `cmd:"" help:"Print a script that completes command lines in bash, zsh or fish."`
	Help        helpCommand       `cmd:"" help:"Show the help of a command, or the man page."`
	Version     versionCommand    `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// exitCodes are what the exit codes mean.
var exitCodes = []struct {
	code    int
	meaning string
}{{0, "done"}, {1, "failed"}, {2, "wrong usage: a flag, an argument or the configuration file is wrong"},
	{3, "bench: the load met a condition of --fail-if"}}

// errUsage marks the errors of a command that was called in a wrong way.
var errUsage = errors.New("usage")

// noLeader is JetStream's error code when its servers have no leader: they have lost their majority, or still elect one.
const noLeader = 10008

// leaderless says whether err comes from NATS servers that say so, or from a cluster of them that does not answer.
func leaderless(err error) bool {
	var api *jetstream.APIError
	var old *nats.APIError // the error of the client library's older interface, which the directory's watch uses
	return errors.As(err, &api) && api.ErrorCode == noLeader || errors.As(err, &old) && old.ErrorCode == noLeader || errors.Is(err, directory.ErrNoAnswer)
}

// newParser makes the parser of the command line.
func newParser(c *commands, more ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{kong.Name("lamplight"), kong.DefaultEnvars("LAMPLIGHT"),
		kong.Description("A presence server for telephone carriers: it keeps the state of BLF keys, buddy lists and message lamps, and tells each change to the phones that watch."),
		kong.Vars{"version": version, "parts": presence.Or(loglevel.Parts), "packages": presence.PackageNames(), "sources": presence.Or(presence.Sources[:]),
			"manual": presence.StateNames(presence.ManualStates[:]), "lit": presence.StateNames(presence.LitStates[:])}}, more...)...)
}

// run runs a command line and returns the exit code, one of exitCodes.
func run(args []string, stdout, stderr io.Writer) int {
	var c commands
	exit := -1
	parser, err := newParser(&c, kong.Configuration(yamlFile), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }), kong.BindTo(stdout, (*io.Writer)(nil)), kong.Bind(commandLine(args), &c.Config))
	if err != nil {
		fmt.Fprintln(stderr, "lamplight:", err)
		return 2
	}
	ctx, err := parser.Parse(negatives(args))
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
			ctx = wrong.Context
		}
		fmt.Fprintf(stderr, "lamplight: %v\n%s\n", err, tryHelp(ctx))
		return 2
	}
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(stderr, "lamplight:", err)
		if leaderless(err) {
			fmt.Fprintln(stderr, "The NATS servers have no leader. More than half of the NATS servers must be up.")
		}
		refused, ok := errors.AsType[*client.Refusal](err)
		if errors.Is(err, errUsage) || ok && (refused.Code == "400" || refused.Code == "413") { // which a value on the command line caused
			fmt.Fprintln(stderr, tryHelp(ctx))
			return 2
		}
		if errors.Is(err, bench.ErrThreshold) {
			return 3
		}
		return 1
	}
	return 0
}

// newLog makes the log of a node. level and format are the values of --log-level and --log-format.
func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // the flag takes only names of levels
	o := &slog.HandlerOptions{Level: slog.LevelDebug}
	if format == "json" {
		return slog.New(loglevel.New(slog.NewJSONHandler(w, o), l))
	}
	return slog.New(loglevel.New(slog.NewTextHandler(w, o), l))
}

// negatives joins a flag and a negative number behind it, as in --rate-limit -1, with a =. The parser would read the number as a short
// flag, and say so, where the number is what is wrong.
func negatives(args []string) (joined []string) {
	for i, a := range args {
		if a == "--" {
			return append(joined, args[i:]...)
		}
		number := len(a) > 1 && a[0] == '-' && (a[1] >= '0' && a[1] <= '9' || a[1] == '.')
		if n := len(joined); number && n > 0 && strings.HasPrefix(joined[n-1], "-") && !strings.Contains(joined[n-1], "=") {
			joined[n-1] += "=" + a
			continue
		}
		joined = append(joined, a)
	}
	return joined
}
