package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"lamplight/cluster/status"
)

type sourcesCommand struct {
	Output  string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout span   `default:"1s" help:"How long to wait for nodes that do not answer."`
	natsFlags
}

// Run implements sources.
func (c *sourcesCommand) Run(out io.Writer) error {
	all, err := c.ask("lamplight sources", time.Duration(c.Timeout), status.Ask{})
	if err != nil {
		return err
	}
	views := status.Sources(all)
	if c.Output == "json" {
		return printJSON(out, views)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tSWITCH\tSTATE\tEXPIRES\tCALLS\tINCARNATION\tNODE")
	for _, v := range views {
		name, state, expires := v.Source.Source, "up", v.ExpiresAt.Format(time.RFC3339)
		switch {
		case name == "":
			name, state, expires = "-", "-", "-"
		case v.Silent:
			state = "silent"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", name, v.SwitchURI, state, expires, v.Calls, v.Incarnation, v.Node)
	}
	return w.Flush()
}
