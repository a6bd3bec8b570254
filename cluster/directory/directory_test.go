package directory

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

const (
	acme  = "00000000000000000000000000000001"
	below = "00000000000000000000000000000002"
	rival = "00000000000000000000000000000003"

	apiKey = "00112233445566778899aabbccddeeff"
)

// bed is a NATS server, and the realms that Directories on it said are gone.
type bed struct {
	t    *testing.T
	conn *nats.Conn
	mu   sync.Mutex
	gone []string
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := natstest.Start(t, t.TempDir())
	conn := natstest.Connect(t, s)
	return &bed{t: t, conn: conn}
}

func (b *bed) open() *Directory {
	b.t.Helper()
	d := New(Config{Conn: b.conn, Log: slog.New(slog.DiscardHandler), RealmGone: func(r string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.gone = append(b.gone, r)
	}})
	if err := d.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = d.Stop(context.Background()) })
	return d
}

func sample() Import {
	return Import{Accounts: []map[string]any{
		{"id": acme, "name": "Acme", "realm": "Acme.Test", "api_key": apiKey, "users": []any{map[string]any{"username": "ada"}},
			"devices": []any{map[string]any{"sip": map[string]any{"username": "1001", "password": "p"}}}},
		{"id": below, "realm": "below.test", "parent_id": acme}, {"id": rival, "realm": "rival.test"}}}
}

func TestImportTwiceChangesNothing(t *testing.T) {
	b := newBed(t)
	d := b.open()
	ctx := context.Background()
	if n, err := d.Import(ctx, sample()); err != nil || n.Created != 5 {
		t.Fatalf("%+v %v", n, err)
	}
	if n, err := d.Import(ctx, sample()); err != nil || n.Same != 5 || n.Created+n.Changed != 0 {
		t.Fatalf("again: %+v %v", n, err)
	}
	e, err := d.AccountByAPIKey(ctx, apiKey)
	if err != nil || e.ID != acme || e.Realm() != "acme.test" || e.Fields["api_key"] != nil {
		t.Errorf("by API key: %+v %v", e, err)
	}
	if _, err := d.AccountByAPIKey(ctx, strings.ToUpper(apiKey)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a wrong key: %v", err)
	}
	if !d.InTree(acme, below) || d.InTree(below, acme) || d.InTree(acme, rival) {
		t.Error("the tree is wrong")
	}
}

func TestRefusals(t *testing.T) {
	b := newBed(t)
	d := b.open()
	ctx := context.Background()
	if _, err := d.Import(ctx, sample()); err != nil {
		t.Fatal(err)
	}
	ada := d.List(Users, acme)[0]
	one, err := d.Put(ctx, acme, Devices, acme, NewID(), map[string]any{"owner_id": ada.ID, "sip": map[string]any{"username": "Ada.phone"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind   string
		fields map[string]any
		want   error
	}{
		"realm taken":             {Accounts, map[string]any{"realm": "ACME.test"}, ErrConflict},
		"no realm":                {Accounts, map[string]any{"name": "x"}, ErrInvalid},
		"realm with @":            {Accounts, map[string]any{"realm": "a@b"}, ErrInvalid},
		"unknown parent":          {Accounts, map[string]any{"realm": "n.test", "parent_id": "x"}, ErrInvalid},
		"presence id elsewhere":   {Devices, map[string]any{"presence_id": "1@rival.test"}, ErrForbidden},
		"presence id of no realm": {Users, map[string]any{"presence_id": "1@none.test"}, ErrForbidden},
		"a user's elsewhere":      {Users, map[string]any{"presence_id": "1@rival.test"}, ErrForbidden},
		"SIP username elsewhere":  {Devices, map[string]any{"sip": map[string]any{"username": "1@RIVAL.test"}}, ErrForbidden},
		"beside a presence id":    {Devices, map[string]any{"presence_id": "1", "sip": map[string]any{"username": "1@rival.test"}}, ErrForbidden},
		"name is a number":        {Devices, map[string]any{"name": 5.0}, ErrInvalid},
		"no such owner":           {Devices, map[string]any{"owner_id": "zz"}, ErrInvalid},
		"SIP username taken":      {Devices, map[string]any{"sip": map[string]any{"username": "ADA.phone"}}, ErrConflict},
		"and with the realm":      {Devices, map[string]any{"sip": map[string]any{"username": "ada.phone", "realm": "ACME.test"}}, ErrConflict},
	} {
		account := acme
		if c.kind == Accounts {
			account = NewID()
		}
		if _, err := d.Put(ctx, account, c.kind, account, account, c.fields, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A device may keep what it has, also an owner who is gone, and have the name of a device of another realm.
	if err := d.Delete(ctx, ada); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(ctx, acme, Devices, acme, one.ID, map[string]any{"owner_id": ada.ID, "sip": map[string]any{"username": "ADA.phone"}}, one); err != nil {
		t.Error(err)
	}
	if _, err := d.Put(ctx, acme, Devices, acme, NewID(), map[string]any{"sip": map[string]any{"username": "ada.phone", "realm": "below.test"}}, nil); err != nil {
		t.Error(err)
	}
	e, err := d.Get(ctx, Accounts, acme, acme)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(ctx, e); !errors.Is(err, ErrConflict) {
		t.Errorf("an account with one below it: %v", err)
	}
	if _, err := d.Put(ctx, acme, Accounts, acme, acme, map[string]any{"realm": "acme.test", "parent_id": below}, e); !errors.Is(err, ErrInvalid) {
		t.Errorf("a cycle: %v", err)
	}
}

// What one node has acknowledged, another node knows, even if its watch has not brought it yet. Both nodes are told of a
// realm that no account has any more.
func TestTwoNodes(t *testing.T) {
	b := newBed(t)
	one, two := b.open(), b.open()
	ctx := context.Background()
	if _, err := one.Import(ctx, sample()); err != nil {
		t.Fatal(err)
	}
	e, err := two.Get(ctx, Accounts, rival, rival)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Put(ctx, rival, Accounts, rival, rival, map[string]any{"realm": "new.test"}, e); err != nil {
		t.Fatal(err)
	}
	if id, ok := two.RealmAccount("new.test"); !ok || id != rival {
		t.Error("its own change is not answered at once")
	}
	if _, err := one.Put(ctx, rival, Accounts, rival, rival, map[string]any{"realm": "x.test"}, e); !errors.Is(err, ErrConflict) {
		t.Errorf("a change on top of an old one: %v", err)
	}
	end := time.Now().Add(10 * time.Second)
	for {
		b.mu.Lock()
		n := len(b.gone)
		b.mu.Unlock()
		_, old := one.RealmAccount("rival.test")
		if n >= 2 && !old {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("told of %d realms that went", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := one.PublishKey(ctx, "abc", []byte("public")); err != nil {
		t.Fatal(err)
	}
	if k, err := two.PublicKey(ctx, "abc"); err != nil || string(k) != "public" {
		t.Errorf("the other node's key: %q %v", k, err)
	}
}

// A file without ids is matched with the present entries. Fields that it does not mention stay, also the password.
func TestImportWithoutIDs(t *testing.T) {
	b := newBed(t)
	d := b.open()
	ctx := context.Background()
	if _, err := d.Import(ctx, sample()); err != nil {
		t.Fatal(err)
	}
	file := func() Import {
		return Import{Accounts: []map[string]any{{"realm": "ACME.test", "users": []any{map[string]any{"first_name": "Zed", "last_name": "Z"}},
			"devices": []any{map[string]any{"sip": map[string]any{"username": "1001", "realm": "acme.test"}},
				map[string]any{"presence_id": "*3101"}, map[string]any{"presence_id": "*3102", "name": "Slot"}, map[string]any{"name": "Door"}}}}}
	}
	if n, err := d.Import(ctx, file()); err != nil || n != (Counts{Created: 4, Changed: 1, Same: 1}) {
		t.Fatalf("%+v %v", n, err)
	}
	if n, err := d.Import(ctx, file()); err != nil || n != (Counts{Same: 6}) {
		t.Fatalf("again: %+v %v", n, err)
	}
	for _, e := range d.List(Devices, acme) {
		if e.Text("sip.username") == "1001" && (e.Text("sip.password") != "p" || e.Text("sip.realm") != "acme.test") {
			t.Errorf("the device is now %v", e.Fields)
		}
	}
	for name, bad := range map[string]map[string]any{"users no list": {"users": 5.0}, "a user no object": {"users": []any{"x"}}, "nothing to know it by": {"devices": []any{map[string]any{}}},
		"id no string": {"users": []any{map[string]any{"id": 5.0, "username": "x"}}}, "presence id *": {"devices": []any{map[string]any{"presence_id": "*", "name": "x"}}}} {
		bad["id"], bad["realm"] = acme, "acme.test"
		if _, err := d.Import(ctx, Import{Accounts: []map[string]any{bad}}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
