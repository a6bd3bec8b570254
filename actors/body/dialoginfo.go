package body

import (
	"cmp"
	"strconv"
)

// XMLHead is the line that each XML document begins with.
const XMLHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// HeldTarget is how the target of a held call ends (RFC 4235 §4.1.6).
const HeldTarget = `"><param pname="+sip.rendering" pval="no"/></target>`

// stateName returns the state as the schema spells it (RFC 4235 §4.4), because phones compare it byte by byte. An unknown
// state becomes terminated.
func stateName(state string) string {
	switch state {
	case "early", "confirmed", "proceeding", "trying":
		return state
	}
	return "terminated"
}

// AppendDialogInfo appends an application/dialog-info+xml document with full state (RFC 4235 §4).
// The dialogs stand in the caller's order. The edge of a phone that wants less, or a dialog where there is none, edits the document
// (package transport/sip/profile).
func AppendDialogInfo(dst []byte, d DialogInfo) []byte {
	dst = append(dst, XMLHead+`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="`...)
	dst = strconv.AppendUint(dst, uint64(d.Version), 10)
	dst = append(dst, `" state="full" entity="`...)
	dst = appendURI(dst, d.Entity)
	dst = append(dst, "\">\n"...)
	for i := range d.Dialogs {
		dst = appendDialog(dst, &d.Dialogs[i], d.Entity)
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
	dst = appendParty(dst, "local", local, d.LocalName, d.LocalTarget, d.Held)
	if d.Remote != "" {
		dst = appendParty(dst, "remote", d.Remote, d.RemoteName, d.RemoteTarget, false)
	}
	return append(dst, "</dialog>\n"...)
}

// appendParty appends one side of a dialog, the local or the remote one (RFC 4235 §4.1.6): the identity with its display name,
// and the URI of the target element. To pick a call up, a phone sends its INVITE to that URI. Without a target the address
// stands there twice. Of a held call the target says that its media is not rendered.
func appendParty(dst []byte, side, address, name, target string, held bool) []byte {
	dst = append(append(append(dst, '<'), side...), "><identity"...)
	dst = append(appendAttr(dst, "display", name), '>')
	dst = appendURI(dst, address)
	dst = append(dst, `</identity><target uri="`...)
	dst = appendURI(dst, cmp.Or(target, address))
	if held {
		dst = append(dst, HeldTarget+`</`...)
	} else {
		dst = append(dst, `"/></`...)
	}
	return append(append(dst, side...), ">\n"...)
}
