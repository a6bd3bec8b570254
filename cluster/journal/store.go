// Package journal keeps the records of all extensions in JetStream, and with them who owns which shard
// (docs/contract/journal.md). store.go speaks to NATS, committer.go queues and fences writes, journal.go drives the rules of
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
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
)

// Outcomes of a write that was not accepted.
var (
	errFenced  = errors.New("journal: the condition no longer holds")
	errBusy    = errors.New("journal: refused for now")
	errAbsent  = fmt.Errorf("%w: the stream has no leader", errBusy)
	errUnknown = errors.New("journal: no answer; it may or may not have been kept")
)

// store is one stream of the journal as NATS shows it. Its callbacks run on one goroutine.
type store struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	name     string
	subject  string // "<prefix>lamplight.journal.<n>."
	news     string // subject on which nodes tell each other of leases and claims
	streams  int    // how many the journal has
	replicas int
	created  time.Time // guarded by the stream's lock

	asking sync.Mutex // guards the two below, and lets one ask at a time
	asked  time.Time
	madeAt time.Time

	inbox   string
	heard   []*nats.Subscription
	mu      sync.Mutex
	count   uint64
	waiting map[uint64]wait
}

type wait struct {
	done     func(sequence uint64, err error)
	deadline time.Time
}

// openStores finds the journal's streams, or makes them. How many there are is fixed when they are made, and stands in
// the first one's metadata.
func openStores(ctx context.Context, c Config) ([]*store, error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, err
	}
	first, err := openStore(ctx, js, c, 0, c.streams())
	if err != nil {
		return nil, err
	}
	stores := []*store{first}
	for n := 1; n < first.streams; n++ {
		s, err := openStore(ctx, js, c, n, first.streams)
		if err != nil {
			return nil, err
		}
		stores = append(stores, s)
	}
	return stores, nil
}

// streams is how many are made.
func (c *Config) streams() int {
	switch {
	case c.Streams > 0:
		return c.Streams
	case c.Replicas > 1:
		return 4
	}
	return 1
}

// Metadata of the streams.
const (
	streamsKey   = "lamplight-streams"
	restoringKey = "lamplight-restoring" // on the first stream, while a restore is under way
)

// ErrRestoring says that the journal is not whole.
var ErrRestoring = errors.New("a restore is under way, or was interrupted: run lamplight restore again, to its end")

// streamName is the name of a stream of the journal.
func streamName(prefix subject.Prefix, number int) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(string(prefix))) + "LAMPLIGHT_JOURNAL_" + strconv.Itoa(number)
}

// newStore is a store that is not open yet.
func newStore(js jetstream.JetStream, c Config, number int) *store {
	return &store{nc: c.Conn, js: js, waiting: map[uint64]wait{}, inbox: c.Conn.NewInbox(), name: streamName(c.Prefix, number),
		subject: c.Prefix.Of(subject.Records(number)), news: c.Prefix.Of(subject.Claims(number))}
}

// settings are those of a stream that is made.
func (s *store) settings(c Config, of int) jetstream.StreamConfig {
	want := jetstream.StreamConfig{Name: s.name, Subjects: []string{s.subject + ">"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
		AllowMsgTTL: true, AllowDirect: true, AllowAtomicPublish: true, Storage: jetstream.FileStorage, Replicas: max(c.Replicas, 1),
		Description: "Lamplight's records: last message per subject is the state", Metadata: map[string]string{streamsKey: strconv.Itoa(of)}}
	if c.Memory {
		want.Storage = jetstream.MemoryStorage
	}
	return want
}

// openStore makes the stream if it is not there and checks that it is the one that we need.
func openStore(ctx context.Context, js jetstream.JetStream, c Config, number, of int) (*store, error) {
	s := newStore(js, c, number)
	want := s.settings(c, of)
	stream, err := findOrMake(ctx, js, want, c.Log)
	if err != nil {
		return nil, fmt.Errorf("journal stream %s: %w", s.name, err)
	}
	if err := s.found(stream.CachedInfo()); err != nil {
		return nil, err
	}
	if got := stream.CachedInfo().Config.Storage; got != want.Storage {
		return nil, fmt.Errorf("the journal is kept in %v storage, not %v: start with the --storage that it was made with, or with another --data", got, want.Storage)
	}
	return s, nil
}

// found checks a stream that is there.
func (s *store) found(info *jetstream.StreamInfo) error {
	got := info.Config
	s.created, s.replicas = info.Created, got.Replicas
	s.streams = 1 // the first release made one and did not say so
	if n, ok := got.Metadata[streamsKey]; ok {
		s.streams, _ = strconv.Atoi(n)
	}
	switch {
	case got.Metadata[restoringKey] != "":
		return ErrRestoring
	case !got.AllowDirect || !got.AllowMsgTTL || !got.AllowAtomicPublish || got.MaxMsgsPerSubject != 1:
		return fmt.Errorf("stream %s exists with other settings than the journal needs; remove it or choose another --prefix", s.name)
	case s.streams < 1 || s.streams > maxStreams:
		return fmt.Errorf("stream %s says nothing good of how many streams the journal has (metadata %s); remove it or choose another --prefix", s.name, streamsKey)
	}
	return nil
}

const maxStreams = 64

// How long one attempt to find a stream may take, and to make it. A cluster that has no leader yet does not answer at
// all, so it is asked again soon.
const (
	findTime = 500 * time.Millisecond
	makeTime = 5 * time.Second
)

// alone says that NATS is one server, which has no leader to wait for.
func alone(nc *nats.Conn) bool { return nc.ConnectedClusterName() == "" }

func findWithin(nc *nats.Conn) time.Duration {
	if alone(nc) {
		return makeTime
	}
	return findTime
}

// findOrMake waits, as long as the context lasts, for a cluster that is still coming together.
func findOrMake(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, log *slog.Logger) (jetstream.Stream, error) {
	for said := time.Now(); ; {
		try, cancel := context.WithTimeout(ctx, findWithin(js.Conn()))
		stream, err := js.Stream(try, want.Name)
		cancel()
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			try, cancel := context.WithTimeout(ctx, makeTime)
			stream, err = js.CreateStream(try, want)
			cancel()
		}
		if err == nil || ctx.Err() != nil || alone(js.Conn()) {
			return stream, err
		}
		if log != nil && time.Since(said) > 5*time.Second {
			said = time.Now()
			log.Warn("the journal's stream can't be had yet; with fewer than three JetStream servers give --replicas 1", "stream", want.Name, "replicas", want.Replicas, "err", err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// start hears answers, and what other nodes tell of this stream.
func (s *store) start(hear nats.MsgHandler) error {
	elected := "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + s.name
	for topic, handler := range map[string]nats.MsgHandler{s.inbox + ".*": s.reply, s.news: hear, elected: s.elected} {
		heard, err := s.nc.Subscribe(topic, handler)
		if err != nil {
			return err
		}
		if err := heard.SetPendingLimits(-1, 256<<20); err != nil {
			return err
		}
		s.heard = append(s.heard, heard)
	}
	return nil
}

func (s *store) close() {
	for _, heard := range s.heard {
		_ = heard.Unsubscribe()
	}
}

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
	s.count++
	s.waiting[s.count] = wait{done, time.Now().Add(within)}
	return s.count
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
	s.giveUp(func(_ uint64, w wait) bool { return now.After(w.deadline) })
}

// takesOver is how long a stream's leader needs from being elected to taking writes.
const takesOver = 30 * time.Millisecond

// elected hears that the stream has another leader. What the one before did not answer, nobody will.
func (s *store) elected(*nats.Msg) {
	s.mu.Lock()
	last := s.count
	s.mu.Unlock()
	time.AfterFunc(takesOver, func() { s.giveUp(func(id uint64, _ wait) bool { return id <= last }) })
}

// giveUp takes the outcome of some of what has no answer for unknown.
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
		return 0, errAbsent // nobody got it
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

// atLeader reads the last message of a subject at the stream's leader, and when the stream was made; sequence 0: there
// is no such message. It blocks.
func (s *store) atLeader(ctx context.Context, name string) (created time.Time, data []byte, sequence uint64, at time.Time, err error) {
	if created, err = s.made(ctx); err != nil {
		return created, nil, 0, at, err
	}
	m, err := s.ask(ctx, fmt.Sprintf(`{"last_by_subj":%q}`, s.subject+name))
	if err != nil || m == nil {
		return created, nil, 0, at, err
	}
	return created, m.Data, m.Sequence, m.Time, nil
}

// madeGood is how long it counts when a stream was seen to be made: it costs the servers far more to say than what a
// message holds, and after a stall every shard has a claim to read.
const madeGood = 100 * time.Millisecond

// made asks when the stream was made.
func (s *store) made(ctx context.Context) (time.Time, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if err := ctx.Err(); err != nil || time.Since(s.asked) < madeGood {
		return s.madeAt, err
	}
	stream, err := s.js.Stream(ctx, s.name)
	if err == nil {
		s.asked, s.madeAt = time.Now(), stream.CachedInfo().Created
	}
	return s.madeAt, err
}

// kept is a message as the leader gives it.
type kept struct {
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// ask asks the stream's leader for a message; nil: there is none. (The client library would take a direct get, which
// any replica answers.)
func (s *store) ask(ctx context.Context, request string) (*kept, error) {
	answer, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.name, []byte(request))
	if err != nil {
		return nil, err
	}
	var got struct {
		Message *kept               `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, err
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case got.Error != nil:
		return nil, got.Error
	case got.Message == nil:
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	return got.Message, nil
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

// last gives the last messages of all subjects that match, by direct get (docs/contract/journal.md, rule 6), of one moment. It blocks.
func (s *store) last(ctx context.Context, filters ...string) ([]*nats.Msg, error) {
	full := make([]string, len(filters))
	for i, f := range filters {
		full[i] = strconv.Quote(s.subject + f)
	}
	return s.direct(ctx, `{"multi_last":[`+strings.Join(full, ",")+`]}`)
}

// newer is last, for messages from a sequence on.
func (s *store) newer(ctx context.Context, filter string, from uint64) ([]*nats.Msg, error) {
	return s.direct(ctx, fmt.Sprintf(`{"multi_last":[%q],"seq":%d}`, s.subject+filter, from))
}

// page gives the first last messages of subjects that match, from a sequence on, at most pageSize.
func (s *store) page(ctx context.Context, filter string, from uint64) ([]*nats.Msg, error) {
	return s.direct(ctx, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q,"batch":%d}`, from, s.subject+filter, pageSize))
}

const pageSize = 1000

// pages gives the last messages of a shard's bucket, however many. Pages may come from replicas that lag more or
// less, so it goes on until it has read the claim, which is newer than all of the bucket: whatever a lagging replica
// still showed is then replaced by what came after. Without the claim the answer is not complete, and says so by that.
func (s *store) pages(ctx context.Context, filter, everything, claim, bucket string) ([]*nats.Msg, error) {
	newest := map[string]*nats.Msg{}
	from := uint64(1)
	for f := filter; ; {
		part, err := s.page(ctx, f, from)
		if err != nil {
			return nil, err
		}
		for _, m := range part {
			full, sequence, _ := stored(m)
			if name := strings.TrimPrefix(full, s.subject); name == claim || strings.HasPrefix(name, bucket) {
				newest[full] = m
			}
			from = sequence + 1
		}
		switch {
		case len(part) > 0:
		case f == filter:
			f = everything
		default:
			found := make([]*nats.Msg, 0, len(newest))
			for _, m := range newest {
				found = append(found, m)
			}
			return found, nil
		}
	}
}

func (s *store) direct(ctx context.Context, request string) (found []*nats.Msg, err error) {
	inbox := s.nc.NewInbox()
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
				if len(found) > 0 || strings.HasPrefix(m.Header.Get("Description"), "Message") {
					return nil, errBehind // one of them went meanwhile
				}
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
