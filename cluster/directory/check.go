package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"lamplight/actors/presence"
)

const (
	maxName   = 256      // bytes of a name
	maxEntry  = 64 << 10 // bytes of an entry
	minAPIKey = 32       // hexadecimal digits of an API key: 128 bits
)

// texts are the fields of each kind that must be strings, if they are there. Dots name fields of objects.
var texts = map[string][]string{
	Accounts: {"name", "parent_id", "api_key", "realm", "language"},
	Users:    {"first_name", "last_name", "presence_id", "username", "password", "language"},
	Devices:  {"name", "owner_id", "presence_id", "sip.username", "sip.password", "sip.realm"},
}

// extensions are the fields of each kind that name an extension: a user of the account's realm, or user@realm.
var extensions = map[string][]string{Users: {"presence_id"}, Devices: {"presence_id", "sip.username"}}

// hidden are the fields that the directory makes itself. Nobody else writes or reads them.
var hidden = map[string][]string{Accounts: {keyHash, oldKeyHash, oldKeyUntil}, Users: loginFields}

// Public returns the fields of an entry that people may see, without those that hold secrets. The caller may change the
// result, but not what is in it.
func (e *Entry) Public() map[string]any {
	m := maps.Clone(e.Fields)
	for _, f := range hidden[e.Kind] {
		delete(m, f)
	}
	if sip, ok := m["sip"].(map[string]any); ok {
		sip = maps.Clone(sip)
		delete(sip, "password")
		m["sip"] = sip
	}
	return m
}

// prepared is an entry that is to be written. What does not depend on other entries is checked.
type prepared struct {
	Entry
	old   *Entry // what it replaces; nil: it is new
	data  []byte // the fields as JSON
	where place  // in the file of an import
}

// prepare checks the fields of an entry, as far as this does not depend on other entries, and makes them what is to be stored. It
// returns the first mistake.
func prepare(kind, account, id string, in map[string]any, old *Entry) (*prepared, error) {
	p, wrong := prepareAll(kind, account, id, in, old)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return p, nil
}

// prepareAll is prepare, and returns all mistakes, at most one for each field.
func prepareAll(kind, account, id string, in map[string]any, old *Entry) (*prepared, []error) {
	fields := maps.Clone(in)
	if fields == nil {
		fields = map[string]any{}
	}
	delete(fields, "id")
	for _, f := range hidden[kind] {
		delete(fields, f)
		if old != nil && old.Text(f) != "" {
			fields[f] = old.Text(f)
		}
	}
	wrong := append(checkTexts(kind, fields), checkShapes(kind, fields)...)
	if len(wrong) == 0 { // a field that is no good name is not checked twice
		for _, field := range extensions[kind] {
			if err := checkPresenceID(fields, field); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	switch kind {
	case Devices:
		realm, _ := lookUp(fields, "sip.realm").(string)
		if reason := badRealm(realm); reason != "" {
			wrong = append(wrong, &Invalid{"sip.realm", fmt.Sprintf("%q %s", realm, reason)})
		}
	case Accounts:
		if err := checkLimits(fields); err != nil {
			wrong = append(wrong, err)
		}
		wrong = append(wrong, prepareAccount(fields, old)...)
	case Users:
		if err := prepareLogin(account, fields, old); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	p := &prepared{Entry: Entry{Kind: kind, Account: account, ID: id, Fields: fields}, old: old}
	var err error
	if p.data, err = json.Marshal(fields, json.Deterministic(true)); err != nil {
		return nil, []error{&Invalid{"data", err.Error()}}
	}
	if len(p.data) > maxEntry {
		return nil, []error{&Invalid{"data", fmt.Sprintf("the entry has %d bytes; at most %d are kept", len(p.data), maxEntry)}}
	}
	return p, nil
}

// checkShapes checks the fields with a meaning that are no strings.
func checkShapes(kind string, fields map[string]any) (wrong []error) {
	check := func(field, reason string, good func(v any) bool) {
		if v := lookUp(fields, field); v != nil && !good(v) {
			wrong = append(wrong, &Invalid{field, reason})
		}
	}
	isObject := func(v any) bool { _, ok := v.(map[string]any); return ok }
	isBool := func(v any) bool { _, ok := v.(bool); return ok }
	check("enabled", "must be true or false, and neither a string nor a number", isBool)
	check("presence", "must be an object", isObject)
	check(hidesParties, "must be true or false, and neither a string nor a number", isBool)
	switch kind {
	case Accounts:
		check("phone_numbers", "must be a list of strings, or an object with a field for each number", func(v any) bool {
			list, isList := v.([]any)
			return isObject(v) || isList && !slices.ContainsFunc(list, func(n any) bool { _, ok := n.(string); return !ok })
		})
	case Devices:
		check("sip", "must be an object", isObject)
		check("hotdesk", "must be an object", isObject)
		check("hotdesk.users", "must be an object with a field for each user", isObject)
	}
	return wrong
}

// checkTexts checks that the fields with a meaning that are strings can be names.
func checkTexts(kind string, fields map[string]any) (wrong []error) {
	for _, name := range texts[kind] {
		v := lookUp(fields, name)
		s, ok := v.(string)
		switch {
		case v != nil && !ok:
			wrong = append(wrong, &Invalid{name, "must be a string"})
		case len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl):
			wrong = append(wrong, &Invalid{name, fmt.Sprintf("must have at most %d bytes and no control characters", maxName)})
		}
	}
	return wrong
}

// prepareAccount checks the realm and the API key of an account. It replaces the API key by its hash.
func prepareAccount(fields map[string]any, old *Entry) (wrong []error) {
	realm, isText := fields["realm"].(string)
	switch reason := badRealm(realm); {
	case fields["realm"] != nil && !isText: // checkTexts has said so
	case realm == "":
		wrong = append(wrong, &Invalid{"realm", "is missing"})
	case reason != "":
		wrong = append(wrong, &Invalid{"realm", fmt.Sprintf("%q %s", realm, reason)})
	}
	fields["realm"] = strings.ToLower(realm)
	key, named := fields["api_key"]
	delete(fields, "api_key")
	grace, _ := fields[keyGrace].(time.Duration)
	delete(fields, keyGrace)
	text, isText := key.(string)
	switch {
	case !named, key != nil && !isText:
	case text == "":
		setKey(fields, old, "", 0)
	case old != nil && old.Text(keyHash) == HashKey(text): // an earlier release took shorter ones
	case len(text) < minAPIKey || strings.Trim(text, "0123456789abcdefABCDEF") != "":
		wrong = append(wrong, &Invalid{"api_key", fmt.Sprintf("must have at least %d hexadecimal digits (128 bits), or be left out", minAPIKey)})
	default:
		setKey(fields, old, HashKey(text), grace)
	}
	return wrong
}

// CheckRealm returns an error, which says what is right, if no account can have the realm.
func CheckRealm(realm string) error {
	reason := badRealm(realm)
	if realm == "" {
		reason = "must be a domain name, such as acme.example.com"
	}
	if reason != "" {
		return &Invalid{"realm", fmt.Sprintf("%q %s", realm, reason)}
	}
	return nil
}

// badRealm says what is wrong with a realm; "" if nothing is.
func badRealm(realm string) string {
	switch {
	case strings.ContainsAny(realm, ":"):
		return "must be a domain name, without a port or a scheme"
	case !utf8.ValidString(realm), strings.ContainsFunc(realm, unicode.IsSpace), strings.ContainsAny(realm, "@*>/?#[]\\\"<,;%&="):
		return "must be a domain name, without @, *, >, white space and the like"
	case strings.HasPrefix(realm, "."), strings.HasSuffix(realm, "."), strings.Contains(realm, ".."):
		return "must be a domain name, whose labels are not empty"
	}
	return ""
}

// splitName splits a presence id into the user and the realm, in lower case. full says that there is a realm.
func splitName(id string) (user, realm string, full bool) {
	id = strings.ToLower(id)
	if i := strings.LastIndexByte(id, '@'); i >= 0 {
		return id[:i], id[i+1:], true
	}
	return id, "", false
}

// badName says why a presence id names no extension; "" if it does.
func badName(id string) string {
	user, realm, full := splitName(id)
	switch {
	case user == "" || user == "*":
		return "must name an extension: a user other than *, or user@realm"
	case !utf8.ValidString(id), strings.ContainsFunc(id, unicode.IsSpace), strings.ContainsAny(user, "@<>\""):
		return "must name an extension: a user, or user@realm, without white space, <, > and quotes"
	case strings.HasPrefix(user, "sip:"), strings.HasPrefix(user, "sips:"), strings.HasPrefix(user, "tel:"), strings.HasPrefix(user, "pres:"):
		return "must name an extension, such as 1001 or 1001@acme.example.com, and not be a URI"
	case full && (realm == "" || badRealm(realm) != ""):
		return "must have a domain name behind the @, without a port"
	}
	var wrong *presence.AddressError
	if _, err := presence.ParseName(id, "realm"); errors.As(err, &wrong) { // no document and no request could name it
		return wrong.Wrong
	}
	return ""
}

// checkPresenceID checks a field that names an extension, if it is there.
func checkPresenceID(fields map[string]any, field string) error {
	id, _ := lookUp(fields, field).(string)
	if id == "" {
		return nil
	}
	if reason := badName(id); reason != "" {
		return &Invalid{field, fmt.Sprintf("%q %s", id, reason)}
	}
	return nil
}

// admit checks what depends on other entries. by is the account on whose behalf the entry is written. others are the entries that
// are written with it, by key. The caller holds d.mu.
func (d *Directory) admit(by string, p *prepared, others map[string]*prepared) error {
	now := d.present(p.Kind, p.Account, p.ID)
	switch {
	case p.old == nil && now != nil:
		return fmt.Errorf("%w: there is a %s %s already", ErrConflict, p.Kind, p.ID)
	case p.old != nil && (now == nil || now.revision != p.old.revision):
		return errChanged
	}
	if p.Kind == Accounts {
		return d.admitAccount(p)
	}
	with := others[entryKey(Accounts, p.Account, p.Account)]
	if d.account(p.Account) == nil && with == nil {
		return fmt.Errorf("%w: account %s", ErrUnknown, p.Account)
	}
	if name := strings.ToLower(p.Text("username")); p.Kind == Users && name != "" && (p.old == nil || strings.ToLower(p.old.Text("username")) != name) {
		if other, taken := d.users[ownName{p.Account, name}]; taken && other != p.ID {
			return fmt.Errorf("%w: user %s has the username %s", ErrConflict, other, p.Text("username"))
		}
	}
	if p.Kind == Devices {
		if err := d.admitDevice(p, others); err != nil {
			return err
		}
	}
	for _, field := range extensions[p.Kind] {
		if _, realm, full := splitName(p.Text(field)); full && (with == nil || with.Realm() != realm) {
			if holder, ok := d.realms[realm]; !ok || !d.inTree(by, holder) {
				return fmt.Errorf("%w: %s is %q", ErrForbidden, field, p.Text(field))
			}
		}
	}
	return nil
}

// admitDevice is admit for the owner and the SIP account of a device. What an earlier release has let pass may stay as it is.
func (d *Directory) admitDevice(p *prepared, others map[string]*prepared) error {
	if owner := p.Text("owner_id"); owner != "" && (p.old == nil || p.old.Text("owner_id") != owner) &&
		d.present(Users, p.Account, owner) == nil && others[entryKey(Users, p.Account, owner)] == nil {
		return noOwner(owner)
	}
	name := phoneOf(&p.Entry)
	if name.name == "" || p.old != nil && phoneOf(p.old) == name && d.sipRealm(p.old, others) == d.sipRealm(&p.Entry, others) {
		return nil
	}
	for _, id := range d.phones[name] {
		e := d.entry(Devices, p.Account, id)
		if other := others[entryKey(Devices, p.Account, id)]; other != nil {
			e = &other.Entry
		}
		if id != p.ID && e != nil && phoneOf(e) == name && d.sipRealm(e, others) == d.sipRealm(&p.Entry, others) {
			return fmt.Errorf("%w: device %s has the sip.username %s", ErrConflict, id, e.Text("sip.username"))
		}
	}
	return nil
}

// noOwner is the error for a device of a user that does not exist.
func noOwner(owner string) error {
	return &Invalid{"owner_id", fmt.Sprintf("%q does not exist: the account has no user with this id", owner)}
}

// sipRealm returns the realm, in lower case, in which a device's sip.username is a name: its sip.realm, or else that of its account.
func (d *Directory) sipRealm(e *Entry, others map[string]*prepared) string {
	if own := e.Text("sip.realm"); own != "" {
		return strings.ToLower(own)
	}
	if with := others[entryKey(Accounts, e.Account, e.Account)]; with != nil {
		return with.Realm()
	}
	return d.account(e.Account).Realm()
}

// admitAccount is admit for an account.
func (d *Directory) admitAccount(p *prepared) error {
	if _, going := d.removing[p.ID]; going {
		return fmt.Errorf("%w: the users and devices of the account %s before are still being removed; try again later", ErrConflict, p.ID)
	}
	if holder, taken := d.realms[p.Realm()]; taken && holder != p.ID {
		return fmt.Errorf("%w: another account has the realm %s", ErrConflict, p.Realm())
	}
	if h := p.Text(keyHash); h != "" {
		if holder, taken := d.apiKeys[h]; taken && holder != p.ID {
			return fmt.Errorf("%w: another account has this API key", ErrConflict)
		}
	}
	parent := p.Text("parent_id")
	switch {
	case parent == "":
		return nil
	case d.account(parent) == nil:
		return &Invalid{"parent_id", fmt.Sprintf("%q must be an existing account", parent)}
	case parent == p.ID || d.inTree(p.ID, parent):
		return &Invalid{"parent_id", fmt.Sprintf("%q must not be the account itself or below it", parent)}
	case p.ID == d.master:
		return &Invalid{"parent_id", "must be left out: this is the master account"}
	}
	return d.checkDepth(p, parent)
}

// checkDepth refuses a place in the tree that is more than maxDepth levels deep, because inTree looks no further.
func (d *Directory) checkDepth(p *prepared, parent string) error {
	depth := 1
	for id := parent; id != "" && depth < maxDepth; id = d.parent(d.account(id)) {
		depth++
	}
	var height func(id string, left int) int
	height = func(id string, left int) (most int) {
		for _, c := range d.below(id) {
			if left > 0 {
				most = max(most, height(c.ID, left-1))
			}
		}
		return most + 1
	}
	if p.old != nil {
		depth += height(p.ID, maxDepth) - 1
	}
	if depth >= maxDepth {
		return &Invalid{"parent_id", fmt.Sprintf("must not make the tree of accounts more than %d levels deep", maxDepth-1)}
	}
	return nil
}

// entry returns the entry as it was written with a revision.
func (p *prepared) entry(revision uint64) *Entry {
	e := p.Entry
	e.revision = revision
	return &e
}

// writes appends the keys that the entry needs, its own first. The keys of realms are for nodes of the first release, which
// take a realm by its key.
func (p *prepared) writes(to []write) []write {
	to = append(to, write{key: entryKey(p.Kind, p.Account, p.ID), value: p.data})
	if p.Kind == Accounts && (p.old == nil || p.old.Realm() != p.Realm()) {
		to = append(to, write{key: realmKey(p.Realm()), value: []byte(p.ID)})
		if p.old != nil {
			to = append(to, write{key: realmKey(p.old.Realm()), gone: true})
		}
	}
	return to
}
