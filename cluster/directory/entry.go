package directory

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// KeepNumbers is a JSON option that keeps numbers as they were written. A float64 would change large ones.
var KeepNumbers = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	n, err := d.ReadValue()
	*v = n.Clone()
	return err
}))

// Entry is one account, user or device. Nobody may change an Entry, or what its Fields hold: many goroutines read it.
type Entry struct {
	Kind, Account, ID string
	Fields            map[string]any
	revision          uint64 // in the bucket
}

// Text returns a field that is a string, and "" for any other. Dots name fields of objects: sip.username.
func (e *Entry) Text(name string) string {
	s, _ := lookUp(e.Fields, name).(string)
	return s
}

// Field returns a field; nil if it is not there. Dots name fields of objects.
func (e *Entry) Field(name string) any { return lookUp(e.Fields, name) }

// lookUp returns a field of an object; nil if it is not there. Dots name fields of objects within.
func lookUp(m map[string]any, name string) any {
	for {
		head, rest, deeper := strings.Cut(name, ".")
		if !deeper {
			return m[head]
		}
		m, _ = m[head].(map[string]any)
		name = rest
	}
}

// UsedBy says whether a device belongs to a user, or the user is logged in at it (hot desking).
func (e *Entry) UsedBy(user string) bool {
	if user == "" {
		return false
	}
	hotdesk, _ := lookUp(e.Fields, "hotdesk.users").(map[string]any)
	_, guest := hotdesk[user]
	return guest || e.Text("owner_id") == user
}

// Enabled says whether an account or user may be used: only `"enabled": false` forbids it.
func (e *Entry) Enabled() bool { return e.Fields["enabled"] != false }

// Realm returns the realm of an account, in lower case.
func (e *Entry) Realm() string { return strings.ToLower(e.Text("realm")) }

// entryKey returns the bucket key of an entry. For accounts the id is not used.
func entryKey(kind, account, id string) string {
	if kind == Accounts {
		return Accounts + "." + account
	}
	return kind + "." + account + "." + id
}

// ValidID says whether an id has the form of one: 32 hexadecimal digits in lower case.
func ValidID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
