// Package kazoo reads and writes the documents that Kazoo 4.3's presence applications exchange, and says what each one
// means: which event it is about which extension. Documents are JSON with Title-Case-Dashed names (docs/contract/nats.md).
//
// document.go reads what comes in; meaning.go turns it into events; reply.go writes the replies; listing.go writes
// listings and single extensions, for HTTP and NATS alike; notify.go writes and reads what goes to edges; edge.go writes
// and reads what edges say.
//
// The package is pure: it has no I/O and no clock, and may be used from any goroutine.
package kazoo
