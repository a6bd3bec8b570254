// Package bus is a node's half of NATS (docs/contract/nats.md). A Bus takes documents in: it decodes them, makes messages of
// them for the router, and answers each document when what it says is durable. It also serves the control endpoints, as a
// micro service of NATS. A Fanout sends NOTIFY messages to edges, one message for all the watchers of a change behind an
// edge, and publishes the state feed. AnswerStatus tells the state of the node. The package does not know HTTP, SIP or who
// owns an extension.
//
// The handlers of a Bus run on the goroutines of NATS's client, one goroutine for each subscription. They never wait for a
// shard, for another node, for the journal or for the directory: those call back. But they may wait for two things. They
// take locks, for a short time each; and publishing a reply may wait up to 2 s while the NATS server does not read
// (docs/concurrency.md, "Publishing on NATS"). A listing or the reset of a realm takes longer, so it runs on a goroutine of
// its own, at most 16 of them at a time.
//
// The shards call a Fanout in their turns. It numbers and publishes a message under the lock of the message's edge, because
// messages to one edge must leave in the order of their numbers. So whoever tells an edge something may wait while another
// goroutine publishes to the same edge. What an edge missed, up to 8 MiB, is sent again under that lock too.
package bus
