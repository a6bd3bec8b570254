package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// atOnce calls f with the numbers below n, all at the same time, and returns the errors.
func atOnce(n int, f func(i int) error) []error {
	begin := make(chan struct{})
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	all.Wait()
	return errs
}

// count returns how many of the calls succeeded. All others must have failed with one of the wanted errors.
func count(t *testing.T, errs []error, want ...error) (done int) {
	t.Helper()
	for _, err := range errs {
		wanted := err == nil
		for _, w := range want {
			wanted = wanted || errors.Is(err, w)
		}
		if !wanted {
			t.Errorf("%v", err)
		}
		if err == nil {
			done++
		}
	}
	return done
}

// put changes the newest state of an account as d knows it.
func put(ctx context.Context, d *Directory, id string, change map[string]any) error {
	e, err := d.Get(ctx, Accounts, id, id)
	if err == nil {
		_, err = d.Put(ctx, id, Accounts, id, id, Merge(e.Fields, change), e)
	}
	return err
}

// add creates an account and returns its id.
func add(t *testing.T, d *Directory, realm string, more map[string]any) string {
	t.Helper()
	id := NewID()
	if _, err := d.Put(t.Context(), id, Accounts, id, id, Merge(more, map[string]any{"realm": realm}), nil); err != nil {
		t.Fatal(err)
	}
	return id
}

// Of several accounts that are given one realm, or one API key, at the same time by two nodes, exactly one gets it.
func TestOneHolderOfARealmAndOfAKey(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	ids := make([]string, 8)
	for i := range ids {
		ids[i] = add(t, nodes[i%2], fmt.Sprintf("r%d.test", i), nil)
	}
	for round := range 100 {
		realm, key := fmt.Sprintf("round%d.test", round), NewID()
		change := map[string]any{"realm": realm}
		if round%2 == 1 {
			change = map[string]any{"api_key": key}
		}
		errs := atOnce(len(ids), func(i int) error { return put(t.Context(), nodes[i%2], ids[i], change) })
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d accounts have %v", round, n, change)
		}
	}
}

// Two accounts that are put below each other at the same time by two nodes do not become a cycle.
func TestNoCycle(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	for round := range 60 {
		ids := []string{add(t, nodes[0], fmt.Sprintf("a%d.test", round), nil), add(t, nodes[1], fmt.Sprintf("b%d.test", round), nil)}
		errs := atOnce(2, func(i int) error {
			return put(t.Context(), nodes[i], ids[i], map[string]any{"parent_id": ids[1-i]})
		})
		if n := count(t, errs, ErrInvalid); n != 1 {
			t.Fatalf("round %d: %d of 2 accounts were put below the other: %v", round, n, errs)
		}
		var wrong *Invalid
		if err := errors.Join(errs...); !errors.As(err, &wrong) || wrong.Field != "parent_id" {
			t.Fatalf("%v", err)
		}
	}
}

// Of several entries that are created with one id, username or sip.username at the same time by two nodes, exactly one is.
func TestOneIDAndOneUsername(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	account := add(t, nodes[0], "acme.test", nil)
	for round := range 40 {
		id := NewID()
		errs := atOnce(6, func(i int) error {
			_, err := nodes[i%2].Put(t.Context(), account, Devices, account, id, map[string]any{"name": fmt.Sprint(i)}, nil)
			return err
		})
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d devices have one id", round, n)
		}
		errs = atOnce(6, func(i int) error {
			name := fmt.Sprintf("ada%d", round)
			if i%3 == 0 {
				name = strings.ToUpper(name)
			}
			_, err := nodes[i%2].Put(t.Context(), account, Users, account, NewID(), map[string]any{"username": name}, nil)
			return err
		})
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d users have one username", round, n)
		}
		errs = atOnce(6, func(i int) error {
			name := fmt.Sprintf("phone%d", round)
			if i%3 == 0 {
				name = strings.ToUpper(name)
			}
			_, err := nodes[i%2].Put(t.Context(), account, Devices, account, NewID(), map[string]any{"sip": map[string]any{"username": name}}, nil)
			return err
		})
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d devices have one sip.username", round, n)
		}
		errs = atOnce(4, func(i int) error {
			id := fmt.Sprintf("%032x", round)
			_, err := nodes[i%2].Put(t.Context(), id, Accounts, id, id, map[string]any{"realm": fmt.Sprintf("x%d.%d.test", round, i)}, nil)
			return err
		})
		if n := count(t, errs, ErrConflict); n != 1 {
			t.Fatalf("round %d: %d accounts have one id", round, n)
		}
	}
}

// An account that is removed by one node while another node creates something in it or below it leaves nothing behind.
func TestDeleteAgainstCreate(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	created := map[bool]int{}
	for round := range 60 {
		account := add(t, nodes[round%2], fmt.Sprintf("r%d.test", round), nil)
		e, err := nodes[0].Get(t.Context(), Accounts, account, account)
		if err != nil {
			t.Fatal(err)
		}
		child := NewID()
		errs := atOnce(4, func(i int) (err error) {
			switch i {
			case 0:
				err = nodes[0].Delete(t.Context(), e)
			case 1:
				_, err = nodes[1].Put(t.Context(), child, Accounts, child, child, map[string]any{"realm": fmt.Sprintf("c%d.test", round), "parent_id": account}, nil)
			default:
				_, err = nodes[1].Put(t.Context(), account, Devices, account, NewID(), map[string]any{"name": "x"}, nil)
			}
			return err
		})
		count(t, errs, ErrConflict, ErrUnknown, ErrInvalid)
		if errs[0] == nil && errs[1] == nil || errs[0] != nil && errs[1] != nil {
			t.Fatalf("round %d: removed: %v, child created: %v", round, errs[0], errs[1])
		}
		created[errs[1] == nil]++
		if err := nodes[0].catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes[0].mu.RLock()
		left := len(nodes[0].groups[group{Devices, account}])
		nodes[0].mu.RUnlock()
		if errs[0] == nil && left > 0 {
			t.Fatalf("round %d: the account is gone, and %d devices are left", round, left)
		}
	}
	t.Logf("the child came first %d times, the removal %d times", created[true], created[false])
}

// kv opens the bucket as a client that does not know the package.
func (b *bed) kv() jetstream.KeyValue {
	b.t.Helper()
	js, err := jetstream.New(b.conn)
	if err != nil {
		b.t.Fatal(err)
	}
	kv, err := js.KeyValue(b.t.Context(), "lamplight_directory")
	if err != nil {
		b.t.Fatal(err)
	}
	return kv
}

// until waits until something is true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// fill gives an account so many devices.
func fill(t *testing.T, d *Directory, realm string, n int) string {
	t.Helper()
	devices := make([]any, n)
	for i := range devices {
		devices[i] = map[string]any{"presence_id": fmt.Sprint(i), "name": "x"}
	}
	counts, err := d.Import(t.Context(), Import{Accounts: []map[string]any{{"realm": realm, "devices": devices}}})
	if err != nil || counts.Created != n+1 {
		t.Fatalf("%+v %v", counts, err)
	}
	id, _ := d.RealmAccount(realm)
	return id
}

// An account with more devices than one step can remove is gone at once. When the node that removed it stops, another node, also one
// that starts later, removes the devices.
func TestLargeAccountIsRemovedInTheEnd(t *testing.T) {
	b := newBed(t)
	one := b.open()
	account := fill(t, one, "large.test", 10*maxBatch)
	two := b.open()
	e, err := one.Get(t.Context(), Accounts, account, account)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Delete(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	_ = one.Stop(t.Context())
	for _, d := range []*Directory{two, b.open()} {
		if _, err := d.Get(t.Context(), Accounts, account, account); !errors.Is(err, ErrUnknown) {
			t.Errorf("the account: %v", err)
		}
		if left := d.List(Devices, account); len(left) > 0 {
			t.Errorf("%d devices of an account that is gone", len(left))
		}
		if _, err := d.Put(t.Context(), account, Accounts, account, account, map[string]any{"realm": "new.test"}, nil); !errors.Is(err, ErrConflict) {
			t.Errorf("made again while it is being removed: %v", err)
		}
	}
	until(t, "the devices were never removed", func() bool {
		two.mu.RLock()
		defer two.mu.RUnlock()
		return len(two.groups[group{Devices, account}]) == 0 && len(two.removing) == 0
	})
	keys, err := b.kv().ListKeysFiltered(t.Context(), "device."+account+".*", "removing.*", "realm.*", "account.*")
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys.Keys() {
		t.Errorf("%s is left", key)
	}
	until(t, "the account could never be made again", func() bool {
		_, err := two.Put(t.Context(), account, Accounts, account, account, map[string]any{"realm": "new.test"}, nil)
		return err == nil
	})
	if left := two.List(Devices, account); len(left) != 0 {
		t.Errorf("the new account has %d devices of the old one", len(left))
	}
}

// A file without ids that two nodes import at the same time makes every entry once, also an account that is written in several steps.
func TestImportTwiceAtOnce(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	const devices = 2*maxBatch + 7
	file := func() Import {
		list := make([]any, devices)
		for i := range list {
			list[i] = map[string]any{"sip": map[string]any{"username": fmt.Sprint(i)}}
		}
		return Import{Accounts: []map[string]any{{"realm": "acme.test", "devices": list, "users": []any{map[string]any{"username": "ada"}}}}}
	}
	errs := atOnce(2, func(i int) error {
		_, err := nodes[i].Import(t.Context(), file())
		return err
	})
	// The account is created by both with ids of their own, so the first file may find the realm taken.
	if n := count(t, errs, ErrConflict); n == 0 {
		t.Fatal(errs)
	}
	if n, err := nodes[1].Import(t.Context(), file()); err != nil || n.Same+n.Created+n.Changed != devices+2 {
		t.Fatalf("%+v %v", n, err)
	}
	account, _ := nodes[1].RealmAccount("acme.test")
	if n := len(nodes[1].List(Devices, account)); n != devices {
		t.Errorf("%d devices, want %d", n, devices)
	}
}

// An account with a mistake in its file changes nothing.
func TestImportIsAllOrNothing(t *testing.T) {
	b := newBed(t)
	d := b.open()
	add(t, d, "rival.test", nil)
	list := make([]any, 3*maxBatch)
	for i := range list {
		list[i] = map[string]any{"sip": map[string]any{"username": fmt.Sprint(i)}}
	}
	last := map[string]any{"presence_id": "1@rival.test", "name": "x"}
	_, err := d.Import(t.Context(), Import{Accounts: []map[string]any{{"realm": "acme.test", "devices": append(list, last)}}})
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), fmt.Sprintf("accounts[0].devices[%d]:", len(list))) {
		t.Errorf("%v", err)
	}
	if id, ok := d.RealmAccount("acme.test"); ok {
		t.Errorf("account %s was made", id)
	}
}

// The bucket of a node of the first release takes no atomic batches; a newer node changes that. A node of the first release that
// writes at the same time is noticed.
func TestBucketOfTheFirstRelease(t *testing.T) {
	b := newBed(t)
	js, err := jetstream.New(b.conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "lamplight_directory"})
	if err != nil {
		t.Fatal(err)
	}
	d, again := b.open(), b.open()
	account := add(t, d, "acme.test", nil)
	for i := range 50 {
		if _, err := kv.PutString(t.Context(), "device."+account+"."+NewID(), fmt.Sprintf(`{"name":"old %d"}`, i)); err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), again, account, map[string]any{"realm": fmt.Sprintf("r%d.test", i)}); err != nil {
			t.Fatal(err)
		}
		if holder, err := kv.Get(t.Context(), realmKey(fmt.Sprintf("r%d.test", i))); err != nil || string(holder.Value()) != account {
			t.Fatalf("the key of the realm, which the first release reads: %v", err)
		}
		if i > 0 {
			if _, err := kv.Get(t.Context(), realmKey(fmt.Sprintf("r%d.test", i-1))); !errors.Is(err, jetstream.ErrKeyNotFound) {
				t.Fatalf("the key of the realm before: %v", err)
			}
		}
	}
}

// A bucket whose last message somebody removed can be changed.
func TestLastMessageIsGone(t *testing.T) {
	b := newBed(t)
	d := b.open()
	add(t, d, "acme.test", nil)
	if err := d.stream.DeleteMsg(t.Context(), d.Revision()); err == nil {
		t.Fatal("the stream forbids that")
	}
	js, err := jetstream.New(b.conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.lamplight_directory."+realmKey("acme.test"))); err != nil {
		t.Fatal(err)
	}
	if s, err := js.Stream(t.Context(), "KV_lamplight_directory"); err != nil || s.CachedInfo().State.Msgs != 1 || s.CachedInfo().State.LastSeq != 2 {
		t.Fatalf("%+v %v", s.CachedInfo().State, err)
	}
	add(t, b.open(), "next.test", nil)
}

// Two accounts with one realm, which an earlier release could make, are both kept. When one gives the realm up, the other has it, and
// nobody is told that the realm is gone.
func TestTwoAccountsOfOneRealm(t *testing.T) {
	b := newBed(t)
	d := b.open()
	one, two := add(t, d, "acme.test", nil), NewID()
	if _, err := b.kv().PutString(t.Context(), "account."+two, `{"realm":"acme.test"}`); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), d, two, map[string]any{"name": "Second"}); !errors.Is(err, ErrConflict) {
		t.Errorf("a change that keeps the realm: %v", err)
	}
	if err := put(t.Context(), d, one, map[string]any{"realm": "other.test"}); err != nil {
		t.Fatal(err)
	}
	if id, _ := d.RealmAccount("acme.test"); id != two {
		t.Errorf("the realm belongs to %q", id)
	}
	if err := put(t.Context(), d, two, map[string]any{"name": "Second"}); err != nil {
		t.Error(err)
	}
	_ = d.Stop(t.Context())
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.gone) > 0 {
		t.Errorf("told that %v are gone", b.gone)
	}
}

// The first account that the operator makes is the master account; there is one.
func TestMaster(t *testing.T) {
	b := newBed(t)
	nodes := []*Directory{b.open(), b.open()}
	ids, masters := make([]string, 4), make([]bool, 4)
	errs := atOnce(4, func(i int) error {
		e, isMaster, err := nodes[i%2].CreateAccount(t.Context(), map[string]any{"realm": fmt.Sprintf("r%d.test", i)}, false)
		if err == nil {
			ids[i], masters[i] = e.ID, isMaster
		}
		return err
	})
	if n := count(t, errs); n != 4 {
		t.Fatal(errs)
	}
	number := 0
	for i, m := range masters {
		if m {
			number++
			if nodes[0].Master() == "" {
				_ = nodes[0].catchUp(t.Context())
			}
			if got := nodes[0].Master(); got != ids[i] {
				t.Errorf("the master account is %q, want %q", got, ids[i])
			}
		}
	}
	if number != 1 {
		t.Fatalf("%d master accounts", number)
	}
	_ = nodes[0].catchUp(t.Context())
	d, top := nodes[0], nodes[0].Master()
	for _, id := range ids {
		if !d.InTree(top, id) || id != top && d.InTree(id, top) {
			t.Errorf("account %s and the master %s", id, top)
		}
	}
	if n := len(d.List(Accounts, top)); n != 4 {
		t.Errorf("the master sees %d accounts", n)
	}
	if _, _, err := d.CreateAccount(t.Context(), map[string]any{"realm": "second.test"}, true); !errors.Is(err, ErrConflict) {
		t.Errorf("a second master: %v", err)
	}
	e, err := d.Get(t.Context(), Accounts, top, top)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), e); !errors.Is(err, ErrConflict) {
		t.Errorf("the master with accounts below it: %v", err)
	}
	var wrong *Invalid
	other := ids[0]
	if other == top {
		other = ids[1]
	}
	if err := put(t.Context(), d, top, map[string]any{"parent_id": other}); !errors.As(err, &wrong) || wrong.Field != "parent_id" {
		t.Errorf("the master below another account: %v", err)
	}
}
