package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"lamplight/cluster/status"
	"lamplight/transport/client"
)

type clusterCommand struct {
	Output   string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout  span   `default:"1s" help:"How long to wait for nodes that do not answer."`
	Interval span   `default:"1s" help:"Over how long a time events are counted, for EVENTS/S."`
	natsFlags
}

// Run implements cluster. It fails when shards have no owner.
func (c *clusterCommand) Run(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	conn, err := c.connect("lamplight cluster")
	if err != nil {
		return err
	}
	defer conn.Close()
	cl := client.New(client.Config{Conn: conn, Prefix: c.prefix()})
	ask := func() ([]status.Status, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Timeout))
		defer cancel()
		return cl.Status(ctx)
	}
	begun := time.Now()
	before, err := ask()
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(c.Interval))
	apart := time.Since(begun)
	now, err := ask()
	if err != nil {
		return err
	}
	o := status.Merge(before, now, apart)
	if c.Output == "json" {
		err = printJSON(out, o)
	} else {
		err = printOverview(out, o)
	}
	if err == nil && len(o.Unowned) > 0 {
		err = fmt.Errorf("%d shards have no owner", len(o.Unowned))
	}
	return err
}

// printOverview prints the nodes as a table, and below it what is wrong.
func printOverview(out io.Writer, o status.Overview) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tMEMBER\tSHARDS\tOPEN\tEXTENSIONS\tSUBSCRIPTIONS\tNOT TOLD\tEVENTS/S\tEVENTS\tTAKEOVERS\tEXPELLED\tVERSION")
	for _, n := range o.Nodes {
		member := "no"
		if n.Member {
			member = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.0f\t%d\t%d\t%d\t%s\n", n.Node, n.State, member, n.Shards, n.Open, n.Extensions, n.Subscriptions,
			n.Behind, n.Rate, n.Events, n.Takeovers, n.Expulsions, n.Version)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(o.Unowned) > 0 {
		fmt.Fprintf(out, "without an owner: %d shards\n", len(o.Unowned))
	}
	for _, d := range o.Disagreements {
		fmt.Fprintln(out, d)
	}
	return nil
}
