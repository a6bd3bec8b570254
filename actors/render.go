package actors

import (
	"lamplight/actors/body"
	"lamplight/actors/presence"
)

// maxDocument bounds a document, so that with its escapes and a target it fits a NOTIFY message (BUS.md: 256 KiB).
const maxDocument = 128 << 10

// render appends the document of an event package. Sequence is its version and the CSeq of its NOTIFY.
func render(dst []byte, to Address, p presence.Package, v *presence.View, sequence uint32) []byte {
	switch p {
	case presence.Presence:
		return body.AppendPIDF(dst, body.PIDF{Entity: to.String(), Closed: v.Closed, State: v.State.String()})
	case presence.MessageSummary:
		m := v.Messages
		account := m.Account
		if account == "" {
			account = to.String()
		}
		return body.AppendMessageSummary(dst, body.MessageSummary{Account: account, New: m.New, Saved: m.Saved,
			UrgentNew: m.UrgentNew, UrgentSaved: m.UrgentSaved})
	}
	d := body.DialogInfo{Entity: to.String(), Version: sequence, Dialogs: make([]body.Dialog, 0, len(v.Dialogs))}
	for i := range v.Dialogs {
		x := &v.Dialogs[i]
		repeated := false // a manual state and a register share the presence id's name: the winner is listed
		for j := range d.Dialogs {
			repeated = repeated || d.Dialogs[j].ID == x.ID
		}
		if repeated {
			continue
		}
		d.Dialogs = append(d.Dialogs, body.Dialog{ID: x.ID, CallID: x.CallID, LocalTag: x.FromTag, RemoteTag: x.ToTag,
			Direction: x.Direction.String(), State: x.State.String(), Local: x.From, Remote: x.To})
	}
	for {
		out := body.AppendDialogInfo(dst, d)
		if len(out)-len(dst) <= maxDocument || len(d.Dialogs) <= 1 {
			return out
		}
		d.Dialogs = d.Dialogs[:len(d.Dialogs)/2] // the most important ones come first
	}
}

func contentType(p presence.Package) string {
	switch p {
	case presence.Presence:
		return body.ContentTypePIDF
	case presence.MessageSummary:
		return body.ContentTypeMessageSummary
	}
	return body.ContentTypeDialogInfo
}
