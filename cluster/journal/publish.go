package journal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The outcomes of a write that was not accepted.
var (
	errFenced   = errors.New("journal: the write was refused, because its condition no longer holds")
	errBusy     = errors.New("journal: NATS refuses the write for now")
	errNoLeader = fmt.Errorf("%w: the stream has no leader", errBusy)
	errUnknown  = errors.New("journal: NATS did not answer the write; it may or may not have been kept")
)

// publish writes one message and does not wait for the answer. done is called at most once: with the sequence of the
// message, or with one of the outcomes above. It is not called when the journal stops before. It runs on a goroutine of
// NATS's client, of a timer or of the stream's tick, and never before publish returns on the caller's.
func (s *store) publish(m *nats.Msg, within time.Duration, done func(uint64, error)) {
	id := s.await(within, done)
	m.Reply = s.inbox + "." + strconv.FormatUint(id, 36)
	if err := s.nc.PublishMsg(m); errors.Is(err, nats.ErrMaxPayload) {
		go s.settle(id, 0, fmt.Errorf("%w: %w", errBusy, err))
	} else if err != nil {
		go s.settle(id, 0, errUnknown) // in a goroutine of its own, because the caller may hold stream.mu, which done takes
	}
}

// await notes a write that waits for an answer, and returns its number.
func (s *store) await(within time.Duration, done func(uint64, error)) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.waiting[s.count] = wait{done, time.Now().Add(within)}
	return s.count
}

// settle passes the answer to a write on, unless the write was given up before. done is called without s.mu.
func (s *store) settle(id, sequence uint64, err error) {
	s.mu.Lock()
	w, ok := s.waiting[id]
	delete(s.waiting, id)
	if ok && err == nil {
		s.highest = max(s.highest, sequence)
	}
	s.mu.Unlock()
	if ok {
		w.done(sequence, err)
	}
}

// acknowledged returns the highest sequence that the stream has acknowledged to this node.
func (s *store) acknowledged() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.highest
}

// forgetAcknowledged forgets it: the stream is another one, or has lost messages.
func (s *store) forgetAcknowledged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.highest = 0
}

// expire gives up writes that NATS did not answer in time.
func (s *store) expire(now time.Time) {
	s.giveUp(func(_ uint64, w wait) bool { return now.After(w.deadline) })
}

// leaderReady is how long after its election a stream's leader takes writes.
const leaderReady = 30 * time.Millisecond

// elected takes NATS's message that the stream has another leader. What the leader before did not answer, nobody will
// answer: those writes are given up once the new leader takes writes, which is much sooner than expire would.
func (s *store) elected(*nats.Msg) {
	s.mu.Lock()
	last := s.count
	s.mu.Unlock()
	time.AfterFunc(leaderReady, func() { s.giveUp(func(id uint64, _ wait) bool { return id <= last }) })
}

// giveUp ends the waiting for some writes: their outcome is unknown.
func (s *store) giveUp(on func(uint64, wait) bool) {
	var late []wait
	s.mu.Lock()
	for id, w := range s.waiting {
		if on(id, w) {
			late = append(late, w)
			delete(s.waiting, id)
		}
	}
	s.mu.Unlock()
	for _, w := range late {
		w.done(0, errUnknown)
	}
}

// reply takes the answer to a write.
func (s *store) reply(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	sequence, err := ack(m)
	s.settle(id, sequence, err)
}

// ack reads an acknowledgement of JetStream: the sequence of the message, or one of the outcomes above. It looks for two
// numbers in the text, because to decode the JSON of every acknowledgement costs more.
func ack(m *nats.Msg) (uint64, error) {
	if m.Header.Get("Status") == "503" { // nobody received the write
		return 0, errNoLeader
	}
	text := string(m.Data)
	if i := strings.Index(text, `"err_code":`); i >= 0 {
		code, _ := strconv.Atoi(digits(text[i+len(`"err_code":`):]))
		if code == 10071 {
			return 0, errFenced
		}
		return 0, fmt.Errorf("%w: %s", errBusy, text)
	}
	i := strings.Index(text, `"seq":`)
	if i < 0 {
		return 0, fmt.Errorf("%w: %q", errUnknown, text)
	}
	return strconv.ParseUint(digits(text[i+len(`"seq":`):]), 10, 64)
}

// digits returns the digits with which a text begins, behind spaces.
func digits(s string) string {
	s = strings.TrimLeft(s, " ")
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n]
}
