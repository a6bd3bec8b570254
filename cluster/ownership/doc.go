// Package ownership is the rules of docs/contract/journal.md, "The rules", as a pure state machine. It decides which node
// may answer for a range of shards, which may write, and which takes over from which. The shards of a range have one claim and
// one owner.
//
// One Machine serves one node and one stream of the journal. A Lane keeps the writes of one range in order. Neither has a
// clock, I/O or a goroutine: what happened goes in as a method call with the time, and what is to be done comes out as
// Actions. Both are used by one goroutine at a time, and no method blocks. The package does not know NATS, records or
// extensions, and imports only the standard library. The simulation in its tests drives it against a journal and a
// network that misbehave.
//
// The caller's duties:
//
//  1. Do every Action. Report the outcome of each with the method that its comment names, whenever it is known. An
//     outcome that is not known is Unknown, never a guess.
//  2. Report every lease and claim that the stream shows (LeaseSeen, ClaimSeen). They may be reported late and more than
//     once. Report one that cannot be read as Unreadable, with the stream's time of it. Leave out one of a newer release.
//     After Recreated, report nothing of the stream as it was before.
//  3. Call Tick at least every 50 ms.
//  4. Write a range's records only through its Lane, under the fence of the last Open or Resume, each group once and in one
//     message.
//  5. Answer from memory, or notify without a write, only before AnswerUntil. Check this when the answer leaves.
//  6. Send notifications only of what is durable, and only with a Sequence that Number returned.
//
// In this package, "the stream's time" is the timestamp that the NATS server gave to a message. All other times are
// readings of the caller's clock.
package ownership

import "time"

// Time is a reading of a clock that also counts while the machine is suspended (CLOCK_BOOTTIME).
type Time = time.Duration

// The numbers of rule 8.
const (
	TakeOver = 32768         // what a node that takes over adds to the base
	Counters = 32767         // the highest counter of an extension under one claim
	LastBase = 1<<31 - 1<<20 // past this base all subscriptions of the range are ended, so that phones begin anew
	MaxBase  = 1 << 31       // no base is higher, because no CSeq may be (RFC 3261 §8.1.1.5)
)

// handOvers is the number of ranges of one stream that a node hands over at a time (rule 11).
const handOvers = 4

// Lease is a node's heartbeat: docs/contract/journal.md, "Leases and claims".
type Lease struct {
	Node, Incarnation string
	Expelled          bool      // another node ended this incarnation; final (rule 2)
	Left              bool      // the node gave everything up and holds nothing
	Draining          bool      // the node gives its ranges up and takes no more
	Before            string    // the node's incarnation before this one
	Beat              time.Time // the stream's time of the last heartbeat of Before, or, in an expelled lease, of Incarnation

	Unreadable bool // the message can't be read; only Node, which its subject names, is set (rule 10)
}

// Claim says who owns a range: docs/contract/journal.md, "Leases and claims".
type Claim struct {
	Node, Incarnation string
	Nonce, Generation uint64
	Base              uint32
	Epoch             int64     // when the stream was created, in Unix ns
	Released          bool      // the holder gave the range up; any node may claim it
	Next              string    // the node that the holder named as the next owner
	Since             time.Time // rule 7: a node that takes over tells again what changed since; zero: there is no such limit
	All               bool      // rule 7: a node that takes over tells all extensions again

	Unreadable bool // the message can't be read; no other field is set (rule 10)
}

// Outcome is the outcome of a conditional write.
type Outcome uint8

// The outcomes, from the best to the worst.
const (
	Accepted Outcome = iota
	Busy             // refused for another reason than the condition; nothing was written
	Refused          // the condition did not hold; nothing was written
	Unknown          // it may have been written, and may still be
)

// Kind says what an Action is.
type Kind uint8

// What the caller is to do, and the method with which it reports the outcome.
const (
	ReadLease  Kind = iota // read the lease of Node at the stream's leader: LeaseRead
	WriteLease             // write Lease if Expect is still the last sequence of its subject: LeaseWritten
	ReadClaim              // read the claim of Range at the stream's leader: ClaimRead
	WriteClaim             // write Claim if Expect is still the last sequence of its subject: ClaimWritten
	Replay                 // read the range's records with its claim, until Covers accepts them: Replayed
	Open                   // the node owns the range: open its Lane with the fence Expect, and its shards with what was replayed
	Resume                 // the node owns the range under a new claim of its own: write everything pending again, then go on
	Pause                  // the range's next claim is on its way: hold back what its shards would write and tell
	Flush                  // hand the range over to Node: take no more requests; when all is durable and told: Flushed
	Drop                   // the node does not own the range any more: forget it
	Refuse                 // another live process has this node's name: stop this one
	BeginAnew              // the stream lost its end and counts as another one: Recreated, with the same epoch
)

// Action is one thing that the caller is to do. Which fields are set depends on the Kind.
type Action struct {
	Kind   Kind
	Range  int
	Node   string
	Lease  Lease
	Claim  Claim
	Expect uint64    // 0: the subject must not have a message yet
	Sent   Time      // of WriteLease: the time that counts as the time of sending
	Since  time.Time // of Open: tell the extensions again that changed since (rule 7)
	All    bool      // of Open: tell all extensions again (rule 7)
	End    bool      // of Open and Resume: end all subscriptions; when that is durable and told: Flushed (rule 8)
}

// Off switches single rules off, so that the simulation can show that it finds what they prevent. Only tests set it.
type Off struct {
	LeaseCheck  bool // rule 1: AnswerUntil has no end
	Expel       bool // rule 2: claim without expelling the holder first
	ReplayGuard bool // rule 6: Covers accepts any answer
	NotifyPause bool // rule 8: Number goes on while the next claim is on its way
}
