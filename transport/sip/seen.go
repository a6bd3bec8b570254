package sip

import (
	"hash/maphash"
	"sync"
	"time"

	"lamplight/transport/sip/message"
)

// seen remembers the requests that came on UDP, so that a copy of one is answered like the first and done only once (RFC 3261 §17.2.2).
// It holds hashes, in two generations of seenLife.
type seen struct {
	seed maphash.Seed
	most int // requests of one generation

	mu         sync.Mutex
	new, older map[uint64]answered
	turned     time.Time
}

// answered is how a request was answered.
type answered struct {
	code    int16 // 0: not yet
	expires uint32
	begun   uint32 // when the SIP dialog began, for the To-tag
	tag     string // the entity-tag of a PUBLISH
}

// seenLife is the time in which a copy may come: 64 times T1 is 32 s, and a request lives through one or two generations.
const seenLife = 16 * time.Second

func newSeen(most int) *seen {
	return &seen{seed: maphash.MakeSeed(), most: most, new: map[uint64]answered{}, older: map[uint64]answered{}}
}

// key names the transaction of a request (RFC 3261 §17.2.3).
func (s *seen) key(m *message.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	v := m.Via()
	h.Write(v.Branch)
	h.WriteByte(0)
	h.Write(v.Host)
	h.WriteByte(0)
	h.WriteByte(byte(v.Port))
	h.WriteByte(byte(v.Port >> 8))
	h.Write(m.CallID())
	h.WriteByte(0)
	h.Write(m.Header(message.CSeq))
	h.WriteByte(0)
	h.Write(m.From().Tag())
	return h.Sum64()
}

// before says whether a request came before, and how it was answered.
func (s *seen) before(key uint64) (how answered, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how, known = s.new[key]; !known {
		how, known = s.older[key]
	}
	return how, known
}

// begin notes a request. It returns false when another copy was noted meanwhile.
func (s *seen) begin(key uint64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.new[key]; known {
		return false
	}
	if _, known := s.older[key]; known {
		return false
	}
	if now.Sub(s.turned) > seenLife || len(s.new) >= s.most {
		s.turnLocked(now)
	}
	s.new[key] = answered{}
	return true
}

// turnLocked begins a generation. The caller holds s.mu.
func (s *seen) turnLocked(now time.Time) {
	s.older, s.new, s.turned = s.new, make(map[uint64]answered, min(len(s.new), s.most/2)), now
}

// sweep forgets what is over, also when no more requests come.
func (s *seen) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.turned) > seenLife {
		s.turnLocked(now)
	}
}

// end notes how a request was answered.
func (s *seen) end(key uint64, how answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.older[key]; found {
		s.older[key] = how
		return
	}
	s.new[key] = how
}

// forget forgets a request: the next copy is a new one.
func (s *seen) forget(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.new, key)
	delete(s.older, key)
}
