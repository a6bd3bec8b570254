package directory

import (
	"slices"
	"strings"

	"lamplight/cluster/budget"
)

// view is the bucket in memory, with the indexes that lookups need. Directory.mu guards it.
type view struct {
	groups   map[group]map[string]*Entry    // the entries by id
	children map[string]map[string]struct{} // parent_id as it is stored → ids of accounts; "" is the parent of those without one
	realms   map[string]string              // realm → account id
	rivals   map[string]map[string]struct{} // realm → further accounts with it, which an earlier release could make
	apiKeys  map[string]string              // hash → account id
	named    map[string]map[string]struct{} // plainName of an account's name, or a phone number → account ids
	users    map[ownName]string             // username in lower case → user id
	logins   map[ownName]string             // hash of credentials → user id
	phones   map[ownName][]string           // sip.username in lower case → device ids; nothing forbids two devices with one
	limits   map[string]budget.Limits       // account id → the budgets that it has of its own
	hidden   map[hiding]int                 // what entries hide → how many do
	hiders   int                            // entries that hide something
	public   map[string][]byte              // key id → public key
	master   string                         // the id of the master account; "": there is none
	removing map[string]struct{}            // accounts whose users and devices are being removed
}

// group names the entries of one kind in an account. All accounts are one group, with no account.
type group struct{ kind, account string }

// ownName is a name that means something in one account only.
type ownName struct{ account, name string }

func newView() view {
	return view{groups: map[group]map[string]*Entry{}, children: map[string]map[string]struct{}{}, realms: map[string]string{},
		rivals: map[string]map[string]struct{}{}, apiKeys: map[string]string{}, named: map[string]map[string]struct{}{}, users: map[ownName]string{}, logins: map[ownName]string{}, phones: map[ownName][]string{}, limits: map[string]budget.Limits{}, hidden: map[hiding]int{},
		public: map[string][]byte{}, removing: map[string]struct{}{}}
}

// groupOf returns the group of a kind in an account.
func groupOf(kind, account string) group {
	if kind == Accounts {
		account = ""
	}
	return group{kind, account}
}

// entry returns an entry, or nil. Users and devices of an account that is gone may still be found: see present.
func (v *view) entry(kind, account, id string) *Entry { return v.groups[groupOf(kind, account)][id] }

// account returns an account, or nil.
func (v *view) account(id string) *Entry { return v.groups[group{kind: Accounts}][id] }

// present returns an entry whose account exists, or nil.
func (v *view) present(kind, account, id string) *Entry {
	if kind != Accounts && v.account(account) == nil {
		return nil
	}
	return v.entry(kind, account, id)
}

// parent returns the id of the account above an account; "": there is none.
func (v *view) parent(e *Entry) string {
	if e == nil || e.ID == v.master {
		return ""
	}
	if p := e.Text("parent_id"); p != "" {
		return p
	}
	return v.master
}

// maxDepth is the number of levels that a tree of accounts may have.
const maxDepth = 64

// inTree says whether account is root or a descendant of it. It looks at maxDepth levels at most.
func (v *view) inTree(root, account string) bool {
	for depth := 0; account != "" && depth < maxDepth; depth++ {
		if account == root {
			return true
		}
		account = v.parent(v.account(account))
	}
	return false
}

// below returns the accounts directly below an account.
func (v *view) below(account string) (out []*Entry) {
	add := func(ids map[string]struct{}) {
		for id := range ids {
			if e := v.account(id); e != nil && e.ID != v.master {
				out = append(out, e)
			}
		}
	}
	add(v.children[account])
	if account == v.master && account != "" {
		add(v.children[""])
	}
	return out
}

// subtree appends an account and all below it. It stops below accounts that it has seen, so that a cycle, which an earlier
// release could make, does no harm.
func (v *view) subtree(out []*Entry, account string) []*Entry {
	seen := map[string]bool{}
	var walk func(id string)
	walk = func(id string) {
		e := v.account(id)
		if e == nil || seen[id] {
			return
		}
		seen[id] = true
		out = append(out, e)
		for _, c := range v.below(id) {
			walk(c.ID)
		}
	}
	walk(account)
	return out
}

// names returns the names by which people who log in may name an account: of its name, and its phone numbers.
func names(account *Entry) (out []string) {
	if n := plainName(account.Text("name")); n != "" {
		out = append(out, n)
	}
	switch numbers := account.Fields["phone_numbers"].(type) {
	case []any:
		for _, n := range numbers {
			if s, ok := n.(string); ok && s != "" {
				out = append(out, phoneName(s))
			}
		}
	case map[string]any:
		for n := range numbers {
			out = append(out, phoneName(n))
		}
	}
	return out
}

// replace puts e in the place of old; nil for either means that there is none. It returns the realm that no account has any more,
// if there is one, and the other account that has the realm of e, if there is one.
func (v *view) replace(old, e *Entry) (gone, rival string) {
	if old != nil {
		g := groupOf(old.Kind, old.Account)
		delete(v.groups[g], old.ID)
		v.hide(old, -1)
		if len(v.groups[g]) == 0 {
			delete(v.groups, g)
		}
		switch old.Kind {
		case Accounts:
			if e == nil || e.Realm() != old.Realm() {
				gone = v.freeRealm(old)
			}
			v.limit(old, false)
			release(v.apiKeys, old.Text(keyHash), old.ID)
			release(v.apiKeys, old.Text(oldKeyHash), old.ID)
			dropFrom(v.children, old.Text("parent_id"), old.ID)
			for _, n := range names(old) {
				dropFrom(v.named, n, old.ID)
			}
		case Users:
			release(v.users, ownName{old.Account, strings.ToLower(old.Text("username"))}, old.ID)
			for _, f := range loginFields {
				release(v.logins, ownName{old.Account, old.Text(f)}, old.ID)
			}
		case Devices:
			name := phoneOf(old)
			if v.phones[name] = slices.DeleteFunc(v.phones[name], func(id string) bool { return id == old.ID }); len(v.phones[name]) == 0 {
				delete(v.phones, name)
			}
		}
	}
	if e == nil {
		return gone, ""
	}
	g := groupOf(e.Kind, e.Account)
	if v.groups[g] == nil {
		v.groups[g] = map[string]*Entry{}
	}
	v.groups[g][e.ID] = e
	v.hide(e, 1)
	switch e.Kind {
	case Accounts:
		switch rival = v.realms[e.Realm()]; rival {
		case "":
			v.realms[e.Realm()] = e.ID
		case e.ID:
			rival = ""
		default:
			addTo(v.rivals, e.Realm(), e.ID)
		}
		v.limit(e, true)
		for _, field := range [...]string{oldKeyHash, keyHash} {
			if h := e.Text(field); h != "" {
				v.apiKeys[h] = e.ID
			}
		}
		addTo(v.children, e.Text("parent_id"), e.ID)
		for _, n := range names(e) {
			addTo(v.named, n, e.ID)
		}
	case Users:
		if n := e.Text("username"); n != "" {
			v.users[ownName{e.Account, strings.ToLower(n)}] = e.ID
		}
		for _, f := range loginFields {
			if h := e.Text(f); h != "" {
				v.logins[ownName{e.Account, h}] = e.ID
			}
		}
	case Devices:
		if name := phoneOf(e); name.name != "" {
			v.phones[name] = append(v.phones[name], e.ID)
		}
	}
	return gone, rival
}

// phoneOf is the name by which a phone authenticates as a device.
func phoneOf(e *Entry) ownName { return ownName{e.Account, strings.ToLower(e.Text("sip.username"))} }

// freeRealm takes the realm from an account. It returns the realm if no other account has it.
func (v *view) freeRealm(e *Entry) (gone string) {
	realm := e.Realm()
	dropFrom(v.rivals, realm, e.ID)
	if v.realms[realm] != e.ID {
		return ""
	}
	delete(v.realms, realm)
	for id := range v.rivals[realm] {
		v.realms[realm] = id
		dropFrom(v.rivals, realm, id)
		return ""
	}
	return realm
}

// release removes a name from an index if it belongs to an entry.
func release[K comparable](index map[K]string, name K, id string) {
	if index[name] == id {
		delete(index, name)
	}
}

func addTo(index map[string]map[string]struct{}, name, id string) {
	if index[name] == nil {
		index[name] = map[string]struct{}{}
	}
	index[name][id] = struct{}{}
}

func dropFrom(index map[string]map[string]struct{}, name, id string) {
	if delete(index[name], id); len(index[name]) == 0 {
		delete(index, name)
	}
}
