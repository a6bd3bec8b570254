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
			return "", &Invalid{name, "must be a string"}
		}
		if required && s == "" {
			return "", &Invalid{name, "is missing"}
		}
		if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) {
			return "", &Invalid{name, fmt.Sprintf("is over %d bytes long or holds control characters", maxName)}
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
			return nil, &Invalid{"realm", fmt.Sprintf("%q is no domain name", realm)}
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
		return nil, &Invalid{"presence_id", fmt.Sprintf("%q names no extension", id)}
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
