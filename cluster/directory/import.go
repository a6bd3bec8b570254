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

// Counts is how many entries an import created, changed, and found as they were, and how many accounts it refused because of a
// mistake in them. The entries of a refused account are in none of the first three.
type Counts struct{ Created, Changed, Same, Refused int }

// Import writes accounts with their users and devices, and blocks until that is done. It removes nothing, and to import the
// same file again changes nothing. All entries of an account are checked before one of them is written, and an account with a
// mistake is refused as a whole; the other accounts are imported. All mistakes of the file together are the error FileErrors.
//
// An account with up to some hundred entries that change is written in one step, a larger one in several. When the bucket can't be
// reached, Import ends with what it has written so far, and the Counts are those of that: import the file again. Import takes the users and devices out of in.Accounts.
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
	var all FileErrors
	twice := d.sameAccounts(&in)
	for i, a := range in.Accounts {
		users, err := take(a, "users")
		var devices []map[string]any
		if err == nil {
			devices, err = take(a, "devices")
		}
		of := 1 + len(users) + len(devices)
		l := &load{d: d, in: &in, number: i, told: func(left int) { told(done + of - left) }}
		switch {
		case err != nil:
			l.mistake(place{account: i, kind: Accounts}, err)
			err = nil
		default:
			err = l.run(ctx, &n, a, users, devices, twice[i])
		}
		if len(l.mistakes) > 0 {
			n.Refused++
			all.add(l.mistakes)
		}
		if err != nil {
			all.Ended = err
			return n, all.orNil()
		}
		done += of
		told(done)
	}
	return n, all.orNil()
}

// sameAccounts returns for each account of the file that is there twice what is wrong with it. Two accounts of the file are the same
// one if they have the same id or the same realm, or if the directory knows the id of the one by the realm of the other. An API key
// belongs to one account, too.
func (d *Directory) sameAccounts(in *Import) map[int]error {
	twice, first := map[int]error{}, map[string]int{}
	for i, a := range in.Accounts {
		id, _ := a["id"].(string)
		realm, _ := a["realm"].(string)
		realm = strings.ToLower(realm)
		if id == "" {
			id, _ = d.RealmAccount(realm)
		}
		key, _ := a["api_key"].(string)
		for _, has := range []struct{ what, value string }{{"account", id}, {"realm", realm}, {"API key", key}} {
			if has.value == "" {
				continue
			}
			name := has.what + "\x00" + has.value
			other, known := first[name]
			if !known {
				first[name] = i
				continue
			}
			for one, of := range map[int]int{i: other, other: i} {
				if twice[one] == nil {
					twice[one] = fmt.Errorf("%w: the file has the same %s in %s", ErrConflict, has.what, in.at(place{account: of, kind: Accounts}))
				}
			}
		}
	}
	return twice
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

	account  string
	realm    string // of the account
	mistakes []*FileError
	now      map[string]*prepared // by bucket key: what the file makes of the entries that it changes
	order    []string             // the keys of now, in the order of the file
	named    map[string]string    // user and device ids by what names them: see nameOf
	seen     map[string]place     // the entries of the file, by kind and id, and by what no two of them may share
	owners   map[string]bool      // the ids of the account's users, those of the file too

	compared uint64 // the revision of the bucket up to which entries have been compared with the file
}

// run imports the account. When entries of the account change meanwhile, it begins again. It adds to n what it has written, also
// when it returns an error. The account is refused when l.mistakes are not empty. twice says why it is refused in any case, or is
// nil.
func (l *load) run(ctx context.Context, n *Counts, account map[string]any, users, devices []map[string]any, twice error) error {
	entries := n.Created + n.Changed + 1 + len(users) + len(devices)
	for {
		l.mistakes, l.now, l.order = nil, map[string]*prepared{}, nil
		l.named, l.seen, l.owners = map[string]string{}, map[string]place{}, map[string]bool{}
		if twice != nil {
			l.mistake(place{l.number, Accounts, 0}, twice)
		}
		l.read(account, users, devices)
		err := l.write(ctx, n)
		if err == nil && len(l.mistakes) == 0 {
			n.Same += entries - n.Created - n.Changed // what an earlier round wrote is not as it was
		}
		if !errors.Is(err, errChanged) || ctx.Err() != nil {
			return err
		}
		if err := l.d.catchUp(ctx); err != nil {
			return err
		}
	}
}

// mistake notes a mistake of the file.
func (l *load) mistake(where place, err error) {
	l.mistakes = append(l.mistakes, l.in.wrong(where, err))
}

// read makes what is to be written of an account of a file, and notes the mistakes.
func (l *load) read(account map[string]any, users, devices []map[string]any) {
	l.d.mu.RLock()
	l.compared = l.d.reached
	l.d.mu.RUnlock()
	l.merge(place{l.number, Accounts, 0}, account)
	for _, part := range []struct {
		kind string
		list []map[string]any
	}{{Users, users}, {Devices, devices}} {
		for _, e := range l.d.List(part.kind, l.account) {
			l.index(e)
			l.owners[e.ID] = l.owners[e.ID] || part.kind == Users
		}
		for k, fields := range part.list {
			l.merge(place{l.number, part.kind, k}, fields)
		}
	}
}

// write writes what has changed, in steps of as many entries as fit. The first step checks all of the entries against the view. When
// the file has mistakes, write only looks for more.
func (l *load) write(ctx context.Context, n *Counts) error {
	if len(l.mistakes) > 0 {
		if l.mistakes[0].place.kind != Accounts { // otherwise nobody knows where the others would belong
			l.d.mu.RLock()
			more, _ := l.admit(l.order)
			l.d.mu.RUnlock()
			l.mistakes = append(l.mistakes, more...)
		}
		return nil
	}
	rest := l.order
	for first := true; len(rest) > 0; first = false {
		some, messages, size := 0, 0, 0
		for ; some < len(rest) && messages < maxBatch && size < maxBatchSize; some++ {
			p := l.now[rest[some]]
			messages, size = messages+len(p.writes(nil)), size+len(p.data)
		}
		step, check := rest[:some], rest[:some]
		if first {
			check = rest
		} else {
			time.Sleep(breath)
		}
		last, err := l.d.change(ctx, func() (writes []write, err error) {
			if l.overtaken(step) {
				return nil, errChanged
			}
			if l.mistakes, err = l.admit(check); err != nil {
				return nil, err
			}
			if len(l.mistakes) > 0 {
				return nil, errRefused
			}
			for _, key := range step {
				writes = l.now[key].writes(writes)
			}
			return writes, nil
		})
		if errors.Is(err, errRefused) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, key := range step {
			if l.now[key].old == nil {
				n.Created++
			} else {
				n.Changed++
			}
		}
		l.compared = last // what came before it was compared when it was planned
		rest = rest[some:]
		l.told(len(rest))
	}
	return nil
}

// errRefused says that the view has shown mistakes of the file.
var errRefused = errors.New("directory: the account is refused")

// admit checks what depends on other entries, and returns the mistakes. With errChanged an entry is not the newest. The caller holds
// d.mu.
func (l *load) admit(keys []string) (mistakes []*FileError, err error) {
	for _, key := range keys {
		p := l.now[key]
		switch wrong := l.d.admit(l.account, p, l.now); {
		case errors.Is(wrong, errChanged):
			err = wrong
		case wrong != nil:
			mistakes = append(mistakes, l.in.wrong(p.where, wrong))
		}
	}
	return mistakes, err
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

// merge merges one entry of the file into what is there, and notes its mistakes. It finds the present entry by its id, or else by
// what names it (docs/contract/command-line.md, "lamplight import").
func (l *load) merge(where place, fields map[string]any) {
	kind := where.kind
	old, id, err := l.find(kind, fields)
	if err != nil {
		id = NewID()
	}
	if kind == Accounts {
		l.account = id
	}
	l.owners[id] = l.owners[id] || kind == Users
	if err == nil {
		err = l.onlyOne(where, id, fields)
	}
	if err != nil {
		l.mistake(where, err)
	}
	p, wrong := prepareAll(kind, l.account, id, Change(old, fields), old)
	for _, err := range wrong {
		l.mistake(where, err)
	}
	if owner, _ := fields["owner_id"].(string); kind == Devices && owner != "" && !l.owners[owner] {
		l.mistake(where, noOwner(owner))
		return
	}
	if p != nil && kind == Accounts {
		l.realm = p.Realm()
	}
	if err != nil || p == nil {
		return
	}
	p.where = where
	l.index(&p.Entry)
	if old != nil && reflect.DeepEqual(p.Fields, old.Fields) {
		return
	}
	key := entryKey(kind, l.account, id)
	l.order = append(l.order, key)
	l.now[key] = p
}

// onlyOne refuses an entry that the file has already had: with the same id or found by the same names, or with another id and the
// same username of a user or SIP account of a device.
func (l *load) onlyOne(where place, id string, fields map[string]any) error {
	if where.kind == Accounts {
		return nil // sameAccounts
	}
	given := &Entry{Kind: where.kind, Fields: fields}
	names := []struct{ what, value string }{{where.kind, id}}
	switch name := given.Text("sip.username"); {
	case where.kind == Users:
		names = append(names, struct{ what, value string }{"username", strings.ToLower(given.Text("username"))})
	case name != "":
		realm := strings.ToLower(given.Text("sip.realm"))
		if realm == "" {
			realm = l.realm
		}
		names = append(names, struct{ what, value string }{"sip.username", strings.ToLower(name) + "\x00" + realm})
	}
	for _, n := range names {
		if n.value == "" {
			continue
		}
		key := where.kind + "\x00" + n.what + "\x00" + n.value
		if other, twice := l.seen[key]; twice {
			return fmt.Errorf("%w: the file has the same %s in %s", ErrConflict, n.what, l.in.at(other))
		}
		l.seen[key] = where
	}
	return nil
}

// find returns the entry that an entry of the file means, as it is in the view, and its id. A new entry is nil, and gets a new id.
func (l *load) find(kind string, fields map[string]any) (old *Entry, id string, err error) {
	id, isText := fields["id"].(string)
	if fields["id"] != nil && !isText {
		return nil, "", &Invalid{"id", "must be a string"}
	}
	if id != "" && !ValidID(id) {
		return nil, "", &Invalid{"id", fmt.Sprintf("%q must be 32 hexadecimal characters in lower case", id)}
	}
	if id == "" {
		if id, err = l.match(kind, &Entry{Kind: kind, Fields: fields}); err != nil {
			return nil, "", err
		}
	}
	if id == "" {
		return nil, NewID(), nil
	}
	account := l.account
	if kind == Accounts {
		account = id
	}
	l.d.mu.RLock() // if the view is not the newest, the change is refused
	defer l.d.mu.RUnlock()
	return l.d.present(kind, account, id), id, nil
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
