// Package presence is the pure domain of Lamplight: one extension with its subscriptions, calls, registers, manual state and
// mailboxes, and the lamp that these add up to.
//
// It has no clock, no I/O and no goroutine. Time is an argument, and equal inputs give equal outputs. An Extension must be
// used by one goroutine at a time. Its caller has four duties:
//
//  1. Make Effects.Records durable, in their order, before anything of the same Effects is told or answered.
//  2. If they can't be made durable, throw the Extension away and Load it again: there is no rollback.
//  3. Call Apply with Tick when Next says so.
//  4. Drop the Extension when it is Empty.
//
// The rules of the domain that transports need stand here too: the table of event packages, how an address is read, which lamps
// a mailbox lights, what names a register, what a manual state may be, and the bounds of leases and texts.
//
// It imports only the standard library and package body, which writes the documents. It does not know subjects, nodes or
// JSON.
package presence
