package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/directory"
	"lamplight/transport/client"
	"lamplight/transport/sip"
)

// presenceFlags are the flags of every presence command.
type presenceFlags struct {
	Account accountID `placeholder:"ID" help:"The account whose realm is meant. Give either this or --realm. It needs the NATS permissions of a node."`
	Realm   realmName `placeholder:"R" help:"The realm, such as acme.example.com. Give either this or --account."`
	Output  string    `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout span      `default:"13s" help:"How long to wait for an answer. It should be longer than the --request-timeout of the nodes."`
	natsFlags
}

type presenceCommand struct {
	List  presenceList  `cmd:"" help:"List the subscriptions of a realm, or with --lit its lit lamps."`
	Show  presenceShow  `cmd:"" help:"Show the lamp of an extension, its dialogs and its subscriptions. With --explain it also says why the lamp is as it is."`
	Set   presenceSet   `cmd:"" help:"Set the manual state of an extension: ${manual}."`
	Reset presenceReset `cmd:"" help:"Forget the calls, registers and manual state of an extension, and tell its watchers. With --all or * it does so for all extensions of the realm."`
	Watch presenceWatch `cmd:"" help:"Print each change of a lamp as it happens, until the command is interrupted."`
}

type presenceList struct {
	presenceFlags
	Event     eventPackage `placeholder:"PACKAGE" help:"List only the subscriptions of this event package: ${packages}."`
	Lit       bool         `help:"List the lamps that are early or confirmed, watched or not, instead of the subscriptions."`
	OlderThan span         `placeholder:"D" help:"With --lit: only lamps that have been lit for longer, such as 4h."`
	State     litState     `placeholder:"S" help:"With --lit: only lamps in this state: ${lit}."`
	Source    litSource    `placeholder:"S" help:"With --lit: only lamps that are lit by this: ${sources}."`
}
type presenceShow struct {
	presenceFlags
	Extension extensionName `arg:"" help:"The user part of the extension, such as 1001 or *3101."`
	Explain   bool          `help:"Also say which dialog decides the state of the lamp, what happened last, and what each watcher was told."`
}
type presenceSet struct {
	presenceFlags
	Extension extensionName `arg:"" help:"The user part of the extension, such as 1001 or *3101."`
	State     manualState   `arg:"" help:"${manual}."`
}

// open connects to NATS and finds the realm. The caller calls close in the end, if there is no error.
func (f *presenceFlags) open(ctx context.Context) (c *client.Client, close func(), realm string, err error) {
	if err := f.check(); err != nil {
		return nil, nil, "", err
	}
	if (f.Account == "") == (f.Realm == "") {
		return nil, nil, "", fmt.Errorf("%w: give either --account or --realm", errUsage)
	}
	conn, err := f.connect("lamplight presence")
	if err != nil {
		return nil, nil, "", err
	}
	c, realm = client.New(client.Config{Conn: conn, Prefix: f.prefix(), App: "lamplight-cli", AppVersion: version}), strings.ToLower(string(f.Realm))
	if realm == "" {
		if realm, err = f.realmOf(ctx, conn); err != nil {
			conn.Close()
			return nil, nil, "", err
		}
	}
	return c, conn.Close, realm, nil
}

// realmOf returns the realm of --account, from the directory.
func (f *presenceFlags) realmOf(ctx context.Context, conn *nats.Conn) (string, error) {
	d := directory.New(directory.Config{Conn: conn, Prefix: f.prefix(), Log: slog.New(slog.DiscardHandler)})
	defer func() { _ = d.Stop(ctx) }()
	if err := d.Start(ctx); err != nil {
		return "", err
	}
	e, err := d.Get(ctx, directory.Accounts, string(f.Account), string(f.Account))
	if err != nil {
		return "", fmt.Errorf("account %s: %w", f.Account, err)
	}
	return e.Realm(), nil
}

// with connects, and runs ask within --timeout.
func (f *presenceFlags) with(ask func(ctx context.Context, c *client.Client, realm string) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(f.Timeout))
	defer cancel()
	c, done, realm, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err = ask(ctx, c, realm); errors.Is(err, client.ErrNoAnswer) {
		return fmt.Errorf("no answer within %v; what was asked may or may not have happened", time.Duration(f.Timeout))
	}
	return err
}

// printJSON prints a value as indented JSON.
func printJSON(out io.Writer, v any) error {
	if err := json.MarshalWrite(out, v, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// row is a subscription of a listing.
type row struct {
	From    string `json:"from"`
	Expires int    `json:"expires"`
	Stalker string `json:"stalker"`
	Route   string `json:"proxy_route"`
	Agent   string `json:"user_agent"`
	Notify  struct {
		Sequence int `json:"sequence"`
		Reply    int `json:"reply"`
	} `json:"notify"`
}

// listing holds subscriptions: extension → event package → Call-ID → subscription.
type listing map[string]map[string]map[string]jsontext.Value

// add adds a part of a listing. The subscriptions of one extension may come in several parts.
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

// print prints the listing as the rows of a table.
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

// printWays prints how the SIP edge reaches each phone, as the rows of a table; none when no phone is behind one.
func (l listing) printWays(w io.Writer) error {
	head := "CALL-ID\tFLOW\tROUTE\tUSER-AGENT\n"
	for _, ext := range sorted(l) {
		for _, pkg := range sorted(l[ext]) {
			for _, id := range sorted(l[ext][pkg]) {
				var r row
				if err := json.Unmarshal(l[ext][pkg][id], &r); err != nil {
					return err
				}
				flow, routes, ok := sip.Way(r.Route)
				if !ok {
					continue
				}
				fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", head, id, flow, routes, r.Agent)
				head = ""
			}
		}
	}
	return nil
}

const listingHead = "EXTENSION\tEVENT\tWATCHER\tEDGE\tEXPIRES\tSEQUENCE\tREPLY\tCALL-ID"

// sorted returns the keys of m in their order.
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
	if err := c.checkLit(); err != nil {
		return err
	}
	if c.Lit {
		return c.lamps(out)
	}
	all := listing{}
	var holes jsontext.Value
	err := c.with(func(ctx context.Context, cl *client.Client, realm string) error {
		return cl.Search(ctx, realm, string(c.Event), func(a client.Answer) error {
			holes = a["missing_shards"]
			return all.add(a["Subscriptions"])
		})
	})
	if err == nil && c.Output == "json" {
		err = printJSON(out, all)
	} else if err == nil {
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		err = errors.Join(all.print(w), w.Flush())
	}
	return errors.Join(err, incomplete(holes))
}

// incomplete returns an error when shards are missing from a listing; nil: none are.
func incomplete(holes jsontext.Value) error {
	if holes == nil {
		return nil
	}
	return fmt.Errorf("the listing is not complete: %s did not answer in time; try again", shardsIn(holes))
}

// shardsIn names the shards of a JSON list for people. When a node is away there are hundreds, so it names only the first.
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
	parts := listing{} // subscriptions that came in answers before the last, because one message cannot hold them all
	return c.with(func(ctx context.Context, cl *client.Client, realm string) error {
		return cl.Show(ctx, realm, string(c.Extension), c.Explain, func(a client.Answer) error {
			if part, ok := a["Subscriptions"]; ok {
				return parts.add(part)
			}
			if len(parts) > 0 {
				all, err := json.Marshal(parts)
				if err != nil {
					return err
				}
				a["subscriptions"] = all
			}
			for _, k := range []string{"App-Name", "App-Version", "Event-Category", "Event-Name", "Msg-ID", "Node"} {
				delete(a, k)
			}
			if known, err := knows(a); err != nil {
				return err
			} else if !known {
				sayUnknown(string(c.Extension), realm)
			}
			if c.Output == "json" {
				return printJSON(out, a)
			}
			return printExtension(out, a)
		})
	})
}

// knows says whether the answer of a show, with all its subscriptions, shows anything of the extension.
func knows(a client.Answer) (bool, error) {
	var shown struct {
		State         string           `json:"state"`
		Dialogs       []jsontext.Value `json:"dialogs"`
		Subscriptions listing          `json:"subscriptions"`
		Explain       struct {
			Transitions []jsontext.Value `json:"transitions"`
			Ended       []jsontext.Value `json:"ended"`
		} `json:"explain"`
	}
	err := a.Decode(&shown)
	return shown.State != "terminated" || len(shown.Dialogs)+len(shown.Subscriptions)+len(shown.Explain.Transitions)+len(shown.Explain.Ended) > 0, err
}

// sayUnknown says that nothing is known of an extension, which may be a typing error.
func sayUnknown(extension, realm string) {
	fmt.Fprintf(os.Stderr, "nothing is known of %s@%s: it has no call, register, manual state or watcher; is it the extension that you mean?\n", extension, realm)
}

// printExtension prints the answer of a show as tables, and its explanation as JSON.
func printExtension(out io.Writer, a client.Answer) error {
	var shown struct {
		Extension string `json:"extension"`
		State     string `json:"state"`
		Dialogs   []struct {
			CallID string `json:"call_id"`
			State  string `json:"state"`
			Source string `json:"source"`
			To     string `json:"to"`
			Since  string `json:"since"`
			Held   bool   `json:"held"`
		} `json:"dialogs"`
		Subscriptions listing      `json:"subscriptions"`
		Explain       *explanation `json:"explain"`
	}
	if err := a.Decode(&shown); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is %s\n", shown.Extension, shown.State)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(shown.Dialogs) > 0 {
		fmt.Fprintln(w, "STATE\tSOURCE\tTO\tSINCE\tCALL-ID")
		for _, d := range shown.Dialogs {
			if d.Held {
				d.State += ", held"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.State, d.Source, d.To, d.Since, d.CallID)
		}
	}
	if len(shown.Subscriptions) > 0 {
		if err := errors.Join(shown.Subscriptions.print(w), w.Flush(), shown.Subscriptions.printWays(w)); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil || shown.Explain == nil {
		return err
	}
	return shown.Explain.print(out)
}

// explanation is the member explain of an answer (docs/contract/http.md, "Explain").
type explanation struct {
	Node       string `json:"node"`
	Shard      int    `json:"shard"`
	Generation int64  `json:"generation"`
	Findings   []struct {
		Kind string `json:"kind"`
		Text string `json:"text"`
	} `json:"findings"`
	Transitions []struct {
		State   string `json:"state"`
		Source  string `json:"source"`
		At      string `json:"at"`
		CallID  string `json:"call_id"`
		Switch  string `json:"switch"`
		By      string `json:"by"`
		Address string `json:"address"`
		Request string `json:"request_id"`
	} `json:"transitions"`
}

// print prints what an operator should know in sentences, and the last changes of the lamp as a table.
func (e *explanation) print(out io.Writer) error {
	fmt.Fprintf(out, "The node %s owns it (shard %d, claim %d).\n", e.Node, e.Shard, e.Generation)
	for _, f := range e.Findings {
		fmt.Fprintf(out, "- %s: %s\n", f.Kind, f.Text)
	}
	if len(e.Findings) > 0 {
		fmt.Fprintln(out, "What to do about each of these is in docs/runbook.md, \"Findings of explain\", under its first word.")
	}
	if len(e.Transitions) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "LAMP\tCAUSE\tAT\tBY\tFROM\tREQUEST\tSWITCH\tCALL-ID")
	for _, t := range e.Transitions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.State, t.Source, t.At, dash(t.By), dash(t.Address), dash(t.Request), dash(t.Switch), dash(t.CallID))
	}
	return w.Flush()
}

// command gives a command and prints that it is done.
func (f *presenceFlags) command(out io.Writer, give func(ctx context.Context, c *client.Client, realm string) (client.Answer, error)) error {
	return f.with(func(ctx context.Context, c *client.Client, realm string) error {
		a, err := give(ctx, c, realm)
		if err != nil {
			return err
		}
		if f.Output == "json" {
			return printJSON(out, a)
		}
		_, err = fmt.Fprintln(out, "done")
		return err
	})
}

// Run implements presence set.
func (c *presenceSet) Run(out io.Writer) error {
	return c.command(out, func(ctx context.Context, cl *client.Client, realm string) (client.Answer, error) {
		return cl.Set(ctx, realm, string(c.Extension), string(c.State))
	})
}

// dash is a value for a table, which has no empty cells.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
