// Package body renders the documents of the event packages: dialog-info (RFC 4235), PIDF with RPID
// (RFC 3863, RFC 4480) and message-summary (RFC 3842).
//
// It is pure and owns nothing: each renderer appends to the caller's slice and may be called from
// anywhere. Everything that came from outside is escaped, cut to a bound, and stripped of what the
// format cannot hold, so that a document is well-formed whatever the names in it are. It does not
// know who is told a document, or what an extension is beyond the structs here.
package body

// Content types (RFC 4235 §9.1, RFC 3863 §5.1, RFC 3842 §6.2).
const (
	ContentTypeDialogInfo     = "application/dialog-info+xml"
	ContentTypePIDF           = "application/pidf+xml"
	ContentTypeMessageSummary = "application/simple-message-summary"
)

// DialogInfo is a dialog-info document with full state.
type DialogInfo struct {
	Entity  string // user@realm
	Version uint32 // the NOTIFY's Sequence
	Dialogs []Dialog
	Single  bool // only the most important dialog: many phones show just the first
	Dummy   bool // with no dialogs, one terminated dialog instead of none
}

// Dialog is one dialog, seen from the entity.
type Dialog struct {
	ID        string // unique in the document
	CallID    string
	LocalTag  string
	RemoteTag string
	Direction string // "initiator" or "recipient"; "": left out
	State     string // RFC 4235 §3.7.1
	Local     string // user@realm; "": the entity
	Remote    string // user@realm; "": left out
}

// PIDF is a presence document.
type PIDF struct {
	Entity string // user@realm, the presentity
	Closed bool   // the basic status
	State  string // the lamp; confirmed is "on the phone" (RFC 4480 §3.2)
}

// MessageSummary is a simple message summary of the class voice-message.
type MessageSummary struct {
	Account                            string // user@realm or a URI; "": left out
	New, Saved, UrgentNew, UrgentSaved uint32
}
