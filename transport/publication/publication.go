// Package publication reads the documents that PUBLISH requests carry (RFC 3903), and says what they report:
// application/dialog-info+xml (RFC 4235), application/pidf+xml (RFC 3863), application/xpidf+xml, and
// application/simple-message-summary (RFC 3842). The SIP edge and the node's half of NATS use it.
//
// It is pure and bounded, and its functions may be called from any goroutine. It does not know publishers, entity-tags and intervals: its
// callers add these.
package publication

import (
	"fmt"
	"mime"
	"slices"
	"strings"

	"lamplight/actors/body"
	"lamplight/actors/presence"
)

// Error says why a document is refused. Its text says what was wrong and what would be right.
type Error struct {
	Unsupported bool // the event package has no documents of this content type (415); else the document is wrong (400)
	Text        string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// wrong returns the error of a document that can't be read.
func wrong(format string, a ...any) error { return &Error{Text: fmt.Sprintf(format, a...)} }

// xpidf is the content type of the presence documents of before RFC 3863.
const xpidf = "application/xpidf+xml"

// readers read the documents, by content type.
var readers = map[string]func(*presence.Publish, []byte) error{body.ContentTypeDialogInfo: readDialogInfo, body.ContentTypePIDF: readPIDF,
	xpidf: readXPIDF, body.ContentTypeMessageSummary: readMessageSummary}

// kinds are the content types of an event package's documents: that of its NOTIFYs and, beside PIDF, the older one.
func kinds(p presence.Package) []string {
	if own := p.ContentType(); own != body.ContentTypePIDF {
		return []string{own}
	}
	return []string{body.ContentTypePIDF, xpidf}
}

// Accept returns the content types of an event package's documents, as the header Accept has them.
func Accept(p presence.Package) string { return strings.Join(kinds(p), ", ") }

// MaxBody is how many bytes a document may have.
const MaxBody = 64 << 10

// Read reads the document of a PUBLISH of ev.Package into ev. Without data, the request has no document. The error is an *Error.
func Read(ev *presence.Publish, contentType string, data []byte) error {
	if ev.HasBody = len(data) > 0; !ev.HasBody {
		return nil
	}
	if len(data) > MaxBody {
		return wrong("the document has %d bytes; it may have at most %d", len(data), MaxBody)
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	read := readers[kind]
	if read == nil || !slices.Contains(kinds(ev.Package), kind) {
		return &Error{true, fmt.Sprintf("the content type %.60q is none of the event package %s; it must be one of %s", contentType, ev.Package, Accept(ev.Package))}
	}
	return read(ev, data)
}

// Lamps returns what else a PUBLISH of counts means, once its mailbox's own extension has taken it: the lamps that follow the new messages.
// former is the Effects.Former that came with the answer. It returns nothing for other publications.
func Lamps(to presence.Address, ev *presence.Publish, former []string) []presence.Addressed {
	if ev.Messages == nil {
		return nil
	}
	return presence.MailboxUpdate{Mailbox: to, Messages: *ev.Messages}.Lamps(former)
}
