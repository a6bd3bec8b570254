package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/ring"
	"lamplight/cluster/subject"
)

// The functions of this file block until NATS has answered or the context ends.

// atLeader reads the last message of a subject at the stream's leader, and when the stream was created. Sequence 0 means
// that there is no such message.
func (s *store) atLeader(ctx context.Context, name string) (created time.Time, data []byte, sequence uint64, at time.Time, err error) {
	if created, err = s.askCreated(ctx); err != nil {
		return created, nil, 0, at, err
	}
	m, err := s.getAtLeader(ctx, fmt.Sprintf(`{"last_by_subj":%q}`, s.subject+name))
	if err != nil || m == nil {
		return created, nil, 0, at, err
	}
	return created, m.Data, m.Sequence, m.Time, nil
}

// createdFresh is how long an answer of askCreated counts. The question costs the NATS servers far more than reading a
// message, and after a stall there is a claim to read for every shard.
const createdFresh = 100 * time.Millisecond

// askCreated asks when the stream was created. One caller asks at a time; the others wait and use its answer.
func (s *store) askCreated(ctx context.Context) (time.Time, error) {
	s.createdMu.Lock()
	defer s.createdMu.Unlock()
	if err := ctx.Err(); err != nil || time.Since(s.createdAsked) < createdFresh {
		return s.createdSeen, err
	}
	stream, err := s.js.Stream(ctx, s.name)
	if err == nil {
		s.createdAsked, s.createdSeen = time.Now(), stream.CachedInfo().Created
	}
	return s.createdSeen, err
}

// leaderMessage is a message as the stream's leader returns it.
type leaderMessage struct {
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// getAtLeader asks the stream's leader for a message; nil: there is none. The client library's own method would ask any
// replica, by a direct get, because the stream allows that.
func (s *store) getAtLeader(ctx context.Context, request string) (*leaderMessage, error) {
	answer, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.name, []byte(request))
	if err != nil {
		return nil, err
	}
	var got struct {
		Message *leaderMessage      `json:"message"`
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

// last returns the last message of each subject that matches a filter, from any replica (docs/contract/journal.md, rule 6). One answer has
// answerBytes at most, so it may take several questions. upTo is the sequence up to which all replicas that answered had the stream.
func (s *store) last(ctx context.Context, filters ...string) (all []*nats.Msg, upTo uint64, err error) {
	full := make([]string, len(filters))
	for i, f := range filters {
		full[i] = strconv.Quote(s.subject + f)
	}
	upTo = math.MaxUint64
	for from := uint64(1); ; {
		found, end, err := s.directGet(ctx, fmt.Sprintf(`{"multi_last":[%s],"seq":%d,"max_bytes":%d}`, strings.Join(full, ","), from, answerBytes), mostAnswers)
		if err == nil && end == nil && from > 1 {
			err = errBehind // this replica lacks what another one said is still to come
		}
		if err != nil || end == nil {
			return all, upTo, err
		}
		all = append(all, found...)
		if had, err := strconv.ParseUint(end.Get("Nats-UpTo-Sequence"), 10, 64); err == nil {
			upTo = min(upTo, had)
		}
		if pending, _ := strconv.Atoi(end.Get("Nats-Num-Pending")); pending == 0 {
			return all, upTo, nil
		}
		_, last, _ := parseStored(found[len(found)-1])
		from = last + 1
	}
}

// whole is last for the claim of a range and all slots of some ranges, also when these are more than one answer holds. Then it asks for slots by
// their numbers. Each question asks for the claim, too, so that each answer says up to which sequence its replica has the stream. The answers are of
// different moments. A record that was carried on between two of them could be in none. So what was written meanwhile is read after them,
// and a slot may be among the messages more than once: ring.Load takes the newest of them.
func (s *store) whole(ctx context.Context, claim string, slots ...string) (all []*nats.Msg, upTo uint64, err error) {
	if all, upTo, err = s.last(ctx, append(slots, claim)...); !errors.Is(err, errTooMany) {
		return all, upTo, err
	}
	all, upTo = nil, math.MaxUint64
	newest := map[string]uint64{} // the highest sequence of each range
	var held *nats.Msg            // the newest claim
	claimed := uint64(0)          // its sequence
	ask := func(of string, names ...string) error {
		found, had, err := s.last(ctx, append(names, claim)...)
		switch {
		case err != nil:
			return err
		case had == math.MaxUint64: // a replica that has not even the claim
			return errBehind
		}
		upTo = min(upTo, had)
		for _, m := range found {
			switch name, sequence, _ := parseStored(m); {
			case name != s.subject+claim:
				newest[of] = max(newest[of], sequence)
				all = append(all, m)
			case sequence > claimed:
				held, claimed = m, sequence
			}
		}
		return nil
	}
	for _, of := range slots {
		err := ask(of, of)
		for first := 0; errors.Is(err, errTooMany) && first < maxSlots; first += slotsAsked {
			names := make([]string, slotsAsked, slotsAsked+1)
			for i := range names {
				names[i] = strings.TrimSuffix(of, "*") + strconv.Itoa(first+i)
			}
			if err := ask(of, names...); err != nil {
				return nil, 0, err
			}
		}
		if err != nil && !errors.Is(err, errTooMany) {
			return nil, 0, err
		}
	}
	for _, of := range slots {
		if newest[of] > upTo {
			written, err := s.since(ctx, of, upTo+1, newest[of])
			if err != nil {
				return nil, 0, err
			}
			all = append(all, written...)
		}
	}
	if held != nil {
		all = append(all, held)
	}
	return all, upTo, nil
}

// since reads the messages of a range's slots from a sequence on, in the order of their sequences. A message that is replaced meanwhile comes later, as does
// the one that carried its records on. A replica that lacks the sequence newest would miss some: errBehind.
func (s *store) since(ctx context.Context, slots string, from, newest uint64) (all []*nats.Msg, err error) {
	for more := true; more; {
		var found []*nats.Msg
		if found, more, err = s.page(ctx, slots, from); err != nil {
			return nil, err
		}
		if len(found) > 0 {
			_, last, _ := parseStored(found[len(found)-1])
			from = last + 1
		}
		all = append(all, found...)
	}
	if from <= newest {
		return nil, errBehind
	}
	return all, nil
}

// slotsAsked is how many slots are asked for at once by their numbers: less than mostAnswers.
const slotsAsked = 1000

// answerBytes bounds an answer of NATS, which it sends without a pause: a client that does not keep up loses its connection.
const answerBytes = 8 << 20

// slots returns messages of a range's slots, as many as fit into maxMessage bytes, those with the lowest sequences first. prefix is what their
// subjects begin with.
func (s *store) slots(ctx context.Context, prefix string, wanted []int) (messages []ring.Message, err error) {
	var names strings.Builder
	for i, slot := range wanted {
		if i > 0 {
			names.WriteByte(',')
		}
		names.WriteString(strconv.Quote(prefix + strconv.Itoa(slot)))
	}
	found, _, err := s.directGet(ctx, fmt.Sprintf(`{"multi_last":[%s],"max_bytes":%d}`, names.String(), maxMessage), len(wanted))
	for _, m := range found {
		name, sequence, at := parseStored(m)
		if _, slot, ok := subject.ParseSlot(strings.TrimPrefix(name, s.subject)); ok {
			messages = append(messages, ring.Message{Slot: slot, Sequence: sequence, At: at.UnixMicro(), Data: m.Data})
		}
	}
	return messages, err
}

// newer returns the last message of each subject that matches, if its sequence is at least from.
func (s *store) newer(ctx context.Context, filter string, from uint64) ([]*nats.Msg, error) {
	found, _, err := s.directGet(ctx, fmt.Sprintf(`{"multi_last":[%q],"seq":%d}`, s.subject+filter, from), mostAnswers)
	return found, err
}

// page returns the first messages of subjects that match, from a sequence on: pageSize at most, and answerBytes. more says that others follow.
func (s *store) page(ctx context.Context, filter string, from uint64) (found []*nats.Msg, more bool, err error) {
	found, end, err := s.directGet(ctx, fmt.Sprintf(`{"seq":%d,"next_by_subj":%q,"batch":%d,"max_bytes":%d}`, from, s.subject+filter, pageSize, answerBytes), pageSize)
	if errors.Is(err, errMissing) { // there is none
		return nil, false, nil
	}
	pending, _ := strconv.Atoi(end.Get("Nats-Num-Pending"))
	return found, pending > 0, err
}

const pageSize = 1000

// mostAnswers is how many messages NATS returns for subjects with wildcards.
const mostAnswers = 1024

// replicaPatience is how long directGet waits for the next message before it asks once more.
const replicaPatience = 250 * time.Millisecond

// directGet makes a direct get, which any replica answers with one message for each found. When no message comes for
// replicaPatience it asks once more, because NATS may have chosen a replica whose server is frozen. NATS chooses anew for each
// question, and may choose the frozen one several times in a row. So directGet never waits longer than the first time, and it
// still takes the answers to the earlier questions, because a replica may just be slow. It returns the first answer that is whole, and the header of the message
// that ends it (nil: nothing was found), errTooMany for more subjects than one answer may have, and errBehind when messages were replaced while the replica answered.
func (s *store) directGet(ctx context.Context, request string, most int) ([]*nats.Msg, nats.Header, error) {
	inbox := s.nc.NewInbox() + "."
	answers := make(chan *nats.Msg, 2*most+2) // the question may have to be asked twice
	subscription, err := s.nc.ChanSubscribe(inbox+"*", answers)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = subscription.Unsubscribe() }()
	found := map[string][]*nats.Msg{} // of each question, by the subject of its answer
	ask := time.NewTimer(0)
	defer ask.Stop()
	for asked := 0; ; {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-ask.C:
			if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+s.name, inbox+strconv.Itoa(asked), []byte(request)); err != nil {
				return nil, nil, err
			}
			asked++
			ask.Reset(replicaPatience)
		case m := <-answers:
			ask.Reset(replicaPatience)
			so := found[m.Subject]
			switch m.Header.Get("Status") {
			case "":
				found[m.Subject] = append(so, m)
			case "204": // end of batch
				if lost, err := subscription.Dropped(); err != nil || lost > 0 {
					return nil, nil, errors.Join(errOverrun, err)
				}
				return so, m.Header, nil
			case "404":
				switch missing := strings.HasPrefix(m.Header.Get("Description"), "Message"); {
				case len(so) > 0:
					return nil, nil, errBehind
				case missing:
					return nil, nil, errMissing
				}
				return nil, nil, nil
			case "413":
				return nil, nil, errTooMany
			default:
				return nil, nil, fmt.Errorf("journal: NATS answered a direct get with %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
			}
		}
	}
}

var (
	errTooMany = errors.New("journal: more subjects than one answer holds")
	errOverrun = errors.New("journal: replicas answered faster than the answers were taken, so some are missing")
	errBehind  = errors.New("journal: the replica that answered lags behind the claim")
	errMissing = fmt.Errorf("%w: it lacks a message", errBehind)
)

// parseStored reads the headers that JetStream adds to a message that it returns by a direct get.
func parseStored(m *nats.Msg) (subject string, sequence uint64, at time.Time) {
	sequence, _ = strconv.ParseUint(m.Header.Get(nats.JSSequence), 10, 64)
	at, _ = time.Parse(time.RFC3339Nano, m.Header.Get(nats.JSTimeStamp))
	return m.Header.Get(nats.JSSubject), sequence, at
}
