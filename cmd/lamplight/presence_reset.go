package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"lamplight/actors/presence"
	"lamplight/transport/client"
)

type presenceReset struct {
	presenceFlags
	Extension extensionsName `arg:"" optional:"" help:"The user part of the extension, such as 1001 or *3101; * means all extensions of the realm."`
	All       bool           `help:"Reset all extensions of the realm, as * does."`
	Switch    string         `placeholder:"URI" help:"End the calls of this switch instead, of all realms: those that were last heard of before --before. It needs neither --account nor --realm."`
	Before    moment         `placeholder:"TIME" help:"With --switch: only calls that were last heard of before this time, such as 2026-11-28T10:00:00Z, or before as long ago as 10m. Without it, all."`
	Yes       bool           `short:"y" help:"Do not ask before all extensions are reset. It is needed where nobody can answer."`
}

// errNo is the error of a command that was not confirmed.
var errNo = errors.New("nothing was reset")

// Run implements presence reset.
func (c *presenceReset) Run(out io.Writer) error {
	all := c.All || c.Extension == "*"
	switch {
	case c.Switch != "" && len(c.Switch) > presence.MaxSwitch:
		return fmt.Errorf("%w: --switch has %d bytes; it must be a Switch-URI of at most %d", errUsage, len(c.Switch), presence.MaxSwitch)
	case c.Switch != "" && (c.Extension != "" || c.All || c.Account != "" || c.Realm != ""):
		return fmt.Errorf("%w: --switch is about all realms; it goes with no extension, --all, --account and --realm", errUsage)
	case c.Switch != "":
		return c.endSwitch(out)
	case !c.Before.IsZero():
		return fmt.Errorf("%w: --before goes only with --switch", errUsage)
	case c.Extension == "" && !c.All:
		return fmt.Errorf("%w: give the extension to reset, or --all for all extensions of the realm", errUsage)
	case c.All && c.Extension != "" && c.Extension != "*":
		return fmt.Errorf("%w: give either the extension %s or --all", errUsage, c.Extension)
	case all && !c.Yes && !term.IsTerminal(int(os.Stdin.Fd())):
		return fmt.Errorf("%w: resetting all extensions of a realm asks first, and standard input is no terminal; give --yes to do it without a question", errUsage)
	case !all:
		return c.command(out, func(ctx context.Context, cl *client.Client, realm string) (client.Answer, error) {
			if err := c.warnOfUnknown(ctx, cl, realm); err != nil {
				return nil, err
			}
			return cl.Reset(ctx, realm, string(c.Extension))
		})
	}
	if !c.Yes {
		if err := c.confirm(os.Stdin, os.Stderr); err != nil {
			return err
		}
	}
	return c.with(func(ctx context.Context, cl *client.Client, realm string) error {
		a, err := cl.Reset(ctx, realm, "*")
		switch {
		case err != nil:
			return err
		case c.Output == "json":
			return printJSON(out, a)
		case a["Extensions"] == nil: // of a node of an earlier release
			_, err = fmt.Fprintf(out, "reset all extensions of %s\n", realm)
		default:
			_, err = fmt.Fprintf(out, "reset %s of %s\n", extensions(string(a["Extensions"])), realm)
		}
		return err
	})
}

// endSwitch ends the calls of a switch.
func (c *presenceReset) endSwitch(out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	conn, err := c.connect("lamplight presence")
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), max(time.Duration(c.Timeout), client.SwitchTime))
	defer cancel()
	a, err := client.New(client.Config{Conn: conn, Prefix: c.prefix(), App: "lamplight-cli", AppVersion: version}).SwitchGone(ctx, c.Switch, c.Before.Time)
	switch {
	case err != nil:
		return err
	case c.Output == "json":
		return printJSON(out, a)
	}
	_, err = fmt.Fprintf(out, "ended %s calls of %s\n", a["Ended"], c.Switch)
	return err
}

// warnOfUnknown says so when nothing is known of the extension.
func (c *presenceReset) warnOfUnknown(ctx context.Context, cl *client.Client, realm string) error {
	parts := false // subscriptions came in answers before the last
	return cl.Show(ctx, realm, string(c.Extension), false, func(a client.Answer) error {
		if a["Subscriptions"] != nil {
			parts = true
			return nil
		}
		known, err := knows(a)
		if err == nil && !known && !parts {
			sayUnknown(string(c.Extension), realm)
		}
		return err
	})
}

// confirm asks whether all extensions shall be reset. The error is errNo unless the answer is yes.
func (c *presenceReset) confirm(in io.Reader, out io.Writer) error {
	return c.with(func(ctx context.Context, cl *client.Client, realm string) error {
		n, err := count(ctx, cl, realm)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "reset all %s of %s? [y/N] ", extensions(fmt.Sprint(n)), realm)
		answer, _ := bufio.NewReader(in).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errNo
		}
		return nil
	})
}

// count returns how many extensions of a realm are watched or lit.
func count(ctx context.Context, cl *client.Client, realm string) (int, error) {
	users := map[string]bool{}
	add := func(field string) func(client.Answer) error {
		return func(a client.Answer) error {
			var part map[string]jsontext.Value
			if err := json.Unmarshal(a[field], &part); err != nil {
				return err
			}
			for user := range part {
				users[user] = true
			}
			return incomplete(a["missing_shards"])
		}
	}
	err := cl.Count(ctx, realm, add("Subscriptions"))
	if err == nil {
		err = cl.Lamps(ctx, realm, client.Lit{}, add("Lamps"))
	}
	return len(users), err
}

// extensions names a number of extensions.
func extensions(n string) string {
	if n == "1" {
		return "1 extension"
	}
	return n + " extensions"
}
