package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/bus"
)

// presenceFlags are shared by the control commands.
type presenceFlags struct {
	Account string        `placeholder:"ID" help:"Account whose realm is meant."`
	Realm   string        `placeholder:"R" help:"The realm."`
	Output  string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Timeout time.Duration `default:"13s" help:"How long to wait for an answer; nodes give up by their --request-timeout."`
	natsFlags
}

type presenceCommand struct {
	List  presenceList  `cmd:"" help:"List the subscriptions of a realm."`
	Show  presenceShow  `cmd:"" help:"Show the lamp of an extension; --explain says why it is so."`
	Set   presenceSet   `cmd:"" help:"Set the manual state of an extension: early, confirmed or terminated."`
	Reset presenceReset `cmd:"" help:"Forget the calls, registers and manual state of an extension and tell its watchers; * resets the realm."`
	Watch presenceWatch `cmd:"" help:"Print each change of a lamp as it happens, until interrupted."`
}

type presenceList struct {
	presenceFlags
	Event string `help:"Only this event package: dialog, presence or message-summary."`
}
type presenceShow struct {
	presenceFlags
	Extension string `arg:""`
	Explain   bool   `help:"Also say which dialog wins, what happened last, and what each watcher was told."`
}
type presenceSet struct {
	presenceFlags
	Extension string `arg:""`
	State     string `arg:"" enum:"early,confirmed,terminated"`
}
type presenceReset struct {
	presenceFlags
	Extension string `arg:""`
}
type presenceWatch struct {
	presenceFlags
	Extension string `arg:"" optional:"" help:"Only this extension."`
}

// open connects and finds the realm.
func (f *presenceFlags) open() (conn *nats.Conn, realm string, err error) {
	if err := f.check(); err != nil {
		return nil, "", err
	}
	if (f.Account == "") == (f.Realm == "") {
		return nil, "", fmt.Errorf("%w: give either --account or --realm", errUsage)
	}
	if conn, err = f.connect(f.Nats, "lamplight presence"); err != nil || f.Realm != "" {
		return conn, strings.ToLower(f.Realm), err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.Timeout)
	defer cancel()
	d := directory.New(directory.Config{Conn: conn, Prefix: f.prefix(), Log: slog.New(slog.DiscardHandler)})
	if err := d.Start(ctx); err != nil {
		conn.Close()
		return nil, "", err
	}
	defer d.Close()
	e, err := d.Get(ctx, directory.Accounts, f.Account, f.Account)
	if err != nil {
		conn.Close()
		return nil, "", fmt.Errorf("account %s: %w", f.Account, err)
	}
	return conn, e.Realm(), nil
}

// ask sends a control document and gives each answer, the parts of a large one too, to got.
func (f *presenceFlags) ask(subject, event string, fields map[string]any, got func(map[string]jsontext.Value) error) error {
	conn, realm, err := f.open()
	if err != nil {
		return err
	}
	defer conn.Close()
	doc := map[string]any{"App-Name": "lamplight-cli", "App-Version": version, "Event-Category": "presence", "Event-Name": event,
		"Msg-ID": uuid.NewString(), "Realm": realm}
	for k, v := range fields {
		doc[k] = v
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	full := f.prefix() + "presence." + subject + "." + bus.Token(realm)
	if user, ok := fields["Username"].(string); ok {
		full += "." + bus.Token(strings.ToLower(user))
	}
	inbox := conn.NewRespInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	if err := conn.PublishRequest(full, inbox, data); err != nil {
		return err
	}
	for parts := 0; ; {
		m, err := sub.NextMsg(f.Timeout)
		if err == nats.ErrNoResponders || err == nil && m.Header.Get("Status") == "503" {
			return fmt.Errorf("no node answers on this NATS; is `lamplight serve` running, with the same --prefix?")
		}
		if errors.Is(err, nats.ErrTimeout) {
			return fmt.Errorf("no answer within %v; what was asked may or may not have happened", f.Timeout)
		}
		if err != nil {
			return err
		}
		answer := map[string]jsontext.Value{}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		if string(answer["Status"]) == `"error"` {
			return fmt.Errorf("%s: %s", unquote(answer["Reason"]), unquote(answer["Details"]))
		}
		if err := got(answer); err != nil {
			return err
		}
		if strings.HasSuffix(unquote(answer["Event-Name"]), "_partial_resp") {
			parts++
			continue
		}
		if sent := string(answer["Part"]); sent != "" && sent != fmt.Sprint(parts) {
			return fmt.Errorf("%d of %s parts arrived", parts, sent)
		}
		return nil
	}
}

func unquote(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return string(v)
	}
	return string(b)
}

func printJSON(out io.Writer, v any) error {
	if err := json.MarshalWrite(out, v, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

type row struct {
	From    string `json:"from"`
	Expires int    `json:"expires"`
	Stalker string `json:"stalker"`
	Notify  struct {
		Sequence int `json:"sequence"`
		Reply    int `json:"reply"`
	} `json:"notify"`
}

// listing is extension → event package → Call-ID → subscription.
type listing map[string]map[string]map[string]jsontext.Value

// add merges a part: an extension with many watchers comes in several.
func (l listing) add(part jsontext.Value) error {
	var more listing
	if err := json.Unmarshal(part, &more); err != nil {
		return err
	}
	for ext, packages := range more {
		if l[ext] == nil {
			l[ext] = packages
			continue
		}
		for pkg, rows := range packages {
			if l[ext][pkg] == nil {
				l[ext][pkg] = rows
				continue
			}
			maps.Copy(l[ext][pkg], rows)
		}
	}
	return nil
}

func (l listing) print(w io.Writer) error {
	fmt.Fprintln(w, listingHead)
	for _, ext := range sorted(l) {
		for _, pkg := range sorted(l[ext]) {
			for _, id := range sorted(l[ext][pkg]) {
				var r row
				if err := json.Unmarshal(l[ext][pkg][id], &r); err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", ext, pkg, r.From, r.Stalker, r.Expires, r.Notify.Sequence, r.Notify.Reply, id)
			}
		}
	}
	return nil
}

const listingHead = "EXTENSION\tEVENT\tWATCHER\tEDGE\tEXPIRES\tSEQUENCE\tREPLY\tCALL-ID"

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Run implements presence list.
func (c *presenceList) Run(out io.Writer) error {
	fields := map[string]any{}
	if c.Event != "" {
		fields["Event-Package"] = c.Event
	}
	all := listing{}
	var holes jsontext.Value
	err := c.ask("search_req", "search_req", fields, func(a map[string]jsontext.Value) error {
		holes = a["missing_shards"]
		return all.add(a["Subscriptions"])
	})
	if err == nil && c.Output == "json" {
		err = printJSON(out, all)
	} else if err == nil {
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		err = errors.Join(all.print(w), w.Flush())
	}
	if err == nil && holes != nil {
		err = fmt.Errorf("the listing has holes: %s did not answer in time", shardsIn(holes))
	}
	return err
}

// shardsIn names shards of a JSON list for people: those of a node that is away are hundreds.
func shardsIn(list jsontext.Value) string {
	const most = 8
	var shards []int
	if err := json.Unmarshal(list, &shards); err != nil || len(shards) <= most {
		return "the shards " + string(list)
	}
	return fmt.Sprintf("%d of %d shards (%v and more)", len(shards), actors.Shards, shards[:most])
}

// Run implements presence show.
func (c *presenceShow) Run(out io.Writer) error {
	early := listing{}
	return c.ask("show", "show_req", map[string]any{"Username": c.Extension, "Explain": fmt.Sprint(c.Explain)}, func(a map[string]jsontext.Value) error {
		if part, ok := a["Subscriptions"]; ok { // too many for one message
			return early.add(part)
		}
		if len(early) > 0 {
			all, err := json.Marshal(early)
			if err != nil {
				return err
			}
			a["subscriptions"] = all
		}
		for _, k := range []string{"App-Name", "App-Version", "Event-Category", "Event-Name", "Msg-ID", "Node"} {
			delete(a, k)
		}
		if c.Output == "json" {
			return printJSON(out, a)
		}
		var shown struct {
			Extension string `json:"extension"`
			State     string `json:"state"`
			Dialogs   []struct {
				CallID string `json:"call_id"`
				State  string `json:"state"`
				Source string `json:"source"`
				To     string `json:"to"`
				Since  string `json:"since"`
			} `json:"dialogs"`
			Subscriptions listing        `json:"subscriptions"`
			Explain       jsontext.Value `json:"explain"`
		}
		data, err := json.Marshal(a)
		if err == nil {
			err = json.Unmarshal(data, &shown)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is %s\n", shown.Extension, shown.State)
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		if len(shown.Dialogs) > 0 {
			fmt.Fprintln(w, "STATE\tSOURCE\tTO\tSINCE\tCALL-ID")
			for _, d := range shown.Dialogs {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.State, d.Source, d.To, d.Since, d.CallID)
			}
		}
		if len(shown.Subscriptions) > 0 {
			if err := shown.Subscriptions.print(w); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil || len(shown.Explain) == 0 {
			return err
		}
		return printJSON(out, shown.Explain)
	})
}

func (f *presenceFlags) command(out io.Writer, subject, extension string, fields map[string]any) error {
	fields["Username"] = extension
	return f.ask(subject, subject, fields, func(a map[string]jsontext.Value) error {
		if f.Output == "json" {
			return printJSON(out, a)
		}
		_, err := fmt.Fprintln(out, "done")
		return err
	})
}

// Run implements presence set.
func (c *presenceSet) Run(out io.Writer) error {
	return c.command(out, "set", c.Extension, map[string]any{"State": c.State})
}

// Run implements presence reset.
func (c *presenceReset) Run(out io.Writer) error {
	return c.command(out, "reset", c.Extension, map[string]any{})
}

// Run implements presence watch.
func (c *presenceWatch) Run(out io.Writer) error {
	conn, realm, err := c.open()
	if err != nil {
		return err
	}
	defer conn.Close()
	subject := c.prefix() + "lamplight.state." + bus.Token(realm) + "." + cmp.Or(bus.Token(strings.ToLower(c.Extension)), "*")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	sub, err := conn.SubscribeSync(subject)
	if err != nil {
		return err
	}
	if err := conn.FlushTimeout(c.Timeout); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "watching %s; Ctrl-C ends\n", realm)
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var s struct {
			Extension string `json:"extension"`
			State     string `json:"state"`
			Previous  string `json:"previous"`
			At        string `json:"at"`
		}
		if c.Output == "json" {
			fmt.Fprintln(out, string(m.Data))
		} else if json.Unmarshal(m.Data, &s) == nil {
			fmt.Fprintf(out, "%s  %s  %s -> %s\n", s.At, s.Extension, s.Previous, s.State)
		}
	}
}
