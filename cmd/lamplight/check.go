package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"lamplight/cmd/lamplight/node"
	"lamplight/transport/client"
)

type checkCommand struct {
	Serve serveWord `arg:"" optional:"" help:"The word serve, so that a command line of serve can be checked as it is."`
	serveFlags
}

// Run implements check-config. It refuses what serve would refuse, starts nothing, and writes nothing.
func (c *checkCommand) Run(out io.Writer, line *kong.Context) error {
	config, passing, err := c.settings(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if passing != nil {
		var runs string
		if runs, passing = c.besideNode(config, passing); runs != "" {
			fmt.Fprintf(os.Stderr, "note: %s\n", runs)
		}
	}
	if passing != nil {
		for warning := range strings.Lines(passing.Error()) {
			fmt.Fprintf(os.Stderr, "warning: %s\n", strings.TrimSpace(warning))
		}
	}
	c.print(out, line)
	_, err = fmt.Fprintln(out, "# the configuration is good")
	return err
}

// besideNode looks whether what keeps a node from starting now is a node that runs already. It returns a sentence about that node, "" if there
// is none, and what is left of passing without what the node itself holds.
func (c *checkCommand) besideNode(config node.Config, passing error) (runs string, rest error) {
	d := &doctor{serveFlags: &c.serveFlags, config: config, within: time.Second}
	if err := d.look(); err != nil || d.node == 0 {
		return "", passing
	}
	busy, _ := checkData(&config)
	rest = c.lookUp()
	with := "the data directory " + c.Data
	if !d.locks {
		rest = errors.Join(rest, busy)
		with = "the port of --http " + c.HTTP
	}
	for _, p := range config.Ports() {
		later, _ := p.Try()
		if pid, _ := d.holder(p); later != nil && pid != d.node {
			rest = errors.Join(rest, later)
		}
	}
	runs = fmt.Sprintf("%s runs already, as process %d, with %s; a second one would not start beside it", cmp.Or(d.nodeName(), "a node"), d.node, with)
	if rest == nil {
		runs += "; otherwise this configuration is right"
	}
	return runs, rest
}

// print prints every setting as a line of a configuration file, and where it came from.
func (c *checkCommand) print(out io.Writer, line *kong.Context) {
	from := map[*kong.Flag]string{}
	for _, p := range line.Path {
		if p.Flag == nil {
			continue
		}
		from[p.Flag] = "flag"
		if p.Resolved {
			from[p.Flag] = "file"
		}
	}
	for _, f := range line.Flags() {
		if f.Name == "help" || f.Name == "version" || f.Name == "config" {
			continue
		}
		source := from[f]
		for _, variable := range f.Envs {
			if _, set := os.LookupEnv(variable); set && source == "" {
				source = "environment, " + variable
			}
		}
		if source == "" {
			source = "default"
		}
		if value := c.value(f); value == `""` || value == "[]" {
			fmt.Fprintf(out, "# %s is not set\n", f.Name)
		} else {
			fmt.Fprintf(out, "%s: %s  # %s\n", f.Name, value, source)
		}
	}
}

// value returns the value of a flag as a configuration file has it, without passwords. A flag that is empty has the value that serve
// gives it.
func (c *checkCommand) value(f *kong.Flag) string {
	switch v := f.Target.Interface().(type) {
	case []string:
		if f.Name == "bridge-amqp" {
			v = strings.Split(client.Redacted(strings.Join(v, ",")), ",")
		}
		return plain("[" + strings.Join(v, ", ") + "]")
	case string:
		switch f.Name {
		case "nats":
			v = client.Redacted(v)
		case "token-key":
			v = c.tokenKeyPath()
		}
		return plain(v)
	default:
		switch f.Name {
		case "replicas":
			switch {
			case c.Nats == "embedded":
				return strconv.Itoa(c.replicas())
			case c.Replicas == 0: // it depends on the NATS servers
				return `""`
			}
		case "max-connections", "max-connections-per-address":
			n := node.New(node.Config{MaxConnections: int(c.MaxConnections), MaxPerAddress: int(c.MaxPerAddress), Log: slog.New(slog.DiscardHandler)})
			most, mostOf := n.MaxConnections()
			if f.Name == "max-connections" {
				return strconv.Itoa(most)
			}
			return strconv.Itoa(mostOf)
		}
		return fmt.Sprint(v)
	}
}

// plain returns a text as YAML has it: in quotes where they are needed.
func plain(s string) string {
	var back any
	if err := yaml.Unmarshal([]byte("x: "+s+"  # y"), &back); err != nil {
		return strconv.Quote(s)
	}
	m, _ := back.(map[string]any)
	if _, isList := m["x"].([]any); isList && strings.HasPrefix(s, "[") || s != "" && fmt.Sprint(m["x"]) == s {
		return s
	}
	return strconv.Quote(s)
}
