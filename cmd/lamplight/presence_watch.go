package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/transport/client"
)

type presenceWatch struct {
	presenceFlags
	watchSIPFlags
	Extension extensionName `arg:"" optional:"" help:"Watch only this extension: its user part, such as 1001 or *3101."`
}

// Run implements presence watch.
func (c *presenceWatch) Run(out io.Writer, line *kong.Context) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.SIP != "" {
		if c.Extension != "" || c.Realm != "" || c.Account != "" {
			return fmt.Errorf("%w: --sip names the extension and the realm: leave the argument, --realm and --account out", errUsage)
		}
		return c.watch(ctx, out, c.Output, time.Duration(c.Timeout))
	}
	for _, p := range line.Path {
		if p.Flag != nil && !p.Resolved && slices.Contains(onlySIP, p.Flag.Name) { // the configuration file's values are for when they are needed
			return fmt.Errorf("%w: --%s is for a watch over SIP: give --sip too, or leave it out", errUsage, p.Flag.Name)
		}
	}
	open, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout))
	defer cancel()
	cl, done, realm, err := c.open(open)
	if err != nil {
		return err
	}
	defer done()
	if err := c.checkNames(open, cl, realm); err != nil {
		return err
	}
	return cl.Watch(ctx, realm, string(c.Extension), client.Watcher{
		Ready: func() { fmt.Fprintf(os.Stderr, "watching %s; press Ctrl-C to end\n", realm) },
		Change: func(change client.Change) (err error) {
			if c.Output == "json" {
				_, err = fmt.Fprintln(out, string(change.Raw))
			} else {
				_, err = fmt.Fprintf(out, "%s  %s  %s -> %s\n", change.At, change.Extension, change.Previous, change.State)
			}
			return err
		},
		Gap: func(ctx context.Context, g client.Gap) error {
			shown := c.after(ctx, cl, realm, g)
			if c.Output == "json" {
				b, err := json.Marshal(map[string]gap{"gap": shown}, json.Deterministic(true))
				return errors.Join(err, writeLine(out, string(b)))
			}
			return shown.print(out)
		},
	})
}

// checkNames refuses a realm that no account has, and says so when nothing is known of the extension. While no node answers it
// checks nothing: the nodes may come later.
func (c *presenceWatch) checkNames(ctx context.Context, cl *client.Client, realm string) error {
	user := string(c.Extension)
	if user == "" {
		user = "watch" // any name: whoever asks for an extension hears whether its realm exists
	}
	known := false
	err := cl.Show(ctx, realm, user, false, func(a client.Answer) (err error) {
		if a["Subscriptions"] == nil && !known {
			known, err = knows(a)
			return err
		}
		known = true
		return nil
	})
	var refused *client.Refusal
	if errors.As(err, &refused) && refused.Code != "503" {
		return err
	}
	if err == nil && !known && c.Extension != "" {
		sayUnknown(string(c.Extension), realm)
	}
	return nil
}

// gap is what presence watch prints when changes may be missing.
type gap struct {
	Since   time.Time                 `json:"since"`
	Until   time.Time                 `json:"until"`
	Reason  string                    `json:"reason"`
	Lamps   map[string]jsontext.Value `json:"lamps,omitzero"`          // all that are lit now; absent: the nodes did not say
	Missing jsontext.Value            `json:"missing_shards,omitzero"` // the shards of which Lamps shows nothing
	Error   string                    `json:"error,omitzero"`          // why Lamps is absent
}

// after makes what is printed after a gap: with the lamps that are lit now. Nodes that do not answer are asked again for
// --timeout.
func (c *presenceWatch) after(ctx context.Context, cl *client.Client, realm string, g client.Gap) gap {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout))
	defer cancel()
	for {
		shown := gap{Since: g.Since, Until: g.Until, Reason: g.Reason, Lamps: map[string]jsontext.Value{}}
		err := cl.Lamps(ctx, realm, client.Lit{}, func(a client.Answer) error {
			shown.Missing = a["missing_shards"]
			return addLamps(shown.Lamps, a)
		})
		if c.Extension != "" {
			for user := range shown.Lamps {
				if !strings.EqualFold(user, string(c.Extension)) {
					delete(shown.Lamps, user)
				}
			}
		}
		var refused *client.Refusal
		if err == nil {
			return shown
		}
		shown.Lamps, shown.Error = nil, err.Error()
		if errors.Is(err, client.ErrNoLamps) || errors.As(err, &refused) && refused.Code != "503" || !pause(ctx) {
			return shown
		}
	}
}

// pause waits a moment. It returns false when ctx ends first.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(250 * time.Millisecond):
		return true
	}
}

// print prints the gap and the lamps as lines.
func (g *gap) print(out io.Writer) error {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	err := writeLine(out, fmt.Sprintf("%s  changes may be missing since %s: %s", stamp(g.Until), stamp(g.Since), g.Reason))
	switch {
	case g.Error != "":
		return errors.Join(err, writeLine(out, "what is lit now is not known: "+g.Error))
	case g.Missing != nil:
		err = errors.Join(err, writeLine(out, "of what is lit now, "+shardsIn(g.Missing)+" did not answer"))
	}
	for _, user := range sorted(g.Lamps) {
		var l lamp
		if err := json.Unmarshal(g.Lamps[user], &l); err != nil {
			return err
		}
		err = errors.Join(err, writeLine(out, fmt.Sprintf("%s  %s  is %s", stamp(g.Until), user, l.State)))
	}
	if len(g.Lamps) == 0 {
		err = errors.Join(err, writeLine(out, stamp(g.Until)+"  no lamp is lit"))
	}
	return err
}

// writeLine writes a line.
func writeLine(out io.Writer, line string) error {
	_, err := fmt.Fprintln(out, line)
	return err
}
