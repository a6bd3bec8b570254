package directory

import (
	"context"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
)

// Import is the content of a file for lamplight import.
type Import struct {
	Accounts []map[string]any `json:"accounts"`
}

// Read reads a file for Import. It refuses unknown fields at the top of the file, and objects with a field twice.
func Read(r io.Reader) (in Import, err error) {
	return in, json.UnmarshalRead(r, &in, json.RejectUnknownMembers(true), KeepNumbers)
}

// Counts is how many entries an import created, changed, and found as they were.
type Counts struct{ Created, Changed, Same int }

// Import writes accounts with their users and devices, and blocks until that is done. It removes nothing, and to import the
// same file again changes nothing. After an error, what was imported before it stays.
func (d *Directory) Import(ctx context.Context, in Import) (Counts, error) {
	var n Counts
	for i, a := range in.Accounts {
		users, err := take(a, "users")
		if err != nil {
			return n, fmt.Errorf("account %d: %w", i+1, err)
		}
		devices, err := take(a, "devices")
		if err != nil {
			return n, fmt.Errorf("account %d: %w", i+1, err)
		}
		id, err := d.merge(ctx, &n, Accounts, "", a)
		if err != nil {
			return n, fmt.Errorf("account %d: %w", i+1, err)
		}
		for k, u := range users {
			if _, err := d.merge(ctx, &n, Users, id, u); err != nil {
				return n, fmt.Errorf("account %d, user %d: %w", i+1, k+1, err)
			}
		}
		for k, v := range devices {
			if _, err := d.merge(ctx, &n, Devices, id, v); err != nil {
				return n, fmt.Errorf("account %d, device %d: %w", i+1, k+1, err)
			}
		}
	}
	return n, nil
}

// take takes a list of objects out of m, and returns it.
func take(m map[string]any, name string) (out []map[string]any, err error) {
	list, ok := m[name].([]any)
	if !ok && m[name] != nil {
		return nil, &Invalid{name, "must be a list"}
	}
	delete(m, name)
	for i, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, &Invalid{name, fmt.Sprintf("must hold objects only; number %d is none", i+1)}
		}
		out = append(out, o)
	}
	return out, nil
}

// Merge returns old with a change applied: a null removes the field, an object is merged into the old one, and anything
// else replaces the old value. It changes neither of its arguments.
func Merge(old, change map[string]any) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range change {
		was, _ := out[k].(map[string]any)
		now, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(out, k)
		case isObject:
			out[k] = Merge(was, now)
		default:
			out[k] = v
		}
	}
	return out
}

// merge creates or updates one entry, and returns its id. It finds the present entry by its id, or else by what names it
// (docs/contract/command-line.md, "lamplight import").
func (d *Directory) merge(ctx context.Context, n *Counts, kind, account string, fields map[string]any) (string, error) {
	id, isText := fields["id"].(string)
	if fields["id"] != nil && !isText {
		return "", &Invalid{"id", "must be a string"}
	}
	var old *Entry
	if id != "" {
		if !ValidID(id) {
			return "", &Invalid{"id", fmt.Sprintf("%q must be 32 hexadecimal characters in lower case", id)}
		}
		key := entryKey(kind, account, id)
		if kind == Accounts {
			key = entryKey(kind, id, id)
		}
		d.mu.RLock() // if the view is not the newest, Put refuses the change
		old = d.entries[key]
		d.mu.RUnlock()
	} else {
		var err error
		if old, err = d.match(kind, account, &Entry{Fields: fields}); err != nil {
			return "", err
		}
		id = NewID()
		if old != nil {
			id = old.ID
		}
	}
	if kind == Accounts {
		account = id
	}
	var merged map[string]any
	if old != nil {
		merged = old.Fields
	}
	merged = Merge(merged, fields)
	delete(merged, "id")
	if old != nil {
		would, err := d.check(ctx, account, kind, account, merged, old)
		if err != nil {
			return "", err
		}
		if reflect.DeepEqual(would, old.Fields) {
			n.Same++
			return id, nil
		}
		n.Changed++
	} else {
		n.Created++
	}
	_, err := d.Put(ctx, account, kind, account, id, merged, old)
	return id, err
}

// match returns the entry that an entry of a file without an id means; nil: there is none. Users and devices are matched by
// the first group of fields that the file gives completely.
func (d *Directory) match(kind, account string, probe *Entry) (*Entry, error) {
	if kind == Accounts {
		d.mu.RLock()
		defer d.mu.RUnlock()
		return d.entries[Accounts+"."+d.realms[probe.Realm()]], nil
	}
	var names []string
	for _, n := range map[string][][]string{Users: {{"username"}, {"first_name", "last_name"}, {"presence_id"}},
		Devices: {{"sip.username"}, {"presence_id", "name"}, {"presence_id"}, {"name"}}}[kind] {
		if !slices.ContainsFunc(n, func(n string) bool { return probe.Text(n) == "" }) {
			names = n
			break
		}
	}
	if names == nil {
		return nil, &Invalid{"id", "is missing, and so are the fields by which the entry could be found"}
	}
	for _, e := range d.List(kind, account) {
		if kind == Devices && probe.Text("sip.username") != e.Text("sip.username") {
			continue
		}
		if !slices.ContainsFunc(names, func(n string) bool { return probe.Text(n) != e.Text(n) }) {
			return e, nil
		}
	}
	return nil, nil
}
