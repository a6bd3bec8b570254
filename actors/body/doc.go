// Package body renders the documents of the event packages: dialog-info (RFC 4235), PIDF with RPID
// (RFC 3863, RFC 4480) and message-summary (RFC 3842).
//
// It is pure and owns nothing: each function appends to the caller's slice, and may be called from any goroutine. Every text
// that came from outside is escaped, cut to 1024 bytes, and stripped of bytes that the format cannot hold, so that a document
// is well-formed whatever the names in it are. The package does not know who is sent a document, nor what an extension is
// beyond the structs here. It imports only the standard library; package presence uses it.
package body

// The content types of the documents (RFC 4235 §9.1, RFC 3863 §5.1, RFC 3842 §6.2).
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
}

// Dialog is one dialog, seen from the entity.
type Dialog struct {
	ID        string // unique in the document
	CallID    string
	LocalTag  string
	RemoteTag string
	Direction string // "initiator" or "recipient"; anything else is left out
	State     string // RFC 4235 §3.7.1; a state that the schema does not know is shown as terminated
	Local     string // user@realm; "": the entity
	Remote    string // user@realm; "": left out

	LocalName, RemoteName     string // display names; "": left out
	LocalTarget, RemoteTarget string // the URIs that a phone calls to reach the side; "": Local and Remote
	Held                      bool   // the local target has +sip.rendering no (§4.1.6)
}

// PIDF is a presence document.
type PIDF struct {
	Entity string // user@realm, the presentity
	Closed bool   // the basic status is closed, not open
	State  string // the lamp: "confirmed" is shown as on-the-phone (RFC 4480 §3.2)
}

// MessageSummary is a simple message summary of the message context class voice-message (RFC 3458).
type MessageSummary struct {
	Account                            string // user@realm or a URI; "": left out
	New, Saved, UrgentNew, UrgentSaved uint32
}
