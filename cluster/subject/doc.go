// Package subject knows every NATS subject of the product: how each one is built from outside names (of realms, users,
// calls, edges and nodes), how it is read back, and on which reply subjects a node may answer. It imports only the
// standard library, so that clients, edges and bridges use the same subjects as the nodes. It holds no state: any
// goroutine may call it. It does not know what the messages contain.
//
// The subjects are described in docs/contract/nats.md, "All subjects", and those of the journal in
// docs/contract/journal.md, "Subjects".
//
// Every function takes and returns subjects without the installation's prefix, unless its comment says otherwise. A
// Prefix puts the prefix in front of a subject and takes it off.
package subject
