package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"lamplight/cluster/natsd"
	"lamplight/cmd/lamplight/node"
	"lamplight/transport/access"
	"lamplight/transport/client"
)

type checkCommand struct{ serveFlags }

// Run implements check-config. It refuses what serve would refuse, starts nothing, and writes nothing.
func (c *checkCommand) Run(out io.Writer, line *kong.Context) error {
	sync, err := c.check()
	if err != nil {
		return err
	}
	if _, err := newLog(io.Discard, c.LogLevel, c.LogFormat); err != nil {
		return err
	}
	config, err := c.node(sync, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if _, err := access.NewVerifier(nil, config.JWKS, config.Audience); err != nil {
		return err
	}
	if err := checkData(&config); err != nil {
		return err
	}
	if err := c.checkTokenKey(); err != nil {
		return err
	}
	if err := config.PortsInUse(); err != nil {
		fmt.Fprintf(os.Stderr, "warning: %v\n", err)
	}
	c.print(out, line)
	_, err = fmt.Fprintln(out, "# the configuration is good")
	return err
}

// checkTokenKey refuses a token key that can't be read. serve makes one if there is none.
func (f *serveFlags) checkTokenKey() error {
	data, err := os.ReadFile(f.tokenKeyPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = access.ParseKey(data)
	}
	if err != nil {
		return fmt.Errorf("token key %s: %w", f.tokenKeyPath(), err)
	}
	return nil
}

// checkData refuses a data directory and a configuration of the embedded NATS server with which the server would not start.
func checkData(c *node.Config) error {
	if c.Embedded == nil {
		return natsd.Writable(c.Data)
	}
	s := natsd.Config{Listen: c.Embedded.Listen, Data: c.Data, Config: c.Embedded.Config, Sync: c.Embedded.Sync, Name: c.Name}
	if c.Embedded.Cluster != "" {
		s.Routes = &natsd.Routes{Listen: c.Embedded.Cluster}
	}
	inUse, err := natsd.Check(s)
	if inUse {
		fmt.Fprintf(os.Stderr, "warning: data directory %s is in use by another lamplight process: a second one would not start on it\n", c.Data)
	}
	return err
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
			if c.Nats == "embedded" { // else it depends on the NATS servers
				v = c.replicas()
			}
		case "max-connections", "max-connections-per-address":
			n := node.New(node.Config{MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress, Log: slog.New(slog.DiscardHandler)})
			most, mostOf := n.MaxConnections()
			if v = most; f.Name != "max-connections" {
				v = mostOf
			}
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
