// Package actors runs the extensions of one node. There are 1024 shards, each of them a protoactor actor with a bounded
// mailbox. Under a shard there is one actor for each extension that holds something.
//
// A shard is the unit of ownership and of concurrency. A shard handles one message at a time; this is its turn. All its
// extensions change only in its turn. An extension's actor has a run-to-completion mailbox that only its shard sends to,
// so it needs no lock. The shard has the extension apply an event (package presence, which is pure), and hands the
// records that come out to the Journal. Only when these are durable do the answer and the notifications leave, in the
// order in which the events were applied (docs/contract/journal.md, rule 7).
//
// Three others call this package. The cluster's router sends requests. The journal opens, pauses, resumes and drops
// shards, and says which writes are durable. The System's own clock wakes shards that have something due. The package
// knows nothing of NATS, HTTP or SIP: it says what it needs of a Journal and of a Notifier.
package actors
