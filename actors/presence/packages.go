package presence

import (
	"slices"

	"lamplight/actors/body"
)

// Package is an event package (RFC 6665 §7.2), as the number of its row in the table of event packages.
type Package uint8

// The event packages that Lamplight serves. Records and messages between nodes carry these numbers: a number never
// changes its meaning, and a new package gets the next one.
const (
	Dialog         Package = iota // RFC 4235
	Presence                      // RFC 3856
	MessageSummary                // RFC 3842
)

// eventPackage is all that differs between event packages. The rest of the product asks the table.
type eventPackage struct {
	name        string // in the header Event
	contentType string
	document    document
	// same says whether a watcher sees no difference between two Views, so that it need not be told. Wherever it says
	// so, document must give the same bytes.
	same func(a, b *View) bool
	// shows says that document shows calls, registers or the manual state. When some of these ended while no node held
	// the extension, the next owner tells the watchers of such a package.
	shows bool
	// schema is the Schema of the first release that has the package. Subscriptions are created only when all nodes read
	// that Schema, because an older node would lose them. 0: every release has the package.
	schema uint8
}

// document appends the body of a NOTIFY: what v is to a watcher of the extension. sequence is the NOTIFY's Sequence. It must
// not panic, whatever the View holds: the shard renders documents outside the recover of the extension's actor
// (docs/concurrency.md, "A shard's turn").
type document func(dst []byte, to Address, v *View, sequence uint32) []byte

// packages is the table of event packages. CONTRIBUTING.md, "How to add an event package" says what a new row needs.
var packages = [...]eventPackage{
	Dialog:         {name: "dialog", contentType: body.ContentTypeDialogInfo, document: dialogInfo, same: sameDialogs, shows: true},
	Presence:       {name: "presence", contentType: body.ContentTypePIDF, document: pidf, same: sameLamp, shows: true},
	MessageSummary: {name: "message-summary", contentType: body.ContentTypeMessageSummary, document: messageSummary, same: sameMessages},
}

// LastPackage is the highest number of an event package.
const LastPackage = Package(len(packages) - 1)

// The key of a subscription's record begins with one digit for its package (subscriptionKey, loadSubscription). A package
// above 9 does not compile here: its key needs another form, and records that older nodes cannot read need a new Schema.
const _ = 9 - LastPackage

// String is the event package's name, as the header Event has it; "" for a number that no package has.
func (p Package) String() string {
	if p > LastPackage {
		return ""
	}
	return packages[p].name
}

// Counts says that the document shows counts of messages, and no calls.
func (p Package) Counts() bool { return !packages[p].shows }

// ContentType is the MIME type of the package's documents.
func (p Package) ContentType() string { return packages[p].contentType }

// AppendDocument appends the body of a NOTIFY of the package: what v is to a watcher of the extension. sequence is the
// NOTIFY's Sequence, which some documents carry as their version.
func (p Package) AppendDocument(dst []byte, to Address, v *View, sequence uint32) []byte {
	return packages[p].document(dst, to, v, sequence)
}

// ParsePackage finds an event package by its name, in lower case.
func ParsePackage(name string) (p Package, ok bool) {
	for p := range packages {
		if packages[p].name == name {
			return Package(p), true
		}
	}
	return Dialog, false
}

// Packages returns the names of all event packages.
func Packages() []string {
	names := make([]string, len(packages))
	for p := range packages {
		names[p] = packages[p].name
	}
	return names
}

// PackageNames lists the names of all event packages for a sentence: "a, b or c".
func PackageNames() string { return Or(Packages()) }

// same says whether a watcher of an event package sees no difference between two Views; nil is a View that is not known.
func same(pkg Package, a, b *View) bool {
	return a == b || a != nil && b != nil && packages[pkg].same(a, b)
}

func sameDialogs(a, b *View) bool {
	return slices.EqualFunc(a.Dialogs, b.Dialogs, func(x, y DialogView) bool {
		x.Since, x.Expires, x.Source = y.Since, y.Expires, y.Source // the document does not show these
		return x == y
	})
}

func sameLamp(a, b *View) bool { return a.State == b.State && a.Closed == b.Closed }

func sameMessages(a, b *View) bool { return a.HasMessages == b.HasMessages && a.Messages == b.Messages }
