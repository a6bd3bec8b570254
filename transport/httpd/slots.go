package httpd

import "sync"

// Slots bounds how many things of a kind are under way at a time: all together, and those of one account. So one account can't use
// up what all share. Its methods are for any goroutine and do not wait.
type Slots struct {
	most, mostOf int

	mu    sync.Mutex
	taken int
	of    map[string]int // by account; accounts that have none are left out
}

// NewSlots makes Slots for so many things, mostOf of them of one account.
func NewSlots(most, mostOf int) *Slots {
	return &Slots{most: most, mostOf: mostOf, of: map[string]int{}}
}

// Take takes a slot for an account. ok is false when all that it may have are taken. The caller calls free once.
func (s *Slots) Take(account string) (free func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.most || s.of[account] >= s.mostOf {
		return nil, false
	}
	s.taken++
	s.of[account]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taken--
		if s.of[account]--; s.of[account] == 0 {
			delete(s.of, account)
		}
	}, true
}
