package presence

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"lamplight/actors/body"
)

// maxDocument is how many bytes a document may have, so that it fits a message on NATS (256 KiB) with its escapes and a
// target.
const maxDocument = 128 << 10

// dialogInfo is the document of the package dialog (RFC 4235).
func dialogInfo(dst []byte, to Address, v *View, sequence uint32) []byte {
	d := body.DialogInfo{Entity: to.String(), Version: sequence, Dialogs: make([]body.Dialog, 0, len(v.Dialogs))}
	for i := range v.Dialogs {
		x := &v.Dialogs[i]
		if v.repeats(i) {
			continue
		}
		d.Dialogs = append(d.Dialogs, body.Dialog{ID: shortID(x.ID), CallID: shortID(x.CallID), LocalTag: x.FromTag, RemoteTag: x.ToTag,
			Direction: x.Direction.String(), State: x.State.String(), Local: x.From, Remote: x.To,
			LocalName: x.FromName, RemoteName: x.ToName, LocalTarget: x.FromURI, RemoteTarget: x.ToURI, Held: x.Held})
	}
	for {
		out := body.AppendDialogInfo(dst, d)
		if len(out)-len(dst) <= maxDocument || len(d.Dialogs) <= 1 {
			return out
		}
		d.Dialogs = d.Dialogs[:len(d.Dialogs)/2] // the most important ones come first
	}
}

// repeats says whether a dialog before the ith has its id: a manual state and a register share the presence id's name. The first one, which
// wins, is listed.
func (v *View) repeats(i int) bool {
	for j := range i { // by index: a DialogView is large
		if v.Dialogs[j].ID == v.Dialogs[i].ID {
			return true
		}
	}
	return false
}

// The first two digits of a pickup cookie: what the switch is to do with an INVITE with Replaces.
const (
	pickupParked = "01" // the call waits in a parking slot
	pickupEarly  = "02" // the call rings: it may be picked up until it is answered
)

// PickupCookies returns a pickup cookie for each dialog that a document of v shows, in their order: which switch runs the call, for the proxy that
// routes an INVITE with Replaces (docs/contract/sip.md, "Pickup cookies"). It is "" for a dialog whose switch is not known. The result is nil
// when none is, and of a nil View.
func (v *View) PickupCookies() (cookies []string) {
	if v == nil || !slices.ContainsFunc(v.Dialogs, func(d DialogView) bool { return d.SwitchURI != "" }) {
		return nil
	}
	for i := range v.Dialogs {
		d := &v.Dialogs[i]
		cookie := ""
		if d.SwitchURI != "" {
			what, sum := pickupEarly, md5.Sum([]byte(d.SwitchURI))
			if d.Source == "register" {
				what = pickupParked
			}
			cookie = what + hex.EncodeToString(sum[:])
		}
		if !v.repeats(i) {
			cookies = append(cookies, cookie)
		}
	}
	return cookies
}

// shortID is a Call-ID or id as documents show it. A document shows at most body.MaxText bytes of a text, so a longer one is
// replaced by a hash of all of it: two that begin alike stay two.
func shortID(id string) string {
	if len(id) <= body.MaxText {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// pidf is the document of the package presence (RFC 3856, RFC 3863).
func pidf(dst []byte, to Address, v *View, _ uint32) []byte {
	return body.AppendPIDF(dst, body.PIDF{Entity: to.String(), Closed: v.Closed, State: v.State.String()})
}

// messageSummary is the document of the package message-summary (RFC 3842).
func messageSummary(dst []byte, to Address, v *View, _ uint32) []byte {
	m := v.Messages
	account := m.Account
	if account == "" {
		account = to.String()
	}
	return body.AppendMessageSummary(dst, body.MessageSummary{Account: account, New: m.New, Saved: m.Saved,
		UrgentNew: m.UrgentNew, UrgentSaved: m.UrgentSaved})
}
