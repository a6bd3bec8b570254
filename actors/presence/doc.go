// Package presence is the pure domain of Lamplight: one extension, its subscriptions, calls, registers,
// manual state and mailboxes, and the lamp that they add up to.
//
// It has no clock, no I/O and no goroutine. Time is an argument, equal inputs give equal outputs, and an
// Extension is used by one goroutine at a time. The caller's duties:
//
//  1. Make Effects.Records durable, in order, before anything of the same Effects is told or answered.
//  2. If they can't be made durable, throw the Extension away and Load it again; there is no rollback.
//  3. Call Apply with Tick when Next says so.
//  4. Stop keeping the Extension when Empty.
//
// It imports only the standard library and package body. It does not know subjects or nodes.
package presence
