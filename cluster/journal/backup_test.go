package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lamplight/actors/presence"
	"lamplight/cluster/backup"
	"lamplight/cluster/natsd/natstest"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

func bare(t *testing.T) Config {
	t.Helper()
	s := natstest.Start(t, t.TempDir())
	conn := natstest.Connect(t, s)
	return Config{Conn: conn, Prefix: "inst.a."}
}

const (
	noShard = "1030.a.s.a123456789abcdef0123456789abcdef"
	anyKey  = ".a.s.a123456789abcdef0123456789abcdef"
)

// A restore writes the records of a backup with what was left of their TTL, into the stream in which their shard lives. The
// claims of all ranges are released, have the highest generation and a base that is one takeover above the highest, and the epoch of the new stream. There are no leases. A
// later entry of a backup replaces an earlier one.
func TestRestoredJournal(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	from := bare(t)
	from.Streams = 1
	begin, err := BeginRestore(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	claim := ownership.Claim{Node: "a", Incarnation: "7f", Nonce: 5, Generation: 9, Base: 100, Epoch: 3, Next: "b"}
	put := func(name string, data []byte, ttl time.Duration) {
		t.Helper()
		if err := begin.Put(backup.Entry{Part: backup.Journal, Name: name, Data: data, TTL: ttl}); err != nil {
			t.Fatal(err)
		}
	}
	put("7.claim", encodeClaim(presence.Schema, claim), 0)
	claim.Base, claim.Generation = 50, 11
	put("9.claim", encodeClaim(presence.Schema, claim), 0)
	put("7"+anyKey, []byte("old"), 0)
	put("7"+anyKey, []byte("new"), 100*time.Second)
	put("8"+anyKey, []byte("for ever"), 0)
	if err := Backup(ctx, from, func(backup.Entry) error { return nil }); !errors.Is(err, ErrRestoring) {
		t.Fatalf("a backup of half a journal: %v", err)
	}
	if err := begin.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Conn.Request(from.Prefix.Of(subject.Records(0)+subject.Lease("a")), encodeLease(presence.Schema, ownership.Lease{Node: "a", Incarnation: "7f", Left: true}), testTimeout); err != nil {
		t.Fatal(err)
	}

	to := bare(t)
	to.Streams = 3
	r, err := BeginRestore(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]backup.Entry{}
	if err := Backup(ctx, from, func(e backup.Entry) error {
		names[e.Name] = e
		return r.Put(e)
	}); err != nil {
		t.Fatal(err)
	}
	if e := names["7"+anyKey]; len(names) != 2+begin.layout.ranges() || string(e.Data) != "new" || e.TTL > 100*time.Second || e.TTL < 50*time.Second {
		t.Errorf("backed up: %d entries, %v", len(names), e)
	}
	if err := r.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	got := map[string]backup.Entry{}
	if err := Backup(ctx, to, func(e backup.Entry) error { got[e.Name] = e; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2+r.layout.ranges() {
		t.Fatalf("restored: %d entries, %d ranges", len(got), r.layout.ranges())
	}
	for name, e := range got {
		switch name {
		case "7" + anyKey:
			if string(e.Data) != "new" || e.TTL > 100*time.Second || e.TTL < 50*time.Second {
				t.Errorf("the record: %q, TTL %v", e.Data, e.TTL)
			}
			continue
		case "8" + anyKey:
			if string(e.Data) != "for ever" || e.TTL != 0 {
				t.Errorf("the record: %q, TTL %v", e.Data, e.TTL)
			}
			continue
		}
		var id int
		_, _ = fmt.Sscanf(name, "%d.claim", &id)
		c, err := decodeClaim(e.Data)
		if err != nil || !c.Released || c.Generation != 11 || c.Base != 100+2*ownership.TakeOver || !c.All || c.Next != "" || c.Epoch != r.stores[id%3].created.UnixNano() {
			t.Errorf("the claim %s: %+v, %v", name, c, err)
		}
	}
	if whole, err := Exists(ctx, to); !whole || err != nil {
		t.Errorf("restored: %v, %v", whole, err)
	}
	if _, err := BeginRestore(ctx, to); err == nil {
		t.Error("a restore over a journal that is not empty")
	}
}

// A name that is not that of a claim or a record is refused before it becomes a subject.
func TestNamesOfABackup(t *testing.T) {
	for _, name := range []string{"", "7", "7.", "7.claims", "lease.a", noShard, "-1.claim", "07.claim", "7.>", "7.*.s.a", "7.b" + anyKey[2:], "7.a.>.a123456789abcdef0123456789abcdef",
		"7.a.s.A123456789abcdef0123456789abcdef", "7.a.s.a123456789abcdef0123456789abc.e"} {
		if err := Check(backup.Entry{Part: backup.Journal, Name: name, Data: encodeClaim(presence.Schema, ownership.Claim{Node: "a", Incarnation: "1"})}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if err := Check(backup.Entry{Part: backup.Journal, Name: "1023" + anyKey}); err != nil {
		t.Error(err)
	}
}
