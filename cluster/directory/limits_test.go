package directory

import (
	"testing"

	"lamplight/cluster/budget"
)

// The budgets that an account has of its own are known at once, also after a start, and gone when the account names none.
func TestLimits(t *testing.T) {
	b := newBed(t)
	d := b.open()
	put := func(settings map[string]any) {
		t.Helper()
		old, _ := d.Get(t.Context(), Accounts, acme, acme)
		if _, err := d.Put(t.Context(), acme, Accounts, acme, acme, map[string]any{"realm": "acme.test", "presence": settings}, old); err != nil {
			t.Fatal(err)
		}
	}
	put(nil)
	if _, ok := d.Limits(acme); ok {
		t.Error("an account without budgets has some")
	}
	put(map[string]any{"limits": map[string]any{"events": 100, "subscriptions": 0}})
	want := budget.Limits{budget.Requests: budget.Default, budget.Events: 100, budget.Notifies: budget.Default, budget.Subscriptions: 0}
	for _, of := range []*Directory{d, b.open()} {
		if l, ok := of.Limits(acme); !ok || l != want {
			t.Errorf("the budgets are %v, %v", l, ok)
		}
		if _, ok := of.Limits(rival); ok {
			t.Error("another account has them too")
		}
	}
	put(map[string]any{"limits": nil})
	if _, ok := d.Limits(acme); ok {
		t.Error("budgets that were taken away are known")
	}
}
