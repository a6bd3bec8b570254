// Package actorstest has what tests need of the parts around the shards: a journal in memory, of which the test says
// what becomes durable and when.
package actorstest

import (
	"sync"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Write is what one call of Journal.Write hands over.
type Write struct {
	Shard   int
	Ticket  uint64
	To      actors.Address
	Records []presence.Record
}

// Journal implements actors.Journal in memory. Its zero value owns every shard, has a fresh lease, and makes every write
// durable at once. Change it with Set. The hooks run in the shard's turn.
type Journal struct {
	System *actors.System // is told what is durable; set before the first write

	mu          sync.Mutex
	settings    Settings
	generations [actors.Shards]uint64
	tickets     [actors.Shards]uint64
	held        []func()
}

// Settings are what a test can change of a Journal.
type Settings struct {
	Standing actors.Standing
	Mine     func(shard int) bool // nil: every shard is this node's
	Hold     bool                 // writes become durable only by Release, or when the test calls System.Durable
	Silent   bool                 // the shards may not notify: they get no numbers

	OnWrite    func(Write)                             // nil: nothing
	OnStanding func()                                  // each time that a shard asks whether it may answer; nil: nothing
	OnNumber   func()                                  // each time that a shard asks for a number and is refused; nil: nothing
	OnFlushed  func(shard int)                         // nil: nothing
	OnReload   func(give func([]actors.Stored, error)) // nil: nothing is ever given
}

// Set changes the settings.
func (j *Journal) Set(change func(*Settings)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.settings)
}

// Release makes the writes durable that were held back, in their order, and holds none back any more.
func (j *Journal) Release() {
	j.mu.Lock()
	held := j.held
	j.held, j.settings.Hold = nil, false
	j.mu.Unlock()
	for _, durable := range held {
		durable()
	}
}

// Write implements actors.Journal.
func (j *Journal) Write(shard int, generation uint64, to actors.Address, records []presence.Record) {
	j.mu.Lock()
	if j.generations[shard] != generation {
		j.generations[shard], j.tickets[shard] = generation, 0
	}
	j.tickets[shard]++
	ticket := j.tickets[shard]
	hook, hold := j.settings.OnWrite, j.settings.Hold
	durable := func() { j.System.Durable(shard, ticket) }
	if hold {
		j.held = append(j.held, durable)
	}
	j.mu.Unlock()
	if hook != nil {
		hook(Write{Shard: shard, Ticket: ticket, To: to, Records: records})
	}
	if !hold {
		durable()
	}
}

// Standing implements actors.Journal.
func (j *Journal) Standing(int, uint64) actors.Standing {
	j.mu.Lock()
	hook := j.settings.OnStanding
	j.mu.Unlock()
	if hook != nil {
		hook()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.settings.Standing
}

// Vouch implements actors.Journal.
func (j *Journal) Vouch(generations *[actors.Shards]uint64) bool {
	standing := j.Standing(0, 0)
	if standing == actors.Unsure {
		*generations = [actors.Shards]uint64{}
	}
	return standing == actors.CutOff
}

// Mine implements actors.Journal.
func (j *Journal) Mine(shard int) bool {
	j.mu.Lock()
	mine := j.settings.Mine
	j.mu.Unlock()
	return mine == nil || mine(shard)
}

// Number implements actors.Journal: the counter above 1000 for each generation.
func (j *Journal) Number(_ int, generation uint64, counter uint32) (sequence, next uint32, ok bool) {
	j.mu.Lock()
	silent, hook := j.settings.Silent, j.settings.OnNumber
	j.mu.Unlock()
	if silent {
		if hook != nil {
			hook()
		}
		return 0, counter, false
	}
	return 1000*uint32(generation) + counter, counter + 1, true
}

// Streams implements actors.Journal: there is one.
func (j *Journal) Streams() int { return 1 }

// Flushed implements actors.Journal.
func (j *Journal) Flushed(shard int, _ uint64) {
	j.mu.Lock()
	hook := j.settings.OnFlushed
	j.mu.Unlock()
	if hook != nil {
		hook(shard)
	}
}

// Reload implements actors.Journal.
func (j *Journal) Reload(_ int, give func([]actors.Stored, error)) {
	j.mu.Lock()
	hook := j.settings.OnReload
	j.mu.Unlock()
	if hook != nil {
		hook(give)
	}
}

// Kept collects what is written. Its OnWrite is a hook of a Journal.
type Kept struct {
	mu      sync.Mutex
	records []actors.Stored
}

// OnWrite keeps the records of a write.
func (k *Kept) OnWrite(w Write) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range w.Records {
		k.records = append(k.records, actors.Stored{Kind: r.Kind, Data: r.Data, At: time.Now()})
	}
}

// All returns everything that was written so far.
func (k *Kept) All() []actors.Stored {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]actors.Stored(nil), k.records...)
}
