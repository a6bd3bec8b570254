package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxName  = 256      // bytes of a name
	maxEntry = 64 << 10 // bytes of an entry
)

// NewID makes a random id.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Put creates an entry (old is nil) or replaces old, and blocks until that is durable. account is the account that the
// entry belongs to; for an account, its own id. by is the account on whose behalf it is done: a presence id may name a
// realm of by and of the accounts below it. The error is ErrConflict when old is not the newest state of the entry, or
// when another account has the realm.
func (d *Directory) Put(ctx context.Context, by, kind, account, id string, fields map[string]any, old *Entry) (*Entry, error) {
	fields, err := d.check(ctx, by, kind, account, fields, old)
	if err != nil {
		return nil, err
	}
	delete(fields, "id")
	data, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		return nil, &Invalid{"data", err.Error()}
	}
	if len(data) > maxEntry {
		return nil, &Invalid{"data", fmt.Sprintf("the entry has %d bytes; at most %d are kept", len(data), maxEntry)}
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
		return nil, errChanged
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

// errChanged is the error for a change on top of a state that is not the newest.
var errChanged = fmt.Errorf("%w: the entry was changed meanwhile; read it again", ErrConflict)

// wrongRevision says whether the bucket refused a change because the key has another revision.
func wrongRevision(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// realmKey returns the bucket key that says which account has a realm.
func realmKey(realm string) string { return realms + "." + hex.EncodeToString([]byte(realm)) }

// freeRealm removes the key of a realm that an account has no more, unless another account has it already. It does not
// matter if that fails: takeRealm takes the realm over from an account that does not have it.
func (d *Directory) freeRealm(ctx context.Context, id, realm string) {
	if v, err := d.kv.Get(ctx, realmKey(realm)); err == nil && string(v.Value()) == id {
		_ = d.kv.Delete(ctx, realmKey(realm), jetstream.LastRevision(v.Revision()))
	}
}

// takeRealm gives a realm to an account by writing the key of the realm, on condition of what is there. So two nodes
// cannot give one realm to two accounts.
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
	// The holder may not exist: if a node fails after it wrote the realm's key and before it writes the account, the realm
	// has a holder that does not have it.
	if e, err := d.Get(ctx, Accounts, string(holder.Value()), string(holder.Value())); err == nil && e.Realm() == realm {
		return fmt.Errorf("%w: another account has the realm %s", ErrConflict, realm)
	}
	_, err = d.kv.Update(ctx, key, []byte(id), holder.Revision())
	return err
}

// check checks the fields of an entry, and returns them as they are to be stored. It may ask the bucket for the realm of a
// presence id.
func (d *Directory) check(ctx context.Context, by, kind, account string, in map[string]any, old *Entry) (map[string]any, error) {
	fields := map[string]any{}
	for k, v := range in {
		fields[k] = v
	}
	text := func(m map[string]any, name string, required bool) (string, error) {
		v, there := m[name]
		s, ok := v.(string)
		if there && v != nil && !ok {
			return "", &Invalid{name, "must be a string"}
		}
		if required && s == "" {
			return "", &Invalid{name, "is missing"}
		}
		if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) {
			return "", &Invalid{name, fmt.Sprintf("must have at most %d bytes and no control characters", maxName)}
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
			return nil, &Invalid{"sip", "must be an object"}
		}
	}
	if kind == Accounts {
		realm, err := text(fields, "realm", true)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(realm, "@ *>") {
			return nil, &Invalid{"realm", fmt.Sprintf("%q must be a domain name, without @, *, > and spaces", realm)}
		}
		fields["realm"] = strings.ToLower(realm)
		if parent, _ := fields["parent_id"].(string); parent != "" {
			d.mu.RLock()
			known, cycle := d.entries[Accounts+"."+parent] != nil, d.inTree(account, parent)
			d.mu.RUnlock()
			if !known || cycle {
				return nil, &Invalid{"parent_id", "must be an existing account that is not below this one"}
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
		return nil, &Invalid{"presence_id", fmt.Sprintf("%q must name an extension: a user other than *, or user@realm", id)}
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

// Delete removes an entry and blocks until that is durable. With an account it removes the account's users and devices
// first. The error is ErrConflict when e is not the newest state of the entry, or when there are accounts below it.
func (d *Directory) Delete(ctx context.Context, e *Entry) error {
	if e.Kind == Accounts {
		for _, other := range d.List(Accounts, e.ID) {
			if other.ID != e.ID {
				return fmt.Errorf("%w: account %s is below this one; remove that one first", ErrConflict, other.ID)
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
			return errChanged
		}
		return fmt.Errorf("directory: %w", err)
	}
	d.apply(key, nil, e.revision+1, true) // Delete does not return the revision of the deletion, which is at least this
	return nil
}
