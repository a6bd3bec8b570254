// Package sip is the SIP edge: a notifier (RFC 6665) and event state compositor (RFC 3903) for the event packages of package presence, on
// UDP, TCP, TLS and WebSocket. docs/contract/sip.md says what phones are promised.
//
// A Server reads requests, checks and authenticates them, and hands them to a Cluster, which brings them to the owners of the extensions:
// Local inside a node, Remote over NATS. What the owners tell the watchers behind the edge comes back through Deliver (this node's shards),
// Hear (other nodes) and Tell, and goes out as NOTIFY requests. The edge owns the SIP side of this: sockets, connections, transactions and
// NOTIFYs under way. It keeps no subscription: what a NOTIFY needs stands in the subscription that its owner keeps, and what an edge must
// recognize later, To-tags and nonces, is an HMAC under a secret that all edges share.
//
// One goroutine calls New, Start and Stop. Deliver, Hear and Tell may be called from any goroutine between these.
package sip
