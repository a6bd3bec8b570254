// Package actors runs the extensions of one node: 1024 shards, each a protoactor actor with a bounded
// mailbox, and under them one actor per extension that holds something.
//
// A shard is the unit of ownership and of concurrency. Everything of its extensions happens in its turn:
// an extension's actor has a run-to-completion mailbox that only its shard sends to, so that it needs no
// lock. The shard applies a message to the extension (package presence, pure), hands the records to the
// Journal, and only when they are durable does the answer leave, and the notifications, in the order in
// which they were applied (JOURNAL.md rule 7).
//
// Who calls: cluster's router sends requests; cluster/journal opens, pauses, resumes and drops shards and
// says what became durable; a clock of its own wakes shards with something due. The package knows nothing
// of NATS, HTTP or SIP: it says what it needs of a Journal and of a Notifier.
package actors
