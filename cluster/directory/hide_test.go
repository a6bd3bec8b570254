package directory

import (
	"context"
	"maps"
	"testing"

	"lamplight/actors/presence"
)

// Parties are hidden by account, by user with its devices, and by device.
func TestHidesParties(t *testing.T) {
	d := newBed(t).open()
	const ada = "00000000000000000000000000000011"
	hide := map[string]any{"hide_parties": true}
	device := func(username, presenceID, owner string, presence map[string]any) map[string]any {
		return map[string]any{"sip": map[string]any{"username": username}, "presence_id": presenceID, "owner_id": owner, "presence": presence}
	}
	whole := map[string]any{"id": rival, "realm": "rival.test", "presence": hide}
	all := Import{Accounts: []map[string]any{
		{"id": acme, "realm": "acme.test", "users": []any{map[string]any{"id": ada, "presence_id": "2001", "presence": hide}},
			"devices": []any{device("1001", "", "", nil), device("1002", "3002", "", hide), device("1003", "", ada, map[string]any{"hide_parties": false}),
				device("1004", "3004@below.test", "", hide), device("1005", "", "", map[string]any{"other": true})}},
		{"id": below, "realm": "below.test", "parent_id": acme}, whole}}
	if d.HidesParties(presence.Address{Realm: "acme.test", User: "1002"}) {
		t.Error("an empty directory hides")
	}
	if _, err := d.Import(context.Background(), Import{Accounts: []map[string]any{{"id": acme, "realm": "acme.test"}, all.Accounts[1]}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Import(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	check := func(want map[string]bool) {
		t.Helper()
		for extension, hidden := range want {
			to, err := presence.ParsePresenceID(extension)
			if got := d.HidesParties(to); err != nil || got != hidden {
				t.Errorf("%s is hidden: %v, want %v, %v", extension, got, hidden, err)
			}
		}
	}
	want := map[string]bool{"1001@acme.test": false, "1002@acme.test": true, "3002@acme.test": true, "1003@acme.test": true, "2001@acme.test": true, "1004@acme.test": true,
		"3004@acme.test": false, "3004@below.test": true, "1005@acme.test": false, "1002@below.test": false, "1001@rival.test": true, "*3101@rival.test": true, "1001@none.test": false}
	check(want)

	// The setting may be taken back, and goes with its entry.
	change := func(kind, account, id string, fields map[string]any) {
		t.Helper()
		old, err := d.Get(t.Context(), kind, account, id)
		if err == nil && fields == nil {
			err = d.Delete(t.Context(), old)
		} else if err == nil {
			_, err = d.Put(t.Context(), account, kind, account, id, fields, old)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(Accounts, rival, rival, map[string]any{"realm": "rival.test", "presence": map[string]any{"hide_parties": false}})
	change(Users, acme, ada, map[string]any{"presence_id": "2001"})
	for _, e := range d.List(Devices, acme) {
		switch e.Text("sip.username") {
		case "1002":
			fields := maps.Clone(e.Fields)
			fields["presence_id"] = "3003"
			change(Devices, acme, e.ID, fields)
		case "1004":
			change(Devices, acme, e.ID, nil)
		}
	}
	maps.Copy(want, map[string]bool{"1001@rival.test": false, "*3101@rival.test": false, "1003@acme.test": false, "2001@acme.test": false, "3002@acme.test": false,
		"3003@acme.test": true, "1004@acme.test": false, "3004@below.test": false})
	check(want)
	if !d.anyHides.Load() || d.hiders != 1 || len(d.hidden) != 2 {
		t.Errorf("%d entries hide, %v", d.hiders, d.hidden)
	}
}
