package directory

import (
	"strings"

	"lamplight/actors/presence"
)

// hidesParties is the field of an account, user or device that hides who its extensions speak with.
const hidesParties = "presence.hide_parties"

// hiding is what an account, user or device hides: an extension, or, with the zero Address, all extensions of the account. The Address has
// no realm when the extension is named by its user alone; else account is "".
type hiding struct {
	account   string
	extension presence.Address
}

// hides returns what an entry hides; nil when it hides nothing. A user hides the extensions of its devices too: HidesParties finds these.
func (e *Entry) hides() (all []hiding) {
	if e.Field(hidesParties) != true {
		return nil
	}
	if e.Kind == Accounts {
		return []hiding{{account: e.ID}}
	}
	for _, field := range extensions[e.Kind] {
		a, err := presence.ParseName(e.Text(field), "")
		switch {
		case err != nil: // it has no such field
		case a.Realm == "":
			all = append(all, hiding{e.Account, a})
		default:
			all = append(all, hiding{extension: a})
		}
	}
	return all
}

// hide takes what an entry hides into the index, or with by -1 out of it.
func (v *view) hide(e *Entry, by int) {
	if e.Field(hidesParties) != true {
		return
	}
	v.hiders += by
	for _, h := range e.hides() {
		if v.hidden[h] += by; v.hidden[h] == 0 {
			delete(v.hidden, h)
		}
	}
}

// HidesParties says whether the watchers of an extension are not shown who the other party of a call is, as the view knows it: because of its
// account, of a user or device that names it, or of the owner of a device that authenticates as it. It costs one load as long as no entry of
// the directory hides anything, so that it may be asked for each NOTIFY.
func (d *Directory) HidesParties(to presence.Address) bool {
	if !d.anyHides.Load() {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	account := d.realms[to.Realm]
	if account == "" {
		return false
	}
	if d.hidden[hiding{account: account}] > 0 || d.hidden[hiding{account, presence.Address{User: to.User}}] > 0 || d.hidden[hiding{extension: to}] > 0 {
		return true
	}
	for _, id := range d.phones[ownName{account, strings.ToLower(to.User)}] {
		device := d.entry(Devices, account, id)
		if device == nil {
			continue
		}
		if owner := d.entry(Users, account, device.Text("owner_id")); owner != nil && owner.Field(hidesParties) == true {
			return true
		}
	}
	return false
}
