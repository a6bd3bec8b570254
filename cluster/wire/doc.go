// Package wire is the form of the messages between nodes: a Batch of calls to their owners, and the Answers to them.
//
// A message is a list of fields as in protocol buffers, each a varint tag (number<<3 | wire type) and a value, always
// in rising order of their numbers; a field that is absent has its zero value. One function names the fields of each
// type for both directions, so that they can't differ. Hand-written because it is less than the generated code would be
// and because what was read shares one string: see the benchmark. It carries a schema number; a reader passes over
// fields that it does not know, so that a newer node may send more to an older one. Numbers are never used again for
// something else.
//
// Everything that is read may come from a stray peer: it is bounded, and at worst an error. Only package cluster uses
// this package. It knows nothing of NATS.
package wire
