package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/subject"
)

// store is one stream of the journal in NATS.
type store struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	name    string
	subject string // what the subjects of its messages begin with: "<prefix>lamplight.journal.<n>."
	claims  string // the subject on which nodes tell each other of leases and claims
	layout  layout
	created time.Time // when the stream that we work with was created; guarded by stream.mu

	createdMu    sync.Mutex // guards the two below; held during the request, so that one asks and the others wait for it
	createdAsked time.Time  // when the leader was last asked for it
	createdSeen  time.Time  // when the present stream was created, as the leader said then

	inbox         string // acknowledgements of writes come to subjects below it
	subscriptions []*nats.Subscription
	mu            sync.Mutex
	count         uint64          // of writes; the number of the last one
	waiting       map[uint64]wait // by number: writes that have no answer
	highest       uint64          // the highest sequence that was acknowledged
}

// wait is what is called with the answer to a write.
type wait struct {
	done     func(sequence uint64, err error)
	deadline time.Time
}

// openStores finds the journal's streams, or makes them. Their number is fixed when they are made, and stands in the
// metadata of the first one. It blocks, and waits for a cluster of NATS servers that is not ready yet.
func openStores(ctx context.Context, c Config) ([]*store, error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, err
	}
	first, err := openStore(ctx, js, c, 0, c.layout())
	if err != nil {
		return nil, err
	}
	stores := []*store{first}
	for n := 1; n < first.layout.streams; n++ {
		s, err := openStore(ctx, js, c, n, first.layout)
		if err != nil {
			return nil, err
		}
		if s.layout != first.layout {
			return nil, fmt.Errorf("the metadata of stream %s says %d streams and %d ranges, that of %s %d and %d: they are not of one journal",
				s.name, s.layout.streams, s.layout.shared, first.name, first.layout.streams, first.layout.shared)
		}
		stores = append(stores, s)
	}
	return stores, nil
}

// streams returns how many streams a new journal gets.
func (c *Config) streams() int {
	switch {
	case c.Streams > 0:
		return c.Streams
	case c.Replicas > 1:
		return replicatedStreams
	}
	return 1
}

// replicatedStreams is the number of streams of a journal with several replicas.
const replicatedStreams = 4

// layout returns the layout that a new journal gets.
func (c *Config) layout() layout { return newLayout(c.streams(), c.Replicas, c.Ranges) }

// The keys of the streams' metadata.
const (
	streamsKey   = "lamplight-streams"   // the number of streams
	rangesKey    = "lamplight-ranges"    // the number of ranges that shards share
	restoringKey = "lamplight-restoring" // on the first stream, while a restore is under way
)

// ErrRestoring says that a restore of the journal has begun and has not ended, so that no node may serve from it.
var ErrRestoring = errors.New("a restore is under way, or was interrupted: run lamplight restore again, to its end")

// streamName returns the name of one of the journal's streams.
func streamName(prefix subject.Prefix, number int) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(string(prefix))) + "LAMPLIGHT_JOURNAL_" + strconv.Itoa(number)
}

// newStore makes a store. It asks NATS for nothing.
func newStore(js jetstream.JetStream, c Config, number int) *store {
	return &store{nc: c.Conn, js: js, waiting: map[uint64]wait{}, inbox: c.Conn.NewInbox(), name: streamName(c.Prefix, number),
		subject: c.Prefix.Of(subject.Records(number)), claims: c.Prefix.Of(subject.Claims(number))}
}

// settings returns the settings with which the stream is made: docs/contract/journal.md, "Streams".
func (s *store) settings(c Config, y layout) jetstream.StreamConfig {
	want := jetstream.StreamConfig{Name: s.name, Subjects: []string{s.subject + ">"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew,
		AllowDirect: true, Storage: jetstream.FileStorage, Replicas: max(c.Replicas, 1), Description: "Lamplight's records: last message per subject is the state",
		Metadata: map[string]string{streamsKey: strconv.Itoa(y.streams), rangesKey: strconv.Itoa(y.shared)}}
	if c.Memory {
		want.Storage = jetstream.MemoryStorage
	}
	return want
}

// openStore finds or makes a stream, and refuses one with other settings than the journal needs.
func openStore(ctx context.Context, js jetstream.JetStream, c Config, number int, y layout) (*store, error) {
	s := newStore(js, c, number)
	want := s.settings(c, y)
	stream, err := findOrMake(ctx, js, want, c.Log)
	if err != nil {
		return nil, fmt.Errorf("journal stream %s: %w", s.name, err)
	}
	if err := s.checkInfo(stream.CachedInfo()); err != nil {
		return nil, err
	}
	if got := stream.CachedInfo().Config.Storage; got != want.Storage {
		return nil, fmt.Errorf("the journal is kept in %v storage, and --storage says %v: start with the --storage "+
			"that it was made with, or with another --data", got, want.Storage)
	}
	return s, nil
}

// checkInfo takes over what NATS says of a stream that exists, and refuses a stream that is being restored or has other
// settings than the journal needs.
func (s *store) checkInfo(info *jetstream.StreamInfo) error {
	got := info.Config
	s.created = info.Created
	streams, _ := strconv.Atoi(got.Metadata[streamsKey])
	ranges, _ := strconv.Atoi(got.Metadata[rangesKey])
	s.layout = layout{streams, ranges}
	switch {
	case got.Metadata[restoringKey] != "":
		return ErrRestoring
	case got.Metadata[rangesKey] == "":
		return fmt.Errorf("stream %s is the journal of a release that kept each record in a message of its own; make a backup with that release and restore it here, "+
			"or choose another --prefix or --data", s.name)
	case !got.AllowDirect || got.MaxMsgsPerSubject != 1:
		return fmt.Errorf("stream %s exists with other settings than the journal needs (direct gets, and one message for each subject); "+
			"remove it or choose another --prefix", s.name)
	case streams < 1 || streams > maxStreams || ranges < 1 || ranges > mostRanges || ranges%streams != 0:
		return fmt.Errorf("the metadata %s and %s of stream %s are %q and %q, not a number from 1 to %d and a multiple of it up to %d; remove the stream or choose "+
			"another --prefix", streamsKey, rangesKey, s.name, got.Metadata[streamsKey], got.Metadata[rangesKey], maxStreams, mostRanges)
	}
	return nil
}

const maxStreams = 64

// Streams returns what NATS says of the journal's streams now; none: there is no journal yet. It changes nothing. If NATS says nothing of a
// stream before ctx ends, the error names that stream.
func Streams(ctx context.Context, c Config) (all []*jetstream.StreamInfo, err error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, err
	}
	first := newStore(js, c, 0)
	for n, of := 0, 1; n < of; n++ {
		s := newStore(js, c, n)
		stream, err := js.Stream(ctx, s.name)
		if n == 0 && errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, nil
		}
		if err == nil && n == 0 {
			err = first.checkInfo(stream.CachedInfo())
			of = first.layout.streams
		}
		if err != nil {
			return all, fmt.Errorf("journal stream %s: %w", s.name, err)
		}
		all = append(all, stream.CachedInfo())
	}
	return all, nil
}

// How long one try to find a stream, and to make one, may take. A cluster of NATS servers that has no leader yet does not
// answer at all, so it is asked again soon.
const (
	findTime = 500 * time.Millisecond
	makeTime = 5 * time.Second
)

// alone says whether NATS is a single server, which has no leader to wait for.
func alone(nc *nats.Conn) bool { return nc.ConnectedClusterName() == "" }

// findWithin returns how long one try to find a stream may take.
func findWithin(nc *nats.Conn) time.Duration {
	if alone(nc) {
		return makeTime
	}
	return findTime
}

// findOrMake finds a stream, or makes it if there is none. With a cluster of NATS servers it tries again until the context
// ends: the servers may still be starting.
func findOrMake(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, log *slog.Logger) (jetstream.Stream, error) {
	for logged := time.Now(); ; {
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
		if log != nil && time.Since(logged) > 5*time.Second {
			logged = time.Now()
			log.Warn("NATS neither finds nor makes the journal's stream yet; it is tried again. With fewer than three "+
				"JetStream servers give --replicas 1",
				"stream", want.Name, "replicas", want.Replicas, "err", err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// start subscribes to the answers to writes, to what other nodes tell of leases and claims, and to elections of the
// stream's leader.
func (s *store) start(announced nats.MsgHandler) error {
	elected := "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + s.name
	for topic, handler := range map[string]nats.MsgHandler{s.inbox + ".*": s.reply, s.claims: announced, elected: s.elected} {
		subscription, err := s.nc.Subscribe(topic, handler)
		if err != nil {
			return err
		}
		if err := subscription.SetPendingLimits(-1, 256<<20); err != nil {
			return err
		}
		s.subscriptions = append(s.subscriptions, subscription)
	}
	return nil
}

func (s *store) close() {
	for _, subscription := range s.subscriptions {
		_ = subscription.Unsubscribe()
	}
}
