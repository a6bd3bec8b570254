// Package journal keeps the records of all extensions in JetStream, and with them who owns which shard
// (JOURNAL.md). store.go speaks to NATS, committer.go queues and fences writes, journal.go drives the rules of
// package ownership with what NATS answers. It calls the shards of package actors; they call Write, Number and
// Standing, which never block.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/actors/presence"
)

// Outcomes of a write that was not accepted.
var (
	errFenced  = errors.New("journal: the condition no longer holds")
	errBusy    = errors.New("journal: refused for now")
	errUnknown = errors.New("journal: no answer; it may or may not have been kept")
	errMissing = errors.New("journal: no such record")
)

// store is one stream of the journal as NATS shows it. Its callbacks run on one goroutine.
type store struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	name    string
	subject string // "<prefix>lamplight.journal.<n>."
	created time.Time

	inbox   string
	replies *nats.Subscription
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]wait
}

type wait struct {
	done     func(sequence uint64, err error)
	deadline time.Time
}

type storeConfig struct {
	prefix   string
	number   int
	memory   bool
	replicas int
}

// open makes the stream if it is not there and checks that it is the one that we need.
func openStore(ctx context.Context, nc *nats.Conn, c storeConfig) (*store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	s := &store{nc: nc, js: js, waiting: map[uint64]wait{}, inbox: nats.NewInbox(),
		name:    strings.ToUpper(strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(c.prefix)) + "LAMPLIGHT_JOURNAL_" + strconv.Itoa(c.number),
		subject: c.prefix + "lamplight.journal." + strconv.Itoa(c.number) + "."}
	want := jetstream.StreamConfig{Name: s.name, Subjects: []string{s.subject + ">"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
		AllowMsgTTL: true, AllowDirect: true, AllowAtomicPublish: true, Storage: jetstream.FileStorage, Replicas: max(c.replicas, 1),
		Description: "Lamplight's records: last message per subject is the state"}
	if c.memory {
		want.Storage = jetstream.MemoryStorage
	}
	stream, err := js.Stream(ctx, s.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("journal stream %s: %w", s.name, err)
	}
	info := stream.CachedInfo()
	if got := info.Config; got.Storage != want.Storage {
		return nil, fmt.Errorf("the journal is kept in %v storage, not %v: start with the --storage that it was made with, or with another --data", got.Storage, want.Storage)
	} else if !got.AllowDirect || !got.AllowMsgTTL || !got.AllowAtomicPublish || got.MaxMsgsPerSubject != 1 {
		return nil, fmt.Errorf("stream %s exists with other settings than the journal needs; remove it or choose another --prefix", s.name)
	}
	s.created = info.Created
	return s, nil
}

func (s *store) start() error {
	var err error
	s.replies, err = s.nc.Subscribe(s.inbox+".*", s.reply)
	if err != nil {
		return err
	}
	return s.replies.SetPendingLimits(-1, -1)
}

func (s *store) close() { _ = s.replies.Unsubscribe() }

// publish writes one record. done is called exactly once: with the sequence, or one of the outcomes above.
func (s *store) publish(m *nats.Msg, within time.Duration, done func(uint64, error)) {
	id := s.expect(within, done)
	m.Reply = s.inbox + "." + strconv.FormatUint(id, 36)
	if err := s.nc.PublishMsg(m); err != nil {
		go s.settle(id, 0, errUnknown) // the caller may hold the lock that done takes
	}
}

func (s *store) expect(within time.Duration, done func(uint64, error)) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.waiting[s.last] = wait{done, time.Now().Add(within)}
	return s.last
}

func (s *store) settle(id, sequence uint64, err error) {
	s.mu.Lock()
	w, ok := s.waiting[id]
	delete(s.waiting, id)
	s.mu.Unlock()
	if ok {
		w.done(sequence, err)
	}
}

// expire gives up on what NATS did not answer in time.
func (s *store) expire(now time.Time) {
	var late []wait
	s.mu.Lock()
	for id, w := range s.waiting {
		if now.After(w.deadline) {
			late = append(late, w)
			delete(s.waiting, id)
		}
	}
	s.mu.Unlock()
	for _, w := range late {
		w.done(0, errUnknown)
	}
}

func (s *store) reply(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	sequence, err := ack(m)
	s.settle(id, sequence, err)
}

// ack reads a publish acknowledgement.
func ack(m *nats.Msg) (uint64, error) {
	if m.Header.Get("Status") == "503" {
		return 0, errUnknown // no stream listens just now; an earlier copy can't exist, but the cost of saying so is small
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

func digits(s string) string {
	s = strings.TrimLeft(s, " ")
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n]
}

// atLeader reads the last message of a subject at the stream's leader. It blocks.
func (s *store) atLeader(ctx context.Context, subject string) (data []byte, sequence uint64, at time.Time, err error) {
	stream, err := s.js.Stream(ctx, s.name)
	if err != nil {
		return nil, 0, at, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, s.subject+subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, at, errMissing
	}
	if err != nil {
		return nil, 0, at, err
	}
	return m.Data, m.Sequence, m.Time, nil
}

// name of a record below its shard: <0-f>.<kind>.<hash>. No outside name is ever part of a subject.
func recordName(k presence.Kind, to actors.Address, key string) string {
	h := sha256.New()
	var n [8]byte
	for _, part := range [...]string{string(rune(k)), to.Realm, to.User, key} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	var sum [sha256.Size]byte
	name := hex.EncodeToString(h.Sum(sum[:0])[:16])
	return name[:1] + "." + string(rune(k)) + "." + name
}

// read gives the last messages of all subjects that match, by direct get (JOURNAL.md rule 6): the shard's records
// and its claim in one answer. It blocks.
func (s *store) read(ctx context.Context, filters ...string) (found []*nats.Msg, err error) {
	full := make([]string, len(filters))
	for i, f := range filters {
		full[i] = strconv.Quote(s.subject + f)
	}
	return s.direct(ctx, `{"multi_last":[`+strings.Join(full, ",")+`]}`)
}

// pages gives the messages of all subjects that match, however many.
func (s *store) pages(ctx context.Context, filter string) (found []*nats.Msg, err error) {
	for from := uint64(1); ; {
		part, err := s.direct(ctx, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q,"batch":1000}`, from, s.subject+filter))
		if err != nil || len(part) == 0 {
			return found, err
		}
		found = append(found, part...)
		_, last, _ := stored(part[len(part)-1])
		from = last + 1
	}
}

func (s *store) direct(ctx context.Context, request string) (found []*nats.Msg, err error) {
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, 2048)
	sub, err := s.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+s.name, inbox, []byte(request)); err != nil {
		return nil, err
	}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case m := <-answers:
			switch m.Header.Get("Status") {
			case "":
				found = append(found, m)
			case "204": // end of batch
				return found, nil
			case "404":
				return nil, nil
			case "413":
				return nil, errTooMany
			default:
				return nil, fmt.Errorf("journal: direct get: %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
			}
		}
	}
}

var errTooMany = errors.New("journal: more subjects than one answer holds")

// stored reads the headers that JetStream puts on a message it gives back.
func stored(m *nats.Msg) (subject string, sequence uint64, at time.Time) {
	sequence, _ = strconv.ParseUint(m.Header.Get(nats.JSSequence), 10, 64)
	at, _ = time.Parse(time.RFC3339Nano, m.Header.Get(nats.JSTimeStamp))
	return m.Header.Get(nats.JSSubject), sequence, at
}
