// Package bus is the NATS edge (docs/contract/nats.md): it turns Kazoo's presence documents into messages for the router, answers
// them when they are durable, serves the control endpoints as a micro service, and fans NOTIFYs out, one message per
// edge. Intake and control run on NATS's goroutines and never block; Fanout is called by the shards.
// It does not know HTTP, SIP or who owns an extension.
package bus
