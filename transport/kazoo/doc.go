// Package kazoo reads and writes the documents that Kazoo 4.3's presence applications exchange. It also says what each
// document means: which event it reports, of which extension. A document is a JSON object whose names look like Call-ID
// (docs/contract/nats.md).
//
// document.go reads documents and meaning.go turns them into events. edge.go reads and writes what edges say. notify.go
// writes NOTIFY messages and the state feed, and notify_read.go reads NOTIFY messages. listing.go writes listings and
// single extensions, for HTTP and NATS alike. Package bus writes the replies.
//
// The package is pure: it does no I/O and never asks for the time. Its functions may be called from any goroutine. A value
// that has methods, such as a Listing, may be used by one goroutine at a time.
package kazoo
