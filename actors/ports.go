package actors

import (
	"time"

	"lamplight/actors/presence"
)

// Shards is how many slices all extensions are cut into. It is part of the journal's subjects and never changes.
const Shards = 1024

// Journal is what the shards need of the journal. No method blocks.
type Journal interface {
	// Write hands records of one extension to the committer. Writes of one shard become durable in the order of the
	// calls; Durable(shard, ticket) is called once this and all earlier writes are. Tickets count them, from 1 after
	// each Open. With whole, the records become durable together or not at all. life is the generation of the claim
	// that the shard was opened under: what comes from an earlier life is ignored.
	Write(shard int, life uint64, to Address, records []presence.Record, whole bool)
	// Standing says whether this node may answer for the shard now (JOURNAL.md rule 1).
	Standing(shard int, life uint64) Standing
	// Vouch is Standing for many shards: it sets to 0 the lives of those that this node may not answer for, and says
	// whether it would answer for some of the others with NATS away.
	Vouch(lives *[Shards]uint64) (stale bool)
	// Mine says whether this node holds the shard's claim or is taking it over: requests for a shard that is not
	// open wait only while it is so. It may change at any time, before or after the shard is told.
	Mine(shard int) bool
	// Number draws the next Sequence of an extension of the shard, whose counter belongs to the claim of this generation
	// (JOURNAL.md rule 8). ok is false while the shard may not notify, which is so too while the news of a newer claim
	// is on its way to it; it asks for a new claim by itself when the counter is full.
	Number(shard int, generation uint64, counter uint32) (sequence, next uint32, ok bool)
	// Flushed says that all that the shard took before Flush, or the end of its numbers, is kept and told.
	Flushed(shard int, life uint64)
	// Reload reads the shard's records again and gives them to give, off the caller's goroutine.
	Reload(shard int, give func([]Stored, error))
}

// Standing is what this node may do with what it holds.
type Standing uint8

// The standings.
const (
	Fresh  Standing = iota // the lease is fresh: answer, notify, write
	Unsure                 // the lease is not known to be fresh: wait
	CutOff                 // NATS is away: reads may be answered marked stale, writes are refused
)

// Stored is one record as the journal gives it back.
type Stored struct {
	Kind presence.Kind
	Data []byte
	At   time.Time // when the journal stored it
}

// Opening is what a shard is opened with.
type Opening struct {
	Claim   Claim
	Records []Stored
	Since   time.Time // extensions that changed at or after it are notified again (JOURNAL.md rule 7),
	All     bool      // or all of them
	End     bool      // rule 8: all subscriptions end first
}

// Claim is the part of a shard's claim that its notifications carry.
type Claim struct {
	Generation uint64
	Epoch      time.Time // creation time of the journal's stream
}

// Notifier sends what the shards tell. Its methods never block and keep the order of the calls for one extension;
// what is sent is lost only with the process or as BUS.md says of edges that are down.
type Notifier interface {
	// Notify sends one document to several watchers, one message per edge.
	Notify(n Notification)
	// Lamp publishes a change of a lamp on the state feed.
	Lamp(c LampNews)
}

// Notification is one NOTIFY for several watchers of one extension and event package. Body and
// Watchers may only be read during the call.
type Notification struct {
	Shard       int
	Claim       Claim
	To          Address
	Package     presence.Package
	State       presence.State
	Sequence    uint32
	ContentType string
	Body        []byte
	End         string // not empty: Subscription-State terminated with this reason
	Watchers    []*presence.Subscription
	Now         time.Time
}

// LampNews is one change of a lamp.
type LampNews struct {
	To       Address
	Change   presence.LampChange
	Sequence uint32
}
