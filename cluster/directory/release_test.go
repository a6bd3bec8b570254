package directory

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// testdata/first.txt is the bucket as the first release filled it. Entries have no schema number: their fields are never
// used again for something else, and fields that a release does not know stay.
func TestFirstRelease(t *testing.T) {
	b := newBed(t)
	b.open()
	js, err := jetstream.New(b.conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "lamplight_directory")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/first.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		key, value, _ := strings.Cut(line, " ")
		if _, err := kv.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	const top, low = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10", "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e11"
	d := b.open()
	account, err := d.AccountByAPIKey(t.Context(), "acme-example-key")
	if err != nil || account.ID != top || account.Text("name") != "Acme" || account.Realm() != "acme.example.com" {
		t.Fatalf("the account: %+v, %v", account, err)
	}
	if id, _ := d.RealmAccount("below.example.com"); id != low || !d.InTree(top, low) {
		t.Errorf("the account below: %q", id)
	}
	if e, err := d.Get(t.Context(), Devices, top, "d1000000000000000000000000001001"); err != nil || e.Text("sip.password") != "p" || e.Text("presence_id") != "1001" {
		t.Errorf("the device: %+v, %v", e, err)
	}
	if e, err := d.Get(t.Context(), Users, top, "a1000000000000000000000000001001"); err != nil || e.Text("first_name") != "Ada" {
		t.Errorf("the user: %+v, %v", e, err)
	}
	if key, err := d.PublicKey(t.Context(), "e688b7ad7288a2bfa3d90f43"); err != nil || string(key) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the key: %q, %v", key, err)
	}

	fields := maps.Clone(account.Fields)
	fields["name"] = "Acme Ltd."
	if _, err := d.Put(t.Context(), top, Accounts, top, top, fields, account); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(strings.SplitN(strings.SplitN(string(text), "\n", 2)[0], " ", 2)[1], `"Acme"`, `"Acme Ltd."`, 1)
	if got, err := kv.Get(t.Context(), "account."+top); err != nil || string(got.Value()) != want {
		t.Errorf("after a change %s, %v;\nwant %s", got.Value(), err, want)
	}
}
