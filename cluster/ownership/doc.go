// Package ownership is the rules of docs/contract/journal.md as a pure state machine: who may answer, who may write, who takes what over.
//
// One Machine serves one node and one stream of the journal; a Lane orders the writes of one of its shards. Both
// have no clock, no I/O and no goroutine: what happened goes in as a method call with the time since boot, what is
// to be done comes out as Actions. One goroutine at a time may use them. The caller's duties:
//
//  1. Do every Action; report the outcome of each with the method that its comment names, whenever it comes.
//     An outcome that is not known is Unknown, never a guess.
//  2. Report every lease and claim that the stream shows (LeaseSeen, ClaimSeen), late or twice as it likes, and
//     nothing of an earlier stream after Recreated.
//  3. Call Tick at least every 50 ms.
//  4. Write a shard's records only through its Lane, under the fence of the last Open or Resume, each copy once.
//  5. Answer from memory, or notify without a write, only before AnswerUntil, checked when the answer leaves.
//  6. Tell nothing before it is kept, and only under a Sequence that Number gave.
//
// The simulation in this package's tests drives both against a journal and a network that misbehave. The package
// does not know NATS, records or extensions. It imports only the standard library.
package ownership

import "time"

// Time is a reading of a clock that counts suspended time (CLOCK_BOOTTIME).
type Time = time.Duration

// The intervals of the rules. They hold between all nodes of a cluster and are no settings.
const (
	Heartbeat = 200 * time.Millisecond // rule 1
	Repeat    = 300 * time.Millisecond // rule 1: no answer to a heartbeat
	Validity  = 800 * time.Millisecond // rule 1: L
	Guard     = 20 * time.Millisecond  // rule 2
	Silence   = 3 * time.Second        // rule 11: lost NATS, not gossip
	Candidate = 2 * time.Second        // rule 11: a heartbeat seen
	Standing  = 500 * time.Millisecond // rule 11: a hand-over's reason has stood
	Untold    = 10 * time.Second       // rule 7: what may have been kept and not told
	Outage    = time.Minute            // rule 7: a tombstone's life
	Deposed   = 10 * time.Second       // rule 10: a leader that knows less than we do is no deposed one any more
)

// The numbers of rule 8.
const (
	TakeOver = 32768         // what a new holder adds to the base
	Counters = 32767         // Sequences that an extension has under one claim
	LastBase = 1<<31 - 1<<20 // past it a shard's subscriptions are ended, so that phones begin anew
)

// handOvers is how many shards a node gives up at a time, of one stream.
const handOvers = 16

// Lease is a node's heartbeat.
type Lease struct {
	Node, Incarnation string
	Expelled          bool      // final for this incarnation (rule 2)
	Left              bool      // the node left by itself and holds nothing
	Draining          bool      // the node gives its shards up and takes no more
	Before            string    // the node's incarnation before this one
	Beat              time.Time // the stream's time of the last heartbeat of Before, of an expelled one: of Incarnation
}

// Claim says who owns a shard.
type Claim struct {
	Node, Incarnation string
	Nonce, Generation uint64
	Base              uint32
	Epoch             int64     // the stream's creation, Unix ns
	Released          bool      // the holder gave it up; anyone may claim
	Next              string    // whom the holder named
	Since             time.Time // rule 7: who takes over early on tells again what changed since; zero: nothing is left to tell
	All               bool      // rule 7: as Since, but everything
}

// Outcome of a conditional write.
type Outcome uint8

// The outcomes, from good to bad.
const (
	Accepted Outcome = iota
	Busy             // refused for another reason than its condition; nothing was written
	Refused          // the condition did not hold
	Unknown          // it may have been written, or may be yet
)

// Kind of an Action.
type Kind uint8

// What the caller is to do.
const (
	ReadLease  Kind = iota // read lease.<Node> at the stream's leader → LeaseRead
	WriteLease             // write Lease on condition that Expect is the subject's last sequence → LeaseWritten
	ReadClaim              // read the claim of Shard at the leader → ClaimRead
	WriteClaim             // write Claim on condition that Expect is the subject's last sequence → ClaimWritten
	Replay                 // read the shard's records with its claim, until they hold Claim at Expect (Covers) → Replayed
	Open                   // the shard is ours under Claim, fence Expect; Since and All say who is told again
	Resume                 // the shard is ours under a new claim of ours: write all pending again, then go on
	Pause                  // hold back what the shard would write and tell
	Flush                  // take nothing more; when all is kept and told → Flushed
	Drop                   // the shard is not ours any more: forget it
	Refuse                 // a live process of the same name exists: stop
	Anew                   // the stream lost its end: it counts as another one → Recreated, with the same epoch
)

// Action is one thing to do.
type Action struct {
	Kind   Kind
	Shard  int
	Node   string
	Lease  Lease
	Claim  Claim
	Expect uint64
	Sent   Time      // of WriteLease: counts as the time when it was sent
	Since  time.Time // rule 7: tell extensions again that changed since
	All    bool
	End    bool // of Open and Resume, rule 8: end all subscriptions, and when that is kept and told → Flushed
}

// Off switches single rules off, so that the simulation can show that it finds what they prevent.
type Off struct {
	LeaseCheck, Expel, ReplayGuard, Silence bool
}
