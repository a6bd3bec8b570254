package directory

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// A field that no one could use is refused, and the error names it.
func TestUnusableFields(t *testing.T) {
	b := newBed(t)
	d := b.open()
	account := add(t, d, "acme.test", nil)
	parents := []string{account}
	for i := range 70 { // deeper than the tree may be
		id := NewID()
		_, err := d.Put(t.Context(), id, Accounts, id, id, map[string]any{"realm": fmt.Sprintf("d%d.test", i), "parent_id": parents[len(parents)-1]}, nil)
		if err != nil {
			break
		}
		parents = append(parents, id)
	}
	if len(parents) != maxDepth-1 || !d.InTree(account, parents[len(parents)-1]) {
		t.Errorf("%d levels", len(parents))
	}
	for _, c := range []struct {
		kind, field string
		value       any
	}{
		{Accounts, "realm", "acme.test:5060"}, {Accounts, "realm", "ac me.test"}, {Accounts, "realm", "a\u00a0b.test"}, {Accounts, "realm", "sip:x.test"},
		{Accounts, "realm", ".test"}, {Accounts, "realm", ""}, {Accounts, "realm", 5.0}, {Accounts, "parent_id", account}, {Accounts, "parent_id", parents[1]},
		{Accounts, "parent_id", "nobody"}, {Accounts, "api_key", "short"}, {Accounts, "api_key", strings.Repeat("z", 32)}, {Accounts, "api_key", 5.0},
		{Devices, "presence_id", "*"}, {Devices, "presence_id", "@acme.test"}, {Devices, "presence_id", "1001@"}, {Devices, "presence_id", "10 01"},
		{Devices, "presence_id", "sip:1001@acme.test"}, {Devices, "presence_id", "1001@acme.test:5060"}, {Devices, "presence_id", "\xff"},
		{Devices, "presence_id", []any{"1"}}, {Users, "presence_id", " "}, {Devices, "sip.username", "*"}, {Devices, "sip.username", "a b"},
		{Accounts, "enabled", "false"}, {Users, "enabled", "false"}, {Users, "enabled", 0.0}, {Devices, "enabled", "false"}, {Devices, "enabled", []any{}},
		{Accounts, "phone_numbers", "+12125550100"}, {Accounts, "phone_numbers", []any{1.0}}, {Accounts, "language", 5.0}, {Users, "language", true},
		{Devices, "hotdesk", true}, {Devices, "sip", "x"}, {Devices, "sip.realm", "acme.test:5060"}, {Devices, "sip.realm", "sip:acme.test"},
		{Accounts, "presence", true}, {Users, "presence.hide_parties", "true"}, {Devices, "presence.hide_parties", 1.0}, {Accounts, "presence.hide_parties", "no"},
		{Users, "password", 5.0}, {Users, "username", "a b"}, {Users, "username", strings.Repeat("x", 257)},
	} {
		fields := map[string]any{"realm": "acme.test"}
		if outer, inner, ok := strings.Cut(c.field, "."); ok {
			fields[outer] = map[string]any{inner: c.value}
		} else {
			fields[c.field] = c.value
		}
		id, old := NewID(), (*Entry)(nil)
		if c.kind == Accounts {
			id = account
			old, _ = d.Get(t.Context(), Accounts, account, account)
		}
		_, err := d.Put(t.Context(), account, c.kind, account, id, fields, old)
		var wrong *Invalid
		if !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%s %s %v: %v", c.kind, c.field, c.value, err)
		}
	}
	_, err := d.Put(t.Context(), account, Devices, account, NewID(), map[string]any{"note": strings.Repeat("x", maxEntry)}, nil)
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("a document over 64 KiB: %v", err)
	}
}

// Users log in with either digest. The password is kept nowhere, and the hashes are never shown.
func TestLogIn(t *testing.T) {
	b := newBed(t)
	d := b.open()
	account := add(t, d, "acme.test", map[string]any{"name": "Acme, Ltd.", "phone_numbers": map[string]any{"+12125550100": map[string]any{}}})
	twin := add(t, d, "twin.test", map[string]any{"name": "Twin"})
	add(t, d, "twin2.test", map[string]any{"name": "TWIN"})
	ada, err := d.Put(t.Context(), account, Users, account, NewID(), map[string]any{"username": "ada", "password": "s3cret:x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), twin, Users, twin, NewID(), map[string]any{"username": "ada", "password": "s3cret:x"}, nil); err != nil {
		t.Fatal(err)
	}
	stored, err := b.kv().Get(t.Context(), "user."+account+"."+ada.ID)
	if err != nil || strings.Contains(string(stored.Value()), "s3cret") || strings.Contains(string(stored.Value()), digestOf("md5", "ada:s3cret:x")) {
		t.Fatalf("%s %v", stored.Value(), err)
	}
	if p := ada.Public(); len(p) != 1 || p["username"] != "ada" {
		t.Errorf("people see %v", p)
	}
	try := func(whose Whose, method, digest string) error {
		t.Helper()
		_, user, err := d.LogIn(t.Context(), whose, method, digest)
		if err == nil && user.ID != ada.ID {
			t.Errorf("%v logs in as %v", whose, user)
		}
		return err
	}
	good := digestOf("md5", "ada:s3cret:x")
	for name, c := range map[string]struct {
		whose          Whose
		method, digest string
		ok             bool
	}{
		"realm": {Whose{Realm: "ACME.test"}, "md5", good, true}, "name": {Whose{Name: "acme ltd"}, "md5", good, true}, "phone": {Whose{Phone: "12125550100"}, "md5", good, true},
		"upper case": {Whose{Realm: "acme.test"}, "md5", strings.ToUpper(good), true}, "sha": {Whose{Realm: "acme.test"}, "sha", digestOf("sha", "ada:s3cret:x"), true},
		"the digest of the other method": {Whose{Realm: "acme.test"}, "sha", good, false}, "wrong password": {Whose{Realm: "acme.test"}, "md5", digestOf("md5", "ada:wrong"), false},
		"no digest": {Whose{Realm: "acme.test"}, "md5", "", false}, "the stored hash": {Whose{Realm: "acme.test"}, "md5", ada.Text(loginFields[0]), false},
		"unknown realm": {Whose{Realm: "none.test"}, "md5", good, false}, "two accounts of one name": {Whose{Name: "Twin"}, "md5", good, false},
		"nobody": {Whose{}, "md5", good, false}, "nothing": {Whose{}, "", "", false},
	} {
		if err := try(c.whose, c.method, c.digest); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	change := func(fields map[string]any) error {
		t.Helper()
		e, err := d.Put(t.Context(), account, Users, account, ada.ID, Change(ada, fields), ada)
		if err == nil {
			ada = e
		}
		return err
	}
	acme := Whose{Realm: "acme.test"}
	if err := change(map[string]any{"first_name": "Ada"}); err != nil || try(acme, "md5", good) != nil {
		t.Errorf("after another change: %v", err)
	}
	var wrong *Invalid
	if err := change(map[string]any{"username": "lovelace"}); !errors.As(err, &wrong) || wrong.Field != "password" {
		t.Errorf("another username without the password: %v", err)
	}
	if err := change(map[string]any{"username": "lovelace", "password": "p2"}); err != nil || try(acme, "md5", good) == nil || try(acme, "md5", digestOf("md5", "lovelace:p2")) != nil {
		t.Errorf("another username and password: %v", err)
	}
	if err := change(map[string]any{"enabled": false}); err != nil || try(acme, "md5", digestOf("md5", "lovelace:p2")) == nil {
		t.Errorf("a disabled user: %v", err)
	}
	if err := change(map[string]any{"enabled": nil, "password": nil}); err != nil || try(acme, "md5", digestOf("md5", "lovelace:p2")) == nil || ada.Text(loginFields[0]) != "" {
		t.Errorf("without a password: %v", err)
	}
	if err := change(map[string]any{"login_md5_hash": "0", "password": "p3"}); err != nil || ada.Text(loginFields[0]) == "0" {
		t.Errorf("a hash from outside: %v", err)
	}
	if _, err := d.Put(t.Context(), account, Users, account, NewID(), map[string]any{"password": "p"}, nil); !errors.As(err, &wrong) || wrong.Field != "username" {
		t.Errorf("a password without a username: %v", err)
	}
}

// An API key can be exchanged, and revoked. A key of an earlier release that is shorter goes on until then.
func TestAPIKeys(t *testing.T) {
	b := newBed(t)
	d := b.open()
	account := add(t, d, "acme.test", map[string]any{"api_key": apiKey})
	if _, err := b.kv().PutString(t.Context(), "account."+acme, `{"realm":"old.test","api_key_hash":"`+HashKey("old")+`"}`); err != nil {
		t.Fatal(err)
	}
	if e, err := d.AccountByAPIKey(t.Context(), "old"); err != nil || e.ID != acme {
		t.Fatalf("a key of an earlier release: %v", err)
	}
	if err := put(t.Context(), d, acme, map[string]any{"name": "Old", "api_key": "old"}); err != nil {
		t.Errorf("its file, imported again: %v", err)
	}
	if err := put(t.Context(), d, acme, map[string]any{"api_key": apiKey}); !errors.Is(err, ErrConflict) {
		t.Errorf("another account's key: %v", err)
	}
	set := func(key string) {
		t.Helper()
		e, err := d.Get(t.Context(), Accounts, account, account)
		if err == nil {
			_, err = d.SetAPIKey(t.Context(), e, key, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	known := func(key string) bool { _, err := d.AccountByAPIKey(t.Context(), key); return err == nil }
	other := NewID()
	if set(other); known(apiKey) || !known(other) {
		t.Error("after an exchange")
	}
	if set(""); known(other) {
		t.Error("after a revocation")
	}
	e, _ := d.Get(t.Context(), Accounts, account, account)
	if !maps.Equal(e.Public(), map[string]any{"realm": "acme.test"}) {
		t.Errorf("%v", e.Public())
	}
}

// digestOf makes credentials as Kazoo's clients do.
func digestOf(method, text string) string {
	if method == "sha" {
		sum := sha1.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
