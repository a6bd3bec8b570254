package body

import (
	"cmp"
	"strconv"
)

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// weight orders states by importance: a phone that shows a single dialog should show the one with the highest weight.
func weight(state string) int {
	switch state {
	case "early":
		return 4
	case "confirmed":
		return 3
	case "proceeding":
		return 2
	case "trying":
		return 1
	}
	return 0
}

// stateName returns the state as the schema spells it (RFC 4235 §4.4), because phones compare it byte by byte. An unknown
// state becomes terminated.
func stateName(state string) string {
	if weight(state) == 0 {
		return "terminated"
	}
	return state
}

// AppendDialogInfo appends an application/dialog-info+xml document with full state (RFC 4235 §4).
// The dialogs stand in the caller's order.
func AppendDialogInfo(dst []byte, d DialogInfo) []byte {
	dst = append(dst, xmlHead+`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="`...)
	dst = strconv.AppendUint(dst, uint64(d.Version), 10)
	dst = append(dst, `" state="full" entity="`...)
	dst = appendURI(dst, d.Entity)
	dst = append(dst, "\">\n"...)
	dialogs := d.Dialogs
	if d.Single && len(dialogs) > 1 {
		best := 0
		for i := range dialogs {
			if weight(dialogs[i].State) > weight(dialogs[best].State) {
				best = i
			}
		}
		dialogs = dialogs[best : best+1]
	}
	for i := range dialogs {
		dst = appendDialog(dst, &dialogs[i], d.Entity)
	}
	if len(dialogs) == 0 && d.Dummy {
		dst = appendDialog(dst, &Dialog{ID: "none", State: "terminated"}, d.Entity)
	}
	return append(dst, "</dialog-info>\n"...)
}

// appendDialog appends one dialog (RFC 4235 §4.1.1). A dialog without a local side has the entity there.
func appendDialog(dst []byte, d *Dialog, entity string) []byte {
	dst = append(dst, `<dialog id="`...)
	dst = appendEscaped(dst, d.ID)
	dst = append(dst, '"')
	dst = appendAttr(dst, "call-id", d.CallID)
	dst = appendAttr(dst, "local-tag", d.LocalTag)
	dst = appendAttr(dst, "remote-tag", d.RemoteTag)
	if d.Direction == "initiator" || d.Direction == "recipient" {
		dst = appendAttr(dst, "direction", d.Direction)
	}
	dst = append(dst, ">\n<state>"...)
	dst = append(dst, stateName(d.State)...)
	dst = append(dst, "</state>\n"...)
	local := d.Local
	if local == "" {
		local = entity
	}
	dst = appendParty(dst, "local", local, d.LocalName, d.LocalTarget)
	if d.Remote != "" {
		dst = appendParty(dst, "remote", d.Remote, d.RemoteName, d.RemoteTarget)
	}
	return append(dst, "</dialog>\n"...)
}

// appendParty appends one side of a dialog, the local or the remote one (RFC 4235 §4.1.6): the identity with its display name,
// and the URI of the target element. To pick a call up, a phone sends its INVITE to that URI. Without a target the address
// stands there twice.
func appendParty(dst []byte, side, address, name, target string) []byte {
	dst = append(append(append(dst, '<'), side...), "><identity"...)
	dst = append(appendAttr(dst, "display", name), '>')
	dst = appendURI(dst, address)
	dst = append(dst, `</identity><target uri="`...)
	dst = appendURI(dst, cmp.Or(target, address))
	dst = append(dst, `"/></`...)
	return append(append(dst, side...), ">\n"...)
}
