package directory

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A mistake in a file is reported with its line, whether it is one of syntax or of meaning.
func TestMistakesHaveLines(t *testing.T) {
	b := newBed(t)
	d := b.open()
	for text, want := range map[string]string{
		"{\"accounts\": [\n {\"realm\": \"a.test\",\n  \"devices\": [\n   {\"name\": \"x\",}]}]}": "4 ",
		"{\"accounts\":\n [1]}":  "2 ",
		"[\n]":                   "2 ",
		"{\n\"accounts\": [\n":   "3 ",
		"{\n\n\"account\": []}":  "3 ",
		"{\"accounts\": []}\n{}": "2 ",
		"{\"accounts\": [{\"realm\": \"a.test\",\n\"realm\": \"b.test\"}]}":                                                                "2 ",
		"{\"accounts\": [\n{\"realm\": \"a.test\",\n\"users\": [{}, \n7]}]}":                                                               "4 accounts[0]",
		"{\"accounts\": [\n{\"realm\": \"a.test\",\n\"devices\": 7}]}":                                                                     "3 accounts[0]",
		"{\"accounts\": [{\"realm\": \"a.test\"},\n{\"name\": \"x\",\n\"realm\": \"b:1\"}]}":                                               "3 accounts[1]",
		"{\"accounts\": [{\"realm\": \"a.test\", \"devices\": [{\"name\": \"x\"},\n{\"name\": \"y\",\n\"owner_id\": \"" + acme + "\"}]}]}": "3 accounts[0].devices[1]",
		"{\"accounts\": [{\"realm\": \"a.test\", \"devices\": [\n{\"sip\":\n{\"password\": \"x\",\n\"username\": \"a b\"}}]}]}":            "4 accounts[0].devices[0]",
		"{\"accounts\": [{\"realm\": \"a.test\", \"users\": [{\"username\": \"x\"},\n{\"first_name\": \"y\"}]}]}":                          "2 accounts[0].users[1]",
	} {
		file, err := Read(strings.NewReader(text))
		if err == nil {
			_, err = d.Import(t.Context(), file)
		}
		e, ok := errors.AsType[*FileError](err)
		if !ok || !strings.HasPrefix(fmt.Sprintf("%d %s", e.Line, e.Where), want) {
			t.Errorf("%s\n%v: %+v, want line and place %s", text, err, e, want)
		}
	}
	if all := d.All(); len(all) != 1 { // the file whose second account has the mistake
		t.Errorf("%d accounts were made", len(all))
	}
}

// The owner of a device must be a user of the account, in the file or in the directory.
func TestOwnersExist(t *testing.T) {
	b := newBed(t)
	d := b.open()
	device := func(owner string) Import {
		return Import{Accounts: []map[string]any{{"realm": "acme.test", "users": []any{map[string]any{"id": acme, "username": "ada"}},
			"devices": []any{map[string]any{"name": "x", "owner_id": owner}}}}}
	}
	if _, err := d.Import(t.Context(), device(rival)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%v", err)
	}
	if id, ok := d.RealmAccount("acme.test"); ok {
		t.Errorf("account %s was made", id)
	}
	if _, err := d.Import(t.Context(), device(acme)); err != nil {
		t.Error(err)
	}
	known := device(acme)
	delete(known.Accounts[0], "users")
	if n, err := d.Import(t.Context(), known); err != nil || n.Same != 2 {
		t.Errorf("%+v %v", n, err)
	}
}

// A dry run says what an import would do, also where one account of the file refers to another, and writes nothing.
func TestDryRun(t *testing.T) {
	b := newBed(t)
	kept := b.open()
	dry := func() *Directory {
		d := New(Config{Conn: b.conn, Log: kept.cfg.Log, DryRun: true})
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Stop(t.Context()) })
		return d
	}
	if n, err := dry().Import(t.Context(), sample()); err != nil || n.Created != 5 {
		t.Errorf("%+v %v", n, err)
	}
	same := sample()
	same.Accounts = append(same.Accounts, map[string]any{"id": NewID(), "realm": "acme.test"})
	if _, err := dry().Import(t.Context(), same); !errors.Is(err, ErrConflict) {
		t.Errorf("two accounts with one realm: %v", err)
	}
	info, err := kept.stream.Info(t.Context())
	if err != nil || info.State.LastSeq != 0 {
		t.Errorf("the bucket is at %d: %v", info.State.LastSeq, err)
	}
	if n, err := kept.Import(t.Context(), sample()); err != nil || n.Created != 5 {
		t.Errorf("%+v %v", n, err)
	}
	if n, err := dry().Import(t.Context(), sample()); err != nil || n.Same != 5 {
		t.Errorf("%+v %v", n, err)
	}
}

// A dry run in a place where there is no directory makes none.
func TestDryRunMakesNoBucket(t *testing.T) {
	b := newBed(t)
	d := New(Config{Conn: b.conn, Log: nil, DryRun: true})
	if err := d.Start(t.Context()); err == nil {
		t.Error("a dry run found a directory where there was none")
	}
}

// A field that looks like a mistyped name is named with its line. Other fields that Lamplight does not use are counted.
func TestWarnings(t *testing.T) {
	file, err := Read(strings.NewReader(`{"accounts": [{"realm": "a.test", "timezone": "UTC",
"devices": [
{"name": "x", "pressence_id": "1", "media": {}},
{"name": "y", "Owner-ID": "1", "media": {}, "sip": {"usrname": "1", "method": "password"}}],
"users": [{"username": "ada", "presence_id": "1", "timezone": "UTC"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, w := range file.Warnings() {
		fmt.Fprintf(&got, "%d %s\n", w.Line, w.Text)
	}
	want := `1 these fields of accounts are kept, and Lamplight does not use them: timezone (1)
3 accounts[0].devices[0]: Lamplight does not use the field pressence_id; is presence_id meant?
3 these fields of devices are kept, and Lamplight does not use them: media (2), sip.method (1)
4 accounts[0].devices[1]: Lamplight does not use the field Owner-ID; is owner_id meant?
4 accounts[0].devices[1]: Lamplight does not use the field sip.usrname; is sip.username meant?
5 these fields of users are kept, and Lamplight does not use them: timezone (1)
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

// Progress is told of every step, up to the last entry.
func TestImportProgress(t *testing.T) {
	b := newBed(t)
	d := b.open()
	var told []int
	file := Import{Progress: func(done, of int) {
		if of != 2*maxBatch+1 {
			t.Errorf("of %d entries", of)
		}
		told = append(told, done)
	}}
	devices := make([]any, 2*maxBatch)
	for i := range devices {
		devices[i] = map[string]any{"name": fmt.Sprint(i)}
	}
	file.Accounts = []map[string]any{{"realm": "acme.test", "devices": devices}}
	if _, err := d.Import(t.Context(), file); err != nil || len(told) < 3 || told[len(told)-1] != 2*maxBatch+1 {
		t.Errorf("%v %v", told, err)
	}
}
