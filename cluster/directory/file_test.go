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

// reported returns the mistakes of a file as lines.
func reported(err error) string {
	all, ok := errors.AsType[*FileErrors](err)
	if !ok {
		return fmt.Sprint(err)
	}
	var b strings.Builder
	for _, e := range all.First {
		fmt.Fprintf(&b, "%d %v\n", e.Line, e)
	}
	return b.String()
}

// read reads a file for Import.
func read(t *testing.T, text string) Import {
	t.Helper()
	file, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// All mistakes of a file are reported with their lines, several of one entry too. An account with a mistake is refused and in none of
// the counts; the others are imported. A dry run says the same.
func TestAllMistakesAreReported(t *testing.T) {
	b := newBed(t)
	d := b.open()
	key := strings.Repeat("ab", 16)
	add(t, d, "holder.test", map[string]any{"api_key": key})
	text := `{"accounts": [
{"realm": "key.test", "api_key": "` + key + `", "users": [{"username": "u"}]},
{"realm": "good.test", "users": [{"username": "ada"}],
 "devices": [{"name": "x"}]},
{"realm": "orphan.test",
 "parent_id": "` + rival + `"},
{"realm": "many.test",
 "users": [{"username": "a b"}, {"username": "grace"}],
 "devices": [
  {"name": "y", "presence_id": "1 2",
   "sip": {"username": "1@2@3"}},
  {"name": "z", "presence_id": "1@holder.test"},
  {"presence_id": 7,
   "owner_id": "` + rival + `"}]},
{"realm": "bad:1",
 "api_key": "short"}]}`
	want := `2 accounts[0]: conflict: another account has this API key
6 accounts[2]: invalid: parent_id "` + rival + `" must be an existing account
8 accounts[3].users[0]: invalid: username must have no white space
10 accounts[3].devices[0]: invalid: presence_id "1 2" must name an extension: a user, or user@realm, without white space, <, > and quotes
11 accounts[3].devices[0]: invalid: sip.username "1@2@3" must name an extension: a user, or user@realm, without white space, <, > and quotes
12 accounts[3].devices[1]: the realm of a field that names an extension is outside the account's tree: presence_id is "1@holder.test"
13 accounts[3].devices[2]: invalid: id is missing, and so are the fields by which the entry could be found
13 accounts[3].devices[2]: invalid: presence_id must be a string
14 accounts[3].devices[2]: invalid: owner_id "` + rival + `" does not exist: the account has no user with this id
15 accounts[4]: invalid: realm "bad:1" must be a domain name, without a port or a scheme
16 accounts[4]: invalid: api_key must have at least 32 hexadecimal digits (128 bits), or be left out
`
	dry := New(Config{Conn: b.conn, Log: d.cfg.Log, DryRun: true})
	if err := dry.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dry.Stop(t.Context()) }()
	for _, to := range []*Directory{dry, d} {
		n, err := to.Import(t.Context(), read(t, text))
		if n != (Counts{Created: 3, Refused: 4}) {
			t.Errorf("dry %v: %+v", to == dry, n)
		}
		if got := reported(err); got != want {
			t.Errorf("dry %v: got\n%s", to == dry, got)
		}
	}
	if n, err := d.Import(t.Context(), read(t, text)); n != (Counts{Same: 3, Refused: 4}) || err == nil {
		t.Errorf("again: %+v %v", n, err)
	}
	if all := d.All(); len(all) != 2 {
		t.Errorf("there are %d accounts", len(all))
	}
}

// Of many mistakes the first hundred are kept, and the others are counted.
func TestMistakesAreBounded(t *testing.T) {
	b := newBed(t)
	d := b.open()
	devices := make([]any, MaxMistakes+23)
	for i := range devices {
		devices[i] = map[string]any{"name": fmt.Sprint(i), "presence_id": "*"}
	}
	_, err := d.Import(t.Context(), Import{Accounts: []map[string]any{{"realm": "acme.test", "devices": devices}}})
	if all, ok := errors.AsType[*FileErrors](err); !ok || len(all.First) != MaxMistakes || all.More != 23 {
		t.Errorf("%v", err)
	}
}

// Two entries of a file that are the same one are refused with both lines, and their account as a whole; of two accounts that are the
// same one, both.
func TestEntriesOfAFileAreThereOnce(t *testing.T) {
	b := newBed(t)
	d := b.open()
	one, two := add(t, d, "known.test", nil), "22222222222222222222222222222222"
	for text, want := range map[string]string{
		`{"realm": "a.test"}, {"realm": "free.test"},` + "\n" + `{"realm": "A.test"}`: "1 accounts[0]: conflict: the file has the same realm in accounts[2], line 2\n" +
			"2 accounts[2]: conflict: the file has the same realm in accounts[0], line 1\n",
		`{"id": "` + two + `", "realm": "a.test"},` + "\n" + `{"id": "` + two + `", "realm": "b.test"}`: "1 accounts[0]: conflict: the file has the same account in accounts[1], line 2\n" +
			"2 accounts[1]: conflict: the file has the same account in accounts[0], line 1\n",
		`{"id": "` + one + `", "realm": "a.test"},` + "\n" + `{"realm": "known.test"}`: "1 accounts[0]: conflict: the file has the same account in accounts[1], line 2\n" +
			"2 accounts[1]: conflict: the file has the same account in accounts[0], line 1\n",
		`{"realm": "a.test", "api_key": "` + one + `"},` + "\n" + `{"realm": "b.test", "api_key": "` + one + `"}`: "1 accounts[0]: conflict: the file has the same API key in accounts[1], line 2\n" +
			"2 accounts[1]: conflict: the file has the same API key in accounts[0], line 1\n",
		`{"realm": "a.test", "users": [{"username": "ada"},` + "\n" + `{"username": "ada", "first_name": "A"}]}`:                                        "2 accounts[0].users[1]: conflict: the file has the same user in accounts[0].users[0], line 1\n",
		`{"realm": "a.test", "users": [{"id": "` + one + `", "username": "ada"},` + "\n" + `{"id": "` + two + `", "username": "Ada"}]}`:                 "2 accounts[0].users[1]: conflict: the file has the same username in accounts[0].users[0], line 1\n",
		`{"realm": "a.test", "users": [{"first_name": "A", "last_name": "B"},` + "\n" + `{"first_name": "A", "last_name": "B"}]}`:                       "2 accounts[0].users[1]: conflict: the file has the same user in accounts[0].users[0], line 1\n",
		`{"realm": "a.test", "users": [{"presence_id": "1"},` + "\n" + `{"presence_id": "1"}]}`:                                                         "2 accounts[0].users[1]: conflict: the file has the same user in accounts[0].users[0], line 1\n",
		`{"realm": "a.test", "users": [{"id": "` + one + `"},` + "\n" + `{"id": "` + one + `"}]}`:                                                       "2 accounts[0].users[1]: conflict: the file has the same user in accounts[0].users[0], line 1\n",
		`{"realm": "a.test", "devices": [{"id": "` + one + `"},` + "\n" + `{"id": "` + one + `"}]}`:                                                     "2 accounts[0].devices[1]: conflict: the file has the same device in accounts[0].devices[0], line 1\n",
		`{"realm": "a.test", "devices": [{"sip": {"username": "1"}},` + "\n" + `{"sip": {"username": "1"}, "name": "x"}]}`:                              "2 accounts[0].devices[1]: conflict: the file has the same device in accounts[0].devices[0], line 1\n",
		`{"realm": "a.test", "devices": [{"id": "` + one + `", "sip": {"username": "1"}},` + "\n" + `{"id": "` + two + `", "sip": {"username": "1"}}]}`: "2 accounts[0].devices[1]: conflict: the file has the same sip.username in accounts[0].devices[0], line 1\n",
		`{"realm": "a.test", "devices": [{"sip": {"username": "x"}},` + "\n" + `{"sip": {"username": "X", "realm": "A.test"}}]}`:                        "2 accounts[0].devices[1]: conflict: the file has the same sip.username in accounts[0].devices[0], line 1\n",
		`{"realm": "a.test", "devices": [{"presence_id": "1", "name": "x"},` + "\n" + `{"presence_id": "1", "name": "x"}]}`:                             "2 accounts[0].devices[1]: conflict: the file has the same device in accounts[0].devices[0], line 1\n",
		`{"realm": "a.test", "devices": [{"name": "x"},` + "\n" + `{"name": "x"}]}`:                                                                     "2 accounts[0].devices[1]: conflict: the file has the same device in accounts[0].devices[0], line 1\n",
	} {
		_, err := d.Import(t.Context(), read(t, `{"accounts": [`+text+`]}`))
		if got := reported(err); got != want {
			t.Errorf("%s\ngot\n%swant\n%s", text, got, want)
		}
	}
	for _, e := range d.All() {
		if e.Realm() != "known.test" && e.Realm() != "free.test" {
			t.Errorf("the account %s was made", e.Realm())
		}
	}
	// What the directory has counts too, unless the file changes it.
	phones := func(first, second, third string) string {
		list := []string{}
		for i, name := range []string{first, second, third} {
			if name != "" {
				list = append(list, fmt.Sprintf(`{"id": "%032d", "sip": {"username": "%s"}}`, i, name))
			}
		}
		return `{"accounts": [{"realm": "e.test", "devices": [` + strings.Join(list, ", ") + `]}]}`
	}
	if _, err := d.Import(t.Context(), read(t, phones("a", "b", ""))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Import(t.Context(), read(t, phones("b", "a", ""))); err != nil {
		t.Errorf("two devices that change places: %v", err)
	}
	if _, err := d.Import(t.Context(), read(t, phones("", "", "B"))); err == nil || !strings.Contains(reported(err), "has the sip.username b") {
		t.Errorf("a name that a device of the directory has: %v", err)
	}
	// These are different ones.
	if n, err := d.Import(t.Context(), read(t, `{"accounts": [{"realm": "c.test", "users": [{"username": "x", "first_name": "A", "last_name": "B"},
{"username": "y", "first_name": "A", "last_name": "B"}], "devices": [{"sip": {"username": "1"}}, {"sip": {"username": "1", "realm": "other.test"}, "id": "`+one+`"},
{"presence_id": "1", "name": "x"}, {"presence_id": "1", "name": "y"}]}, {"realm": "d.test", "devices": [{"id": "`+one+`", "sip": {"username": "1"}}]}]}`)); err != nil || n.Created != 9 {
		t.Errorf("%+v %v", n, err)
	}
}
