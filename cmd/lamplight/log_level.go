package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"lamplight/cluster/loglevel"
	"lamplight/transport/client"
)

type logLevelCommand struct {
	Level   string `arg:"" optional:"" help:"The new level: debug, info, warn or error. Without it, the levels are shown."`
	Part    string `placeholder:"PART" help:"The part of the node whose level is changed: ${parts} (default: all parts)."`
	Node    string `placeholder:"NAME" help:"The only node that is asked (default: all nodes)."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout span   `default:"1s" help:"How long to wait for nodes that do not answer."`
	natsFlags
}

// Run implements log-level. It fails when a node refuses the change or does not answer.
func (c *logLevelCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Level != "" {
		if _, err := loglevel.Parse(c.Level); err != nil {
			return usage(err)
		}
	} else if c.Part != "" {
		return fmt.Errorf("%w: --part is %s and no level is given; give one, such as lamplight log-level debug --part %s", errUsage, c.Part, c.Part)
	}
	if c.Part != "" && !slices.Contains(loglevel.Parts, c.Part) {
		return usage((&loglevel.Levels{}).Set(c.Part, 0))
	}
	conn, err := c.connect("lamplight log-level")
	if err != nil {
		return err
	}
	defer conn.Close()
	cl := client.New(client.Config{Conn: conn, Prefix: c.prefix()})
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Timeout))
	defer cancel()
	nodes := []string{c.Node}
	if c.Node == "" {
		all, err := cl.Status(ctx)
		if err != nil {
			return err
		}
		nodes = nodes[:0]
		for _, s := range all {
			nodes = append(nodes, s.Node)
		}
	}
	answers, err := cl.LogLevels(ctx, loglevel.Change{Node: c.Node, Part: c.Part, Level: c.Level}, nodes)
	slices.SortFunc(answers, func(a, b loglevel.Answer) int { return cmp.Compare(a.Node, b.Node) })
	var refused error
	for _, a := range answers {
		if a.Error != "" {
			refused = errors.Join(refused, fmt.Errorf("the node %s has changed nothing: %s", a.Node, a.Error))
		}
	}
	err = errors.Join(refused, err)
	if c.Output == "json" {
		return errors.Join(printJSON(out, answers), err)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPART\tLEVEL")
	for _, a := range answers {
		for _, part := range slices.Sorted(maps.Keys(a.Levels)) {
			fmt.Fprintf(w, "%s\t%s\t%s\n", a.Node, part, a.Levels[part])
		}
	}
	return errors.Join(w.Flush(), err)
}
