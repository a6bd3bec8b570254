package actors

import (
	"time"

	"lamplight/actors/presence"
)

// Shards is the number of slices that all extensions are cut into. It is part of the journal's subjects and never changes.
const Shards = 1024

// Journal is what the shards need of the journal. A shard calls it in its turn, from any goroutine; calls for different
// shards come at the same time.
//
// Its methods must not wait for a shard, for an answer of NATS or for a disk: a method that waits holds up all extensions
// of the shard. Some of them do wait as Notifier's methods may, for NATS's client to write its buffer to the socket: the
// committer publishes a write under its lock, which Write, Number and Flushed take.
//
// The journal may call a System's Open, Pause, Resume, Flush, Drop and Durable while it holds its own locks: these queue
// a message and never run a shard's turn.
type Journal interface {
	// Write hands records of one extension to the committer. Writes of one shard become durable in the order of the
	// calls. The journal calls Durable(shard, ticket) once this and all earlier writes are durable; tickets count the
	// writes, from 1 after each Open. The records of one call become durable together, or none does, unless they have more than 128 KiB. generation is
	// that of the claim that the shard was opened under: the journal ignores writes of an earlier opening.
	Write(shard int, generation uint64, to Address, records []presence.Record)
	// Standing says what this node may do with the shard now (docs/contract/journal.md, rule 1). generation is as for
	// Write.
	Standing(shard int, generation uint64) Standing
	// Vouch is Standing for all shards at once. It sets to 0 the generation of each shard for which this node may not
	// answer. stale says that it may answer for some of the rest only because NATS is out of reach.
	Vouch(generations *[Shards]uint64) (stale bool)
	// Mine says whether this node holds the shard's claim or is taking the shard over. Requests to a shard that is not
	// open wait only while it does. The answer may change at any time, before or after the shard is told.
	Mine(shard int) bool
	// Number returns the next Sequence of an extension of the shard, and the counter to pass next time
	// (docs/contract/journal.md, rule 8). counter belongs to the claim of this generation. ok is false while the shard
	// may not notify: also when the claim has been replaced and the shard has not heard of that yet. When the counter is
	// full, Number asks for a new claim by itself.
	Number(shard int, generation uint64, counter uint32) (sequence, next uint32, ok bool)
	// Flushed says that all that the shard took before Flush, or before its numbers came to their end, is durable and
	// told. generation is that of the present claim: what a shard says of an earlier one does not count.
	Flushed(shard int, generation uint64)
	// Streams returns the number of the journal's streams. Shard s is in the stream s mod that number. Shard s below that number keeps which
	// switches are gone, and Open of every shard of the stream brings those records (presence.KindGone).
	Streams() int
	// Reload reads all records of the shard again, in another goroutine, and passes them to give.
	Reload(shard int, give func([]Stored, error))
}

// Standing is what this node may do with a shard that it holds.
type Standing uint8

// The standings.
const (
	Fresh  Standing = iota // the node's lease is fresh: it may answer, notify and write
	Unsure                 // it is not known whether the lease is fresh: answers wait
	CutOff                 // NATS is out of reach: reads are answered and marked stale; all else is refused, also what changes nothing
)

// Stored is one record as the journal returns it.
type Stored struct {
	Kind presence.Kind
	Data []byte
	At   time.Time // when the journal stored it, by the clock of the NATS server
}

// Opening is what a shard is opened with.
type Opening struct {
	Claim   Claim
	Records []Stored
	Since   time.Time // extensions that changed at or after Since are notified again (docs/contract/journal.md, rule 7)
	All     bool      // all extensions are notified again, whatever Since says
	End     bool      // all subscriptions end first, because the numbers have come to their end (rule 8)
}

// Claim is the part of a shard's claim that its notifications carry.
type Claim struct {
	Generation uint64
	Epoch      time.Time // when the journal's stream was created
}

// Notifier sends what the shards tell. A shard calls it in its turn, from any goroutine; calls for different shards come
// at the same time. Calls for one extension leave in their order. A Notifier loses only what the process has not handed
// to NATS when it ends, and what an edge that is down has not taken when the bounds of "NOTIFY" are reached
// (docs/contract/nats.md, "NOTIFY").
//
// Its methods do not wait for a receiver, but they may wait for NATS's client. Publishing copies a message into the
// client's write buffer of 32 KiB. Whoever fills the buffer writes it to the socket, and waits while the NATS server does
// not read; all other publishers of the connection wait behind it. The node's connection gives up such a write after 2
// seconds and reconnects. While it is not connected, publishing fails at once. A notification for hundreds of watchers
// is several messages of up to 256 KiB, so it nearly always writes to the socket itself: for that time it holds its
// shard's turn.
type Notifier interface {
	// Notify sends one document to several watchers, at least one message for each of their edges. It returns when all
	// of them have been published.
	Notify(n Notification)
	// Lamp publishes a change of a lamp on the state feed.
	Lamp(c LampNews)
	// Watched says that an extension has its first watcher of an event package.
	Watched(to Address, p presence.Package)
}

// Notification is one NOTIFY for several watchers of one extension and event package. The receiver may read Body and
// Watchers only until it returns.
type Notification struct {
	Shard       int
	Claim       Claim
	To          Address
	Package     presence.Package
	State       presence.State
	View        *presence.View // what Body shows
	Sequence    uint32
	ContentType string
	Body        []byte
	End         string // not empty: the subscriptions end, with this reason (RFC 6665 §4.1.3)
	Watchers    []*presence.Subscription
	Now         time.Time
	Request     string // the id of the request that caused it; "": none did, or it is not known
}

// LampNews is one change of a lamp.
type LampNews struct {
	To       Address
	Change   presence.LampChange
	Sequence uint32 // the extension's count of NOTIFYs under the present claim
}
