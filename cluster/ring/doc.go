// Package ring keeps the records of one range of shards in a ring of slots (docs/contract/journal.md, "Slots"). A slot is a
// subject of the journal, and its last message holds many records. The package decides which slot is written next and what
// that message must carry on; entry.go is the form of the messages. It knows no NATS, no clock and no goroutine. A Ring is
// used by one goroutine at a time.
//
// Every message goes to one slot, and the slots are written in turn: the slot whose message is the oldest is written again,
// and no other. It is written again only when it is dead, which means that none of its records is the newest of its key any
// more. The Ring makes a slot dead by carrying on: it copies what lives in the oldest slots into the message that it writes
// next. From the order follows what makes the rest simple:
//
//   - When a slot is written again, all other messages of the range are newer. So nothing older of a record that it held can
//     come to light, and a tombstone or a record whose life is over need not be carried on.
//   - Nothing is deleted or purged, so no write needs another condition than the fence.
//
// A message whose outcome is unknown may still arrive. So the Ring stays with its slot until a message to that slot was
// accepted; the caller claims the range anew before it writes again (docs/contract/journal.md, rule 5).
//
// A power cut may take the newest messages of the stream, and with each of them the message that it replaced. So a slot is
// written again only some time after it died (Options.Age): by then the message that carried its records on is on the disk.
package ring
