package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxName  = 256
	maxEntry = 64 << 10
)

// NewID makes an id.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Put creates an entry (old nil) or replaces old. account is the account that it belongs to; for accounts, its id.
// by is the account that asks for it: presence ids may name the realms of its tree.
func (d *Directory) Put(ctx context.Context, by, kind, account, id string, fields map[string]any, old *Entry) (*Entry, error) {
	fields, err := d.check(ctx, by, kind, account, fields, old)
	if err != nil {
		return nil, err
	}
	delete(fields, "id")
	data, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > maxEntry {
		return nil, fmt.Errorf("%w: the entry has %d bytes; at most %d are kept", ErrInvalid, len(data), maxEntry)
	}
	key := entryKey(kind, account, id)
	if kind == Accounts {
		if err := d.takeRealm(ctx, id, fields); err != nil {
			return nil, err
		}
	}
	var rev uint64
	if old == nil {
		rev, err = d.kv.Create(ctx, key, data)
	} else {
		rev, err = d.kv.Update(ctx, key, data, old.revision)
	}
	if wrongRevision(err) {
		return nil, fmt.Errorf("%w: it was changed meanwhile; read it again", ErrConflict)
	}
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d.apply(key, data, rev, false)
	if kind == Accounts && old != nil && old.Realm() != strings.ToLower(fmt.Sprint(fields["realm"])) {
		d.freeRealm(ctx, id, old.Realm())
	}
	return &Entry{Kind: kind, Account: account, ID: id, Fields: fields, revision: rev}, nil
}

func wrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func realmKey(realm string) string { return realms + "." + hex.EncodeToString([]byte(realm)) }

// freeRealm lets others have the realm, unless another account has it already. One that stays behind is taken over by
// whoever wants it next.
func (d *Directory) freeRealm(ctx context.Context, id, realm string) {
	if v, err := d.kv.Get(ctx, realmKey(realm)); err == nil && string(v.Value()) == id {
		_ = d.kv.Delete(ctx, realmKey(realm), jetstream.LastRevision(v.Revision()))
	}
}

// takeRealm makes the realm this account's in a key of its own, so that two nodes can't give it to two accounts.
func (d *Directory) takeRealm(ctx context.Context, id string, fields map[string]any) error {
	realm := strings.ToLower(fields["realm"].(string))
	key := realmKey(realm)
	_, err := d.kv.Create(ctx, key, []byte(id))
	if !wrongRevision(err) {
		return err
	}
	holder, err := d.kv.Get(ctx, key)
	if err != nil {
		return err
	}
	if string(holder.Value()) == id {
		return nil
	}
	// A create that broke off between the two keys leaves a realm without its account.
	if e, err := d.Get(ctx, Accounts, string(holder.Value()), string(holder.Value())); err == nil && e.Realm() == realm {
		return fmt.Errorf("%w: the realm %s", ErrConflict, realm)
	}
	_, err = d.kv.Update(ctx, key, []byte(id), holder.Revision())
	return err
}

// check says whether fields may be stored, and gives them as they will be.
func (d *Directory) check(ctx context.Context, by, kind, account string, in map[string]any, old *Entry) (map[string]any, error) {
	fields := map[string]any{}
	for k, v := range in {
		fields[k] = v
	}
	text := func(m map[string]any, name string, required bool) (string, error) {
		v, there := m[name]
		s, ok := v.(string)
		if there && v != nil && !ok {
			return "", fmt.Errorf("%w: %s must be a string", ErrInvalid, name)
		}
		if required && s == "" {
			return "", fmt.Errorf("%w: %s is missing", ErrInvalid, name)
		}
		if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) {
			return "", fmt.Errorf("%w: %s is over %d bytes long or holds control characters", ErrInvalid, name, maxName)
		}
		return s, nil
	}
	names := map[string][]string{Accounts: {"name", "parent_id", "api_key"}, Users: {"first_name", "last_name", "presence_id", "username"},
		Devices: {"name", "owner_id", "presence_id"}}[kind]
	for _, n := range names {
		if _, err := text(fields, n, false); err != nil {
			return nil, err
		}
	}
	if kind == Devices {
		if sip, ok := fields["sip"].(map[string]any); ok {
			for _, n := range []string{"username", "password", "realm"} {
				if _, err := text(sip, n, false); err != nil {
					return nil, err
				}
			}
		} else if fields["sip"] != nil {
			return nil, fmt.Errorf("%w: sip must be an object", ErrInvalid)
		}
	}
	if kind == Accounts {
		realm, err := text(fields, "realm", true)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(realm, "@ *>") {
			return nil, fmt.Errorf("%w: realm %q must be a domain name", ErrInvalid, realm)
		}
		fields["realm"] = strings.ToLower(realm)
		if parent, _ := fields["parent_id"].(string); parent != "" {
			d.mu.RLock()
			known, cycle := d.entries[Accounts+"."+parent] != nil, d.inTree(account, parent)
			d.mu.RUnlock()
			if !known || cycle {
				return nil, fmt.Errorf("%w: parent_id must be an existing account that is not below this one", ErrInvalid)
			}
		}
		delete(fields, "api_key_hash")
		if k, _ := fields["api_key"].(string); k != "" {
			fields["api_key_hash"] = HashKey(k)
		} else if old != nil && old.Text("api_key_hash") != "" {
			fields["api_key_hash"] = old.Text("api_key_hash")
		}
		delete(fields, "api_key")
		return fields, nil
	}
	id, _ := fields["presence_id"].(string)
	name, realm, full := id, "", false
	if i := strings.LastIndexByte(id, '@'); i >= 0 {
		name, realm, full = id[:i], strings.ToLower(id[i+1:]), true
	}
	if name == "*" || full && name == "" {
		return nil, fmt.Errorf("%w: presence_id %q names no extension", ErrInvalid, id)
	}
	if full {
		holder, err := d.FindRealm(ctx, realm)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return nil, err
		}
		if err != nil || !d.InTree(by, holder) {
			return nil, ErrForbidden
		}
	}
	return fields, nil
}

// Delete removes an entry; with an account go its users and devices.
func (d *Directory) Delete(ctx context.Context, e *Entry) error {
	if e.Kind == Accounts {
		for _, other := range d.List(Accounts, e.ID) {
			if other.ID != e.ID {
				return fmt.Errorf("%w: account %s is below it; remove that one first", ErrConflict, other.ID)
			}
		}
		for _, kind := range []string{Users, Devices} {
			for _, m := range d.List(kind, e.ID) {
				if err := d.Delete(ctx, m); err != nil {
					return err
				}
			}
		}
		defer d.freeRealm(ctx, e.ID, e.Realm())
	}
	key := entryKey(e.Kind, e.Account, e.ID)
	if err := d.kv.Delete(ctx, key, jetstream.LastRevision(e.revision)); err != nil {
		if wrongRevision(err) {
			return fmt.Errorf("%w: it was changed meanwhile; read it again", ErrConflict)
		}
		return fmt.Errorf("directory: %w", err)
	}
	d.apply(key, nil, e.revision+1, true) // the deletion's own revision is at least that
	return nil
}

// Import is a file of accounts.
type Import struct {
	Accounts []map[string]any `json:"accounts"`
}

// Counts says what an import did.
type Counts struct{ Created, Changed, Same int }

// Import loads accounts with their users and devices. Nothing is removed; loading twice changes nothing.
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

func take(m map[string]any, name string) (out []map[string]any, err error) {
	list, ok := m[name].([]any)
	if !ok && m[name] != nil {
		return nil, fmt.Errorf("%w: %s must be a list", ErrInvalid, name)
	}
	delete(m, name)
	for i, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%w: %s: number %d must be an object", ErrInvalid, name, i+1)
		}
		out = append(out, o)
	}
	return out, nil
}

// Merge is old with a change on top: null removes, objects merge, all else replaces.
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

// merge creates or updates one entry by its id, else by what names it (CLI.md).
func (d *Directory) merge(ctx context.Context, n *Counts, kind, account string, fields map[string]any) (string, error) {
	id, isText := fields["id"].(string)
	if fields["id"] != nil && !isText {
		return "", fmt.Errorf("%w: id must be a string", ErrInvalid)
	}
	var old *Entry
	if id != "" {
		if !ValidID(id) {
			return "", fmt.Errorf("%w: id %q must be 32 hexadecimal characters in lower case", ErrInvalid, id)
		}
		key := entryKey(kind, account, id)
		if kind == Accounts {
			key = entryKey(kind, id, id)
		}
		d.mu.RLock() // what another one writes meanwhile, Put finds
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

// match finds the entry that one without an id means.
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
		return nil, fmt.Errorf("%w: neither an id nor a name to know it by", ErrInvalid)
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
