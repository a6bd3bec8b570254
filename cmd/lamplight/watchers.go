package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/status"
	"lamplight/transport/client"
)

type watchersCommand struct {
	Output  string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout span   `default:"2s" help:"How long to wait for nodes that do not answer."`
	natsFlags
}

// Run implements watchers.
func (c *watchersCommand) Run(out io.Writer) error {
	all, err := c.ask("lamplight watchers", time.Duration(c.Timeout), status.Ask{Watchers: true})
	if err != nil {
		return err
	}
	edges := status.WatchersOf(all)
	if c.Output == "json" {
		return printJSON(out, edges)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "EDGE\tLISTENS\tWATCHERS\tNOT TOLD\tNOT ANSWERED\tSINCE")
	lagging := 0
	for _, e := range edges {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\n", e.Edge, listens(e), e.Watchers, e.Untold, e.Unanswered, when(e.Since))
		lagging += e.Untold + e.Unanswered
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if lagging == 0 {
		_, err := fmt.Fprintln(out, "every phone was told what its lamps are, and has answered")
		return err
	}
	fmt.Fprintf(out, "%d watchers may show something else than their lamps are. These have done so for longest; lamplight presence show --explain says why:\n", lagging)
	w = tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "EXTENSION\tEDGE\tNOT TOLD\tNOT ANSWERED\tSINCE")
	for _, e := range edges {
		for _, x := range e.Worst {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", x.Extension, e.Edge, x.Untold, x.Unanswered, when(x.Since))
		}
	}
	return w.Flush()
}

// listens says in a table whether anybody listens for an edge.
func listens(e status.Watchers) string {
	switch e.Listens {
	case "":
		return "-"
	case presence.EdgeDown:
		return "down since " + when(e.ListensAt)
	case presence.EdgeNobody:
		return "nobody at " + when(e.ListensAt)
	case presence.EdgeNeverUp:
		return "never said edge.up"
	}
	return e.Listens
}

// when is a time in a table; the zero time is none.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// ask asks all nodes for their status, once, on a connection of its own. name is that connection's name in NATS.
func (f *natsFlags) ask(name string, within time.Duration, what status.Ask) ([]status.Status, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	conn, err := f.connect(name)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return client.New(client.Config{Conn: conn, Prefix: f.prefix()}).AskStatus(ctx, what)
}

type topCommand struct {
	By       string `enum:"requests,events,notifies,subscriptions" default:"events" help:"By what the accounts are sorted: requests, events, notifies or subscriptions."`
	Count    amount `short:"n" default:"20" help:"How many accounts are shown."`
	Interval span   `default:"2s" help:"Over how long a time is counted, at most 5s."`
	Output   string `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout  span   `default:"1s" help:"How long to wait, after the interval, for nodes that do not answer."`
	natsFlags
}

// Run implements top.
func (c *topCommand) Run(out io.Writer) error {
	over := time.Duration(c.Interval)
	if over < time.Millisecond || over > status.MostTop*time.Millisecond {
		return fmt.Errorf("%w: --interval is %v; it must be 1ms to 5s", errUsage, over)
	}
	all, err := c.ask("lamplight top", over+time.Duration(c.Timeout), status.Ask{Top: int(over.Milliseconds())})
	if err != nil {
		return err
	}
	uses := status.TopOf(all)
	status.SortUses(uses, c.By)
	uses = uses[:min(len(uses), int(c.Count))]
	if c.Output == "json" {
		return printJSON(out, uses)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tREALM\tREQUESTS/S\tEVENTS/S\tNOTIFIES/S\tSUBSCRIPTIONS\tREFUSED/S")
	for _, u := range uses {
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%d\t%.1f\n", u.Account, u.Realm, u.Requests, u.Events, u.Notifies, u.Subscriptions, u.Refused)
	}
	return w.Flush()
}
