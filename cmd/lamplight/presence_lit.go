package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/transport/client"
)

// checkLit refuses flags of presence list that do not go together.
func (c *presenceList) checkLit() error {
	switch filtered := c.OlderThan != 0 || c.State != "" || c.Source != ""; {
	case !c.Lit && filtered:
		return fmt.Errorf("%w: --older-than, --state and --source need --lit", errUsage)
	case !c.Lit:
		return nil
	case c.Event != "":
		return fmt.Errorf("%w: give either --event or --lit, which lists no subscriptions", errUsage)
	}
	return nil
}

// lamp is a lit lamp of a listing.
type lamp struct {
	State   string `json:"state"`
	Since   string `json:"since"`
	Source  string `json:"source"`
	Dialogs []struct {
		CallID string `json:"call_id"`
		To     string `json:"to"`
	} `json:"dialogs"`
}

// lamps prints the lit lamps of the realm.
func (c *presenceList) lamps(out io.Writer) error {
	all := map[string]jsontext.Value{}
	var holes jsontext.Value
	err := c.with(func(ctx context.Context, cl *client.Client, realm string) error {
		return cl.Lamps(ctx, realm, client.Lit{State: string(c.State), Source: string(c.Source), OlderThan: time.Duration(c.OlderThan)}, func(a client.Answer) error {
			holes = a["missing_shards"]
			return addLamps(all, a)
		})
	})
	if err == nil && c.Output == "json" {
		err = printJSON(out, all)
	} else if err == nil {
		err = printLamps(out, all)
	}
	return errors.Join(err, incomplete(holes))
}

// addLamps adds the lamps of one answer.
func addLamps(all map[string]jsontext.Value, a client.Answer) error {
	var part map[string]jsontext.Value
	err := json.Unmarshal(a["Lamps"], &part)
	maps.Copy(all, part)
	return err
}

// printLamps prints lamps as a table.
func printLamps(out io.Writer, all map[string]jsontext.Value) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "EXTENSION\tSTATE\tSOURCE\tSINCE\tDIALOGS\tTO\tCALL-ID")
	for _, user := range sorted(all) {
		var l lamp
		if err := json.Unmarshal(all[user], &l); err != nil {
			return err
		}
		if len(l.Dialogs) > 0 {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", user, l.State, l.Source, l.Since, len(l.Dialogs), l.Dialogs[0].To, l.Dialogs[0].CallID)
		}
	}
	return w.Flush()
}
