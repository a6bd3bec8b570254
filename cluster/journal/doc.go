// Package journal keeps the records of all extensions in JetStream, and decides with the other nodes who owns which shard
// (docs/contract/journal.md). The decisions are package ownership's; this package tells it what happened and carries out
// what it wants, with one stream of the journal at a time:
//
//   - stream.go drives the ownership.Machine of a stream.
//   - watch.go follows the leases and claims of all nodes.
//   - committer.go writes the shards' records in order, under their claims' fence.
//   - replay.go reads a shard that this node takes over.
//   - store.go, publish.go and read.go speak to NATS.
//   - backup.go and restore.go read and write a whole journal while no node needs to run.
//
// The package owns the journal's streams and nothing in memory but what is on its way. It knows records only by their
// kind and bytes. A node's HTTP or NATS documents, and gossip, are unknown to it: it is told who is a member.
//
// One goroutine calls New, SetShards, Start and Stop, in this order. All other methods of a Journal are for any goroutine.
// Those of actors.Journal are called from the shards' turns: Write, Number and Flushed take stream.mu of the shard's
// stream and may wait for NATS's client while they publish (docs/concurrency.md, "Publishing on NATS"); Standing, Vouch,
// Mine and Holder read atomics. The journal calls the shards of package actors with stream.mu held; those calls
// only put messages into mailboxes.
package journal
