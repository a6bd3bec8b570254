package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"
)

// Counts is how many entries an import created, changed, and found as they were.
type Counts struct{ Created, Changed, Same int }

// Import writes accounts with their users and devices, and blocks until that is done. It removes nothing, and to import the
// same file again changes nothing. All entries of an account are checked before one of them is written. An account with up to some
// hundred entries that change is written in one step, a larger one in several. After an error, the accounts before it stay, and so
// do the steps before it if the bucket could not be reached: import the file again. A mistake of the file is a FileError. Import
// takes the users and devices out of in.Accounts.
func (d *Directory) Import(ctx context.Context, in Import) (Counts, error) {
	var n Counts
	if err := d.catchUp(ctx); err != nil { // what the file refers to may have been made on another node just now
		return n, err
	}
	total, done := 0, 0
	for _, a := range in.Accounts {
		users, _ := a["users"].([]any)
		devices, _ := a["devices"].([]any)
		total += 1 + len(users) + len(devices)
	}
	told := func(entries int) {
		if in.Progress != nil {
			in.Progress(entries, total)
		}
	}
	for i, a := range in.Accounts {
		users, err := take(a, "users")
		var devices []map[string]any
		if err == nil {
			devices, err = take(a, "devices")
		}
		if err != nil {
			return n, in.wrong(place{account: i, kind: Accounts}, err)
		}
		of := 1 + len(users) + len(devices)
		l := &load{d: d, in: &in, number: i, told: func(left int) { told(done + of - left) }}
		if err := l.run(ctx, &n, a, users, devices); err != nil {
			return n, err
		}
		done += of
		told(done)
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

// Change returns the fields of an entry (nil: a new one) with a change applied, as Merge does. A password or API key that the change
// sets to null is removed.
func Change(old *Entry, change map[string]any) map[string]any {
	var fields map[string]any
	if old != nil {
		fields = old.Fields
	}
	out := Merge(fields, change)
	for _, secret := range []string{"password", "api_key"} {
		if v, named := change[secret]; named && v == nil {
			out[secret] = nil // prepare takes that for a wish, and a missing one for no wish
		}
	}
	return out
}

// load is one account of a file that is being imported.
type load struct {
	d      *Directory
	in     *Import
	number int            // of the account in the file, from 0 on
	told   func(left int) // is called with how many entries are still to be written

	account string
	counts  Counts
	now     map[string]*prepared // by bucket key: what the file makes of the entries that it changes
	order   []string             // the keys of now, in the order of the file
	named   map[string]string    // user and device ids by what names them: see nameOf
	users   map[string]string    // user ids by the usernames of the file, in lower case
	owners  map[string]bool      // the ids of the account's users, those of the file too

	compared uint64 // the revision of the bucket up to which entries have been compared with the file
}

// run imports the account. When entries of the account change meanwhile, it begins again.
func (l *load) run(ctx context.Context, n *Counts, account map[string]any, users, devices []map[string]any) error {
	for first := true; ; first = false {
		l.now, l.order, l.counts = map[string]*prepared{}, nil, Counts{}
		l.named, l.users, l.owners = map[string]string{}, map[string]string{}, map[string]bool{}
		if err := l.read(account, users, devices); err != nil {
			return err
		}
		if first { // later on, what has been written counts as it was
			n.Created, n.Changed, n.Same = n.Created+l.counts.Created, n.Changed+l.counts.Changed, n.Same+l.counts.Same
		}
		if err := l.write(ctx); !errors.Is(err, errChanged) || ctx.Err() != nil {
			return err
		}
		if err := l.d.catchUp(ctx); err != nil {
			return err
		}
	}
}

// read makes what is to be written of an account of a file.
func (l *load) read(account map[string]any, users, devices []map[string]any) error {
	l.d.mu.RLock()
	l.compared = l.d.reached
	l.d.mu.RUnlock()
	if err := l.merge(place{l.number, Accounts, 0}, account); err != nil {
		return err
	}
	for _, part := range []struct {
		kind string
		list []map[string]any
	}{{Users, users}, {Devices, devices}} {
		for _, e := range l.d.List(part.kind, l.account) {
			l.index(e)
			l.owners[e.ID] = l.owners[e.ID] || part.kind == Users
		}
		for k, fields := range part.list {
			if err := l.merge(place{l.number, part.kind, k}, fields); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes what has changed, in steps of as many entries as fit. The first step checks all of the entries against the view.
func (l *load) write(ctx context.Context) error {
	with := l.now[entryKey(Accounts, l.account, l.account)]
	rest := l.order
	for first := true; len(rest) > 0; first = false {
		n, messages, size := 0, 0, 0
		for ; n < len(rest) && messages < maxBatch && size < maxBatchSize; n++ {
			p := l.now[rest[n]]
			messages, size = messages+len(p.writes(nil)), size+len(p.data)
		}
		step, check := rest[:n], rest[:n]
		if first {
			check = rest
		} else {
			time.Sleep(breath)
		}
		last, err := l.d.change(ctx, func() (writes []write, err error) {
			if l.overtaken(step) {
				return nil, errChanged
			}
			for _, key := range check {
				p := l.now[key]
				if err := l.d.admit(l.account, p, with); err != nil {
					return nil, l.in.wrong(p.where, err)
				}
			}
			for _, key := range step {
				writes = l.now[key].writes(writes)
			}
			return writes, nil
		})
		if err != nil {
			return err
		}
		l.compared = last // what came before it was compared when it was planned
		rest = rest[n:]
		l.told(len(rest))
	}
	return nil
}

// overtaken says whether somebody has meanwhile made an entry by which one of the file, which was to be new, is known. The caller
// holds d.mu.
func (l *load) overtaken(step []string) bool {
	if l.d.reached == l.compared {
		return false
	}
	var made map[string]bool // by what names them: the entries that others have made since the file was compared
	for _, kind := range []string{Users, Devices} {
		for id, e := range l.d.groups[group{kind, l.account}] {
			if e.revision <= l.compared || l.now[entryKey(kind, l.account, id)] != nil {
				continue
			}
			for i := range groupsOf[kind] {
				if name := nameOf(e, i); name != "" {
					if made == nil {
						made = map[string]bool{}
					}
					made[name] = true
				}
			}
		}
	}
	if made == nil {
		return false
	}
	for _, key := range step {
		p := l.now[key]
		if p.Kind == Accounts || p.old != nil {
			continue
		}
		for i := range groupsOf[p.Kind] {
			if name := nameOf(&p.Entry, i); name != "" && made[name] {
				return true
			}
		}
	}
	return false
}

// merge merges one entry of the file into what is there. It finds the present entry by its id, or else by what names it
// (docs/contract/command-line.md, "lamplight import").
func (l *load) merge(where place, fields map[string]any) error {
	kind := where.kind
	old, base, id, err := l.find(kind, fields)
	if err != nil {
		return l.in.wrong(where, err)
	}
	if kind == Accounts {
		l.account = id
	}
	p, err := prepare(kind, l.account, id, Change(base, fields), base)
	if err != nil {
		return l.in.wrong(where, err)
	}
	if name := strings.ToLower(p.Text("username")); kind == Users && name != "" {
		if other := l.users[name]; other != "" && other != id {
			return l.in.wrong(where, fmt.Errorf("%w: the file gives the username %s to two users", ErrConflict, name))
		}
		l.users[name] = id
	}
	if owner, _ := fields["owner_id"].(string); kind == Devices && owner != "" && !l.owners[owner] {
		return l.in.wrong(where, &Invalid{"owner_id", fmt.Sprintf("%q does not exist: the account has no user with this id", owner)})
	}
	l.owners[id] = l.owners[id] || kind == Users
	p.old, p.where = old, where
	switch {
	case base == nil:
		l.counts.Created++
	case reflect.DeepEqual(p.Fields, base.Fields):
		l.counts.Same++
		return nil
	default:
		l.counts.Changed++
	}
	key := entryKey(kind, l.account, id)
	if l.now[key] == nil {
		l.order = append(l.order, key)
	}
	l.now[key] = p
	l.index(&p.Entry)
	return nil
}

// find returns the entry that an entry of the file means: old as it is in the view, base as the file has made it so far, and its id.
// A new entry has neither, and gets a new id.
func (l *load) find(kind string, fields map[string]any) (old, base *Entry, id string, err error) {
	id, isText := fields["id"].(string)
	if fields["id"] != nil && !isText {
		return nil, nil, "", &Invalid{"id", "must be a string"}
	}
	if id != "" && !ValidID(id) {
		return nil, nil, "", &Invalid{"id", fmt.Sprintf("%q must be 32 hexadecimal characters in lower case", id)}
	}
	if id == "" {
		if id, err = l.match(kind, &Entry{Kind: kind, Fields: fields}); err != nil {
			return nil, nil, "", err
		}
	}
	if id == "" {
		return nil, nil, NewID(), nil
	}
	account := l.account
	if kind == Accounts {
		account = id
	}
	l.d.mu.RLock() // if the view is not the newest, the change is refused
	old = l.d.present(kind, account, id)
	l.d.mu.RUnlock()
	if p := l.now[entryKey(kind, account, id)]; p != nil {
		return old, &p.Entry, id, nil
	}
	return old, old, id, nil
}

// match returns the id of the entry that an entry of the file without an id means; "": there is none. Users and devices are
// matched by the first group of fields that the file gives completely.
func (l *load) match(kind string, probe *Entry) (string, error) {
	if kind == Accounts {
		id, _ := l.d.RealmAccount(probe.Realm())
		return id, nil
	}
	for i := range groupsOf[kind] {
		if name := nameOf(probe, i); name != "" {
			return l.named[name], nil
		}
	}
	return "", &Invalid{"id", "is missing, and so are the fields by which the entry could be found"}
}

// index makes a user or device known by its names. Of several with one name, the one with the lowest id is found.
func (l *load) index(e *Entry) {
	for i := range groupsOf[e.Kind] {
		if name := nameOf(e, i); name != "" && (l.named[name] == "" || e.ID < l.named[name]) {
			l.named[name] = e.ID
		}
	}
}

// groupsOf are the groups of fields by which users and devices are found, the best first.
var groupsOf = map[string][][]string{Users: {{"username"}, {"first_name", "last_name"}, {"presence_id"}},
	Devices: {{"sip.username"}, {"presence_id", "name"}, {"presence_id"}, {"name"}}}

// nameOf returns what a group of fields makes of an entry; "" if a field is missing. A device is never found under another
// sip.username.
func nameOf(e *Entry, number int) string {
	name := fmt.Sprint(e.Kind, number)
	for _, f := range groupsOf[e.Kind][number] {
		if e.Text(f) == "" {
			return ""
		}
		name += "\x00" + e.Text(f)
	}
	if e.Kind == Devices {
		name += "\x00" + e.Text("sip.username")
	}
	return name
}
