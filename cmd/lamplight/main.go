// Command lamplight is a clustered in-memory presence server for telephone carriers. This package is the only place
// where the parts are wired together; each file holds one subcommand.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v3"

	"lamplight/actors/presence"
)

// version is set by the build.
var version = "0.1.0"

type commands struct {
	Config kong.ConfigFlag `help:"Read flags from this YAML file. Flags win over LAMPLIGHT_* variables, which win over the file." placeholder:"FILE"`

	Serve       serveCommand    `cmd:"" help:"Run a node. Without flags: HTTP on :8000, an embedded NATS server on 127.0.0.1:4222, data in ./lamplight-data."`
	Token       tokenCommand    `cmd:"" help:"Make an API token for an account and print it."`
	Import      importCommand   `cmd:"" help:"Load accounts, users and devices from a JSON file. Loading twice changes nothing."`
	Presence    presenceCommand `cmd:"" help:"List, show, set, reset and watch lamps, over NATS."`
	Cluster     clusterCommand  `cmd:"" help:"Show the nodes, their states, shards and load, and what disagrees. Fails when shards have no owner."`
	Backup      backupCommand   `cmd:"" help:"Save the journal and the directory in one file, while nodes serve or not. The file holds secrets."`
	Restore     restoreCommand  `cmd:"" help:"Load what backup saved, where no node has served yet: start the nodes with --await-restore."`
	Bench       benchCommand    `cmd:"" help:"Load a cluster and measure it; checks all the while that every lamp is right."`
	CheckConfig checkCommand    `cmd:"" name:"check-config" help:"Check the flags, variables and configuration file that serve would use, and print them."`
	Version     versionCommand  `cmd:"" help:"Print the version."`
}

type versionCommand struct{}

func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "lamplight", version)
	return err
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errUsage marks errors that are about how the command was called.
var errUsage = errors.New("usage")

// noLeader is NATS's code for a cluster that has lost its majority, or still elects.
const noLeader = 10008

func leaderless(err error) bool {
	var api *jetstream.APIError
	var old *nats.APIError // of the client's older interface, which key-value buckets are watched through
	return errors.As(err, &api) && api.ErrorCode == noLeader || errors.As(err, &old) && old.ErrorCode == noLeader
}

// newParser is the command line.
func newParser(c *commands, more ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{kong.Name("lamplight"), kong.DefaultEnvars("LAMPLIGHT"),
		kong.Description("Which lamp is lit, and who must be told: presence (BLF, buddy lists, message lamps) for telephone carriers."),
		kong.Vars{"version": version, "packages": presence.PackageNames()}}, more...)...)
}

// run is main without the process: 0 done, 1 failed, 2 wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	var c commands
	exit := -1
	parser, err := newParser(&c, kong.UsageOnError(), kong.Configuration(yamlFile), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }), kong.BindTo(stdout, (*io.Writer)(nil)))
	if err != nil {
		fmt.Fprintln(stderr, "lamplight:", err)
		return 2
	}
	ctx, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "lamplight: %v\nTry: lamplight --help\n", err)
		return 2
	}
	if err := ctx.Run(); err != nil {
		fmt.Fprintln(stderr, "lamplight:", err)
		if leaderless(err) {
			fmt.Fprintln(stderr, "More than half of the NATS servers must be up.")
		}
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	return 0
}

// file resolves flags from a YAML file: `http: ":8000"`, or per command `serve: {http: ":8000"}`. A variable wins over it.
type file map[string]any

func yamlFile(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{} // not a file: yaml gives inner maps the type of the outer one
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return file(values), nil
}

// Validate refuses names that no command has: a typing error must not pass for a default.
func (f file) Validate(app *kong.Application) error {
	for name, v := range f {
		own, isCommand := v.(map[string]any)
		if !isCommand {
			if !hasFlag(app.Node, name) {
				return fmt.Errorf("%w: the configuration file sets %s, which no command knows", errUsage, name)
			}
			continue
		}
		i := slices.IndexFunc(app.Children, func(c *kong.Node) bool { return c.Name == name })
		if i < 0 {
			return fmt.Errorf("%w: the configuration file has a part for %s, which is no command", errUsage, name)
		}
		for flag := range own {
			if !hasFlag(app.Children[i], flag) {
				return fmt.Errorf("%w: the configuration file sets %s for %s, which has no such flag", errUsage, flag, name)
			}
		}
	}
	return nil
}

func hasFlag(n *kong.Node, name string) bool {
	return slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == name }) ||
		slices.ContainsFunc(n.Children, func(c *kong.Node) bool { return hasFlag(c, name) })
}

// Resolve implements kong.Resolver.
func (f file) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, variable := range flag.Envs {
		if _, set := os.LookupEnv(variable); set {
			return nil, nil
		}
	}
	for n := parent.Node(); n != nil; n = n.Parent {
		name := n.Name
		if name == "check-config" { // it checks what serve would use
			name = "serve"
		}
		if own, ok := f[name].(map[string]any); ok {
			if v, ok := own[flag.Name]; ok {
				return text(v), nil
			}
		}
	}
	if v, ok := f[flag.Name]; ok {
		return text(v), nil
	}
	return nil, nil
}

func text(v any) any {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, p := range list {
			parts[i] = fmt.Sprint(p)
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func newLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%w: --log-level %q: one of debug, info, warn, error", errUsage, level)
	}
	o := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}
