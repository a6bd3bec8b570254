package directory

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"lamplight/cluster/budget"
)

// limitsField is the field of an account with the budgets that it has of its own. The accounts above it set it.
const limitsField = "presence.limits"

// limitNames are the fields of that field.
var limitNames = [...]string{budget.Requests: "requests", budget.Events: "events", budget.Notifies: "notifies", budget.Subscriptions: "subscriptions"}

// LimitsOf returns the budgets that the fields of an account name. What they do not name is budget.Default.
func LimitsOf(fields map[string]any) (l budget.Limits) {
	for what, name := range limitNames {
		l[what] = budget.Default
		if n, ok := whole(lookUp(fields, limitsField+"."+name)); ok {
			l[what] = n
		}
	}
	return l
}

// whole returns a number of a document if it can be a budget.
func whole(v any) (n int, ok bool) {
	switch v := v.(type) {
	case jsontext.Value:
		i, err := strconv.Atoi(string(v))
		n, ok = i, err == nil
	case float64:
		n, ok = int(v), float64(int(v)) == v
	case int:
		n, ok = v, true
	}
	return n, ok && n >= 0 && n <= budget.Most
}

// checkLimits returns what is wrong with the budgets of an account.
func checkLimits(fields map[string]any) error {
	v := lookUp(fields, limitsField)
	if v == nil {
		return nil
	}
	m, isObject := v.(map[string]any)
	if !isObject {
		return &Invalid{limitsField, "must be an object"}
	}
	for _, name := range limitNames {
		if v := m[name]; v != nil {
			if _, ok := whole(v); !ok {
				return &Invalid{limitsField + "." + name, fmt.Sprintf("must be a whole number, 0 (no bound) to %d", budget.Most)}
			}
		}
	}
	return nil
}

// Limits returns the budgets that an account has of its own, as the view knows them. ok is false when it has none. It costs one load as
// long as no account has any.
func (d *Directory) Limits(account string) (l budget.Limits, ok bool) {
	if !d.anyLimits.Load() {
		return l, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	l, ok = d.limits[account]
	return l, ok
}

// limit takes the budgets of an account into the index, or out of it.
func (v *view) limit(e *Entry, in bool) {
	delete(v.limits, e.ID)
	if in && e.Field(limitsField) != nil {
		v.limits[e.ID] = LimitsOf(e.Fields)
	}
}
