package profile

import (
	"bytes"

	"lamplight/actors/body"
)

// ContentTypeXPIDF is the content type of the presence documents that were in use before RFC 3863.
const ContentTypeXPIDF = "application/xpidf+xml"

// Document returns the content type and the document as the phones need it: body itself when they need it as it is, else a new slice.
// body is not changed. cookies are the pickup cookies of its dialogs, in their order, as far as they are known. A document that a node of this release would not have rendered is returned as it is.
func (p *Profile) Document(contentType string, document []byte, cookies []string) (string, []byte) {
	switch {
	case contentType == body.ContentTypeDialogInfo:
		return contentType, p.dialogInfo(document, cookies)
	case contentType == body.ContentTypePIDF && p.Presence == XPIDF:
		if changed := xpidf(document); changed != nil {
			return ContentTypeXPIDF, changed
		}
	}
	return contentType, document
}

// The lines of a dialog-info document. No text in a document has a "<" or a line break of its own: package body escapes them.
var (
	rootBegin   = []byte("<dialog-info ")
	rootEnd     = []byte("</dialog-info>\n")
	dialogBegin = []byte("<dialog ")
	dialogEnd   = []byte("\n</dialog>\n")
	remoteBegin = []byte("<remote>")
	remoteEnd   = []byte("</remote>\n")
	identity    = []byte("<identity display=\"")
	heldTarget  = []byte(body.HeldTarget)
	callID      = []byte(" call-id=\"")
	head        = []byte(body.XMLHead)
)

// What stands before a pickup cookie, and how long that and the "@" behind it may be.
const (
	cookieBegin = "kfp+"
	maxCookie   = 64
)

// dialogInfo returns a dialog-info document as the phones need it.
func (p *Profile) dialogInfo(document []byte, cookies []string) []byte {
	if !p.Cookie {
		cookies = nil
	}
	entity, dialogs, ok := cutRoot(document, rootBegin, rootEnd)
	if !ok {
		return document
	}
	count := 0
	for rest := dialogs; len(rest) > 0; count++ {
		var one []byte
		if one, rest = cutDialog(rest); one == nil {
			return document
		}
	}
	begin := len(document) - len(rootEnd) - len(dialogs) // of the dialogs
	if count == 0 {
		if p.Idle == Empty {
			return document
		}
		changed := make([]byte, 0, len(document)+len(idleBegin)+len(idleTarget)+len(idleEnd)+2*len(entity))
		changed = append(append(append(changed, document[:begin]...), idleBegin...), entity...)
		changed = append(append(append(changed, idleTarget...), entity...), idleEnd...)
		return append(changed, rootEnd...)
	}
	tooLong := p.Longest != 0 && len(document) > p.Longest
	if (count == 1 || p.Dialogs == All && !tooLong) && p.Display && !p.HideParties && p.Hold && cookies == nil {
		return document
	}
	changed := append(make([]byte, 0, len(document)+count*(len(cookieBegin)+maxCookie)), document[:begin]...)
	for rest := dialogs; len(rest) > 0; {
		var one []byte
		one, rest = cutDialog(rest)
		before := len(changed)
		if len(cookies) > 0 {
			changed, one = appendCookie(changed, one, cookies[0])
			cookies = cookies[1:]
		}
		changed = p.appendDialog(changed, one)
		if p.Longest != 0 && before > begin && len(changed)+len(rootEnd) > p.Longest {
			changed = changed[:before]
			break
		}
		if p.Dialogs == One {
			break
		}
	}
	return append(changed, rootEnd...)
}

// cutRoot returns the entity of a document as it is written there, and what is between the tags of its root element. ok is false when
// the document is not of that form.
func cutRoot(document, begin, end []byte) (entity, inner []byte, ok bool) {
	root, ok := bytes.CutPrefix(document, head)
	if !ok || !bytes.HasPrefix(root, begin) {
		return nil, nil, false
	}
	line, inner, ok := bytes.Cut(root, []byte("\">\n"))
	if !ok {
		return nil, nil, false
	}
	at := bytes.LastIndex(line, []byte(` entity="`))
	if at < 0 {
		return nil, nil, false
	}
	entity = line[at+len(` entity="`):]
	inner, ok = bytes.CutSuffix(inner, end)
	return entity, inner, ok && !bytes.ContainsAny(entity, "\"<>\n")
}

// cutDialog cuts the first dialog off; one is nil when there is none.
func cutDialog(dialogs []byte) (one, rest []byte) {
	end := bytes.Index(dialogs, dialogEnd)
	if end < 0 || !bytes.HasPrefix(dialogs, dialogBegin) {
		return nil, nil
	}
	end += len(dialogEnd)
	return dialogs[:end], dialogs[end:]
}

// appendCookie appends a dialog up to the begin of its Call-ID, and the pickup cookie. It returns what is left of the dialog.
func appendCookie(dst, dialog []byte, cookie string) (changed, rest []byte) {
	at := bytes.Index(dialog, callID)
	if cookie == "" || len(cookie) > maxCookie || at < 0 {
		return dst, dialog
	}
	at += len(callID)
	dst = append(append(dst, dialog[:at]...), cookieBegin...)
	return append(append(dst, cookie...), '@'), dialog[at:]
}

// appendDialog appends a dialog as the phones need it.
func (p *Profile) appendDialog(dst, dialog []byte) []byte {
	if !p.Hold {
		if before, after, found := bytes.Cut(dialog, heldTarget); found {
			dst = append(p.appendIdentities(dst, before), "\"/>"...)
			dialog = after
		}
	}
	if p.HideParties {
		if at := bytes.Index(dialog, remoteBegin); at >= 0 {
			if n := bytes.Index(dialog[at:], remoteEnd); n >= 0 {
				dst = p.appendIdentities(dst, dialog[:at])
				dialog = dialog[at+n+len(remoteEnd):]
			}
		}
	}
	return p.appendIdentities(dst, dialog)
}

// appendIdentities appends a part of a dialog, without the display names if the phones want none.
func (p *Profile) appendIdentities(dst, part []byte) []byte {
	for !p.Display {
		before, after, found := bytes.Cut(part, identity)
		_, rest, closed := bytes.Cut(after, []byte{'"'})
		if !found || !closed {
			break
		}
		dst = append(append(dst, before...), "<identity"...)
		part = rest
	}
	return append(dst, part...)
}

// The dialog of an extension that has none, between whose parts its entity stands. It has an id, because RFC 4235 §4.1.2 demands one.
const (
	idleBegin  = "<dialog id=\"none\">\n<state>terminated</state>\n<local><identity>"
	idleTarget = "</identity><target uri=\""
	idleEnd    = "\"/></local>\n</dialog>\n"
)

// The lines of an xpidf document, between which its entity and its states stand.
const (
	xpidfHead = body.XMLHead + `<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">` + "\n<presence>\n<presentity uri=\""
	xpidfAtom = `;method=SUBSCRIBE"/>` + "\n<atom id=\"a1\">\n<address uri=\""
	xpidfOpen = `;user=ip" priority="0.800000">` + "\n"
	xpidfEnd  = "</address>\n</atom>\n</presence>\n"
)

// xpidf returns the xpidf document that says what a pidf document says; nil when that is not of the form that nodes render.
func xpidf(document []byte) []byte {
	entity, inner, ok := cutRoot(document, []byte("<presence "), []byte("</presence>\n"))
	if !ok {
		return nil
	}
	status := "<status status=\"open\"/>\n<msnsubstatus substatus=\"online\"/>\n"
	switch {
	case bytes.Contains(inner, []byte("<basic>closed</basic>")):
		status = "<status status=\"closed\"/>\n<msnsubstatus substatus=\"offline\"/>\n"
	case !bytes.Contains(inner, []byte("<basic>open</basic>")):
		return nil
	case bytes.Contains(inner, []byte("<rpid:on-the-phone/>")):
		status = "<status status=\"inuse\"/>\n<msnsubstatus substatus=\"onthephone\"/>\n"
	}
	changed := make([]byte, 0, len(xpidfHead)+len(xpidfAtom)+len(xpidfOpen)+len(status)+len(xpidfEnd)+2*len(entity))
	changed = append(append(append(changed, xpidfHead...), entity...), xpidfAtom...)
	changed = append(append(append(changed, entity...), xpidfOpen...), status...)
	return append(changed, xpidfEnd...)
}
