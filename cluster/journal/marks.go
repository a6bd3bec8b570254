package journal

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/marks"
	"lamplight/cluster/subject"
)

// Look returns how the streams look that the journal of an installation has, and the marks of the directory that the journal
// keeps. A journal that was never made has no streams. Look blocks, and waits for a cluster of NATS servers that is not ready
// yet.
func Look(ctx context.Context, c Config) (found map[string]marks.Found, ofDirectory marks.Marks, err error) {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return nil, nil, err
	}
	found = map[string]marks.Found{}
	first := newStore(js, c, 0)
	for n, of := 0, 1; n < of; n++ {
		s := newStore(js, c, n)
		var stream jetstream.Stream
		err := s.untilAnswered(ctx, func(try context.Context) (err error) { stream, err = js.Stream(try, s.name); return err })
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		info := stream.CachedInfo()
		if n == 0 {
			if err := s.checkInfo(info); err != nil {
				return nil, nil, err
			}
			of = s.layout.streams
		}
		found[s.name] = marks.Found{Mark: marks.Mark{Created: info.Created, Sequence: info.State.LastSeq}, Restored: info.Config.Metadata[MadeByKey] != ""}
	}
	if len(found) == 0 { // the first stream, which says how many there are, is not there
		return found, nil, nil
	}
	err = first.untilAnswered(ctx, func(try context.Context) error {
		sequence, m, err := first.mark(try)
		if err != nil && sequence > 0 {
			c.Log.Error("the journal's marks of the directory can't be read, and are written again", "subject", first.subject+subject.Mark, "err", err)
			return nil
		}
		ofDirectory = m
		return err
	})
	return found, ofDirectory, err
}

// untilAnswered calls f, which asks NATS, until NATS has answered or ctx ends. A cluster of NATS servers without a leader does
// not answer at all, so each call has a context that ends early. A single server is asked once.
func (s *store) untilAnswered(ctx context.Context, f func(context.Context) error) error {
	for {
		try, cancel := context.WithTimeout(ctx, findWithin(s.nc))
		err := f(try)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) || ctx.Err() != nil || alone(s.nc) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// mark reads the marks of the directory that the first stream keeps, and the sequence of the message. Sequence 0: it keeps
// none.
func (s *store) mark(ctx context.Context) (sequence uint64, m marks.Marks, err error) {
	got, err := s.getAtLeader(ctx, `{"last_by_subj":`+strconv.Quote(s.subject+subject.Mark)+`}`)
	if err != nil || got == nil {
		return 0, nil, err
	}
	m, err = marks.Decode(got.Data)
	return got.Sequence, m, err
}

// Keep writes the marks of the directory into the first stream, unless another node writes at the same time. It blocks.
func (j *Journal) Keep(ctx context.Context, m marks.Marks) error {
	s := j.streams[0].store
	sequence, _, err := s.mark(ctx)
	if err != nil && sequence == 0 {
		return err
	}
	_, err = s.js.PublishMsg(ctx, &nats.Msg{Subject: s.subject + subject.Mark, Data: m.Encode()},
		jetstream.WithExpectLastSequencePerSubject(sequence), jetstream.WithRetryAttempts(0))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return nil
	}
	return err
}

// Seen returns what this node has seen acknowledged of each stream.
func (j *Journal) Seen() marks.Marks {
	m := marks.Marks{}
	for _, s := range j.streams {
		s.mu.Lock()
		created := s.store.created
		s.mu.Unlock()
		m[s.store.name] = marks.Mark{Created: created, Sequence: s.store.acknowledged()}
	}
	return m
}
