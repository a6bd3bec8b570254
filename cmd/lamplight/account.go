package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lamplight/cluster/directory"
)

type accountCommand struct {
	Create accountCreate `cmd:"" help:"Create an account with an API key, which is printed once. The first account becomes the master account."`
	List   accountList   `cmd:"" help:"List the accounts."`
}

// accountFlags are the flags of every account command.
type accountFlags struct {
	Output  string `short:"o" enum:"table,json" default:"table" help:"How results are printed: table or json."`
	Timeout span   `default:"10s" help:"How long to wait for NATS."`
	natsFlags
}

type accountCreate struct {
	Name   string    `placeholder:"NAME" help:"The name of the account."`
	Realm  realmName `required:"" placeholder:"R" help:"The realm of the account, such as acme.example.com."`
	Parent accountID `placeholder:"ID" help:"The account above the new one (default: the master account, if there is one)."`
	Master bool      `help:"Make it the master account. There is only one."`
	accountFlags
}

type accountList struct {
	Name   string    `placeholder:"NAME" help:"List only accounts with this name."`
	Realm  realmName `placeholder:"R" help:"List only the account with this realm."`
	Parent accountID `placeholder:"ID" help:"List only the accounts directly below this one."`
	accountFlags
}

// with connects, and runs ask with the directory within --timeout.
func (f *accountFlags) with(ask func(ctx context.Context, d *directory.Directory) error) error {
	if err := f.check(); err != nil {
		return err
	}
	conn, err := f.connect("lamplight account")
	if err != nil {
		return err
	}
	defer conn.Close()
	loading, stop := context.WithTimeout(context.Background(), importTime)
	defer stop()
	d := directory.New(directory.Config{Conn: conn, Prefix: f.prefix(), Log: slog.New(slog.DiscardHandler), OpenTime: time.Duration(f.Timeout)})
	defer func() { _ = d.Stop(loading) }()
	if err := d.Start(loading); err != nil { // a large directory takes longer than an answer
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(f.Timeout))
	defer cancel()
	return ask(ctx, d)
}

// accountView is an account as the commands print it.
type accountView struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Realm  string `json:"realm"`
	Parent string `json:"parent_id,omitempty"`
	Master bool   `json:"master,omitempty"`
	APIKey string `json:"api_key,omitempty"` // only when it has just been made
}

// Run implements account create.
func (c *accountCreate) Run(out io.Writer) error {
	if c.Master && c.Parent != "" {
		return fmt.Errorf("%w: --master and --parent exclude each other: nothing is above the master account", errUsage)
	}
	return c.with(func(ctx context.Context, d *directory.Directory) error {
		key := directory.NewID()
		fields := map[string]any{"realm": string(c.Realm), "api_key": key}
		if c.Name != "" {
			fields["name"] = c.Name
		}
		if c.Parent != "" {
			fields["parent_id"] = string(c.Parent)
		}
		e, isMaster, err := d.CreateAccount(ctx, fields, c.Master)
		if invalid, ok := errors.AsType[*directory.Invalid](err); ok && invalid.Field == "name" {
			return fmt.Errorf("%w: --%w", errUsage, err)
		}
		if err != nil {
			return err
		}
		v := accountView{ID: e.ID, Name: e.Text("name"), Realm: e.Realm(), Parent: e.Text("parent_id"), Master: isMaster, APIKey: key}
		if c.Output == "json" {
			return printJSON(out, v)
		}
		what := "account"
		if isMaster {
			what = "master account"
		}
		_, err = fmt.Fprintf(out, "%s %s with realm %s\nAPI key %s (it is not shown again)\n", what, v.ID, v.Realm, v.APIKey)
		return err
	})
}

// Run implements account list.
func (c *accountList) Run(out io.Writer) error {
	return c.with(func(_ context.Context, d *directory.Directory) error {
		if _, known := d.RealmAccount(strings.ToLower(string(c.Realm))); c.Realm != "" && !known {
			return fmt.Errorf("no account has the realm %s", c.Realm)
		}
		if c.Parent != "" && !slices.ContainsFunc(d.All(), func(e *directory.Entry) bool { return e.ID == string(c.Parent) }) {
			return fmt.Errorf("there is no account %s", c.Parent)
		}
		rows := []accountView{}
		master := d.Master()
		for _, e := range d.All() {
			v := accountView{ID: e.ID, Name: e.Text("name"), Realm: e.Realm(), Parent: e.Text("parent_id"), Master: e.ID == master}
			if v.Parent == "" && !v.Master {
				v.Parent = master
			}
			if (c.Name == "" || v.Name == c.Name) && (c.Realm == "" || v.Realm == strings.ToLower(string(c.Realm))) && (c.Parent == "" || v.Parent == string(c.Parent)) {
				rows = append(rows, v)
			}
		}
		slices.SortFunc(rows, func(a, b accountView) int { return strings.Compare(a.Realm, b.Realm) })
		if c.Output == "json" {
			return printJSON(out, rows)
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "REALM\tNAME\tID\tPARENT")
		for _, v := range rows {
			if v.Master {
				v.Parent = "(master)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Realm, v.Name, v.ID, v.Parent)
		}
		return w.Flush()
	})
}
