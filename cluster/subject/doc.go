// Package subject knows every NATS subject of the product: how each is built from outside names, how it is read back,
// and which reply subjects a node may answer on. It imports only the standard library, so that clients, edges and
// bridges use the same subjects as the nodes.
//
// Subjects are described in docs/contract/nats.md; those of the journal in docs/contract/journal.md, "Records".
//
// Every function takes or returns subjects without the installation's prefix unless it says otherwise. A Prefix puts it
// in front and takes it off.
package subject
