package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/bench/gaps"
	"lamplight/cluster/subject"
)

// edge does what BUS.md asks of who sends the NOTIFYs: it takes each message, says what it misses, answers for its
// watchers, and drops what an owner sent that no longer is one.
type edge struct {
	name  string
	conn  *nats.Conn
	model *model
	stop  chan struct{}
	done  sync.WaitGroup

	mu      sync.Mutex
	sources gaps.Sources
	claims  map[int64]claim   // by shard
	replies map[string][]byte // by node: the inner part of the document
	upAt    time.Time
}

type claim struct {
	epoch      string // RFC 3339 in UTC: it compares as text
	generation int64
}

func newEdge(name string, conn *nats.Conn, m *model) (*edge, error) {
	e := &edge{name: name, conn: conn, model: m, stop: make(chan struct{}), sources: gaps.Sources{}, claims: map[int64]claim{}, replies: map[string][]byte{}}
	s, err := conn.Subscribe("lamplight.notify."+subject.Token(name), e.hear)
	if err != nil {
		return nil, err
	}
	_ = s.SetPendingLimits(-1, -1)
	e.up()
	e.done.Go(e.speak)
	return e, conn.Flush()
}

func (e *edge) close() {
	close(e.stop)
	e.done.Wait()
}

func (e *edge) speak() {
	gaps.Speak(e.stop, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.up()
	}, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for node := range e.replies {
			e.answer(node)
		}
	})
}

// up says up to where nothing is missing. The lock is held.
func (e *edge) up() {
	e.upAt = time.Now()
	b := fmt.Appendf(nil, `{"Edge":%q,"Incarnation":"1","Seen":{`, e.name)
	comma := ""
	for name, n := range e.sources.Seen() {
		b = fmt.Appendf(b, `%s%q:%d`, comma, name, n)
		comma = ","
	}
	_ = e.conn.Publish("lamplight.edge.up."+subject.Token(e.name), append(b, "}}"...))
}

// answer sends what the watchers answered. The lock is held.
func (e *edge) answer(node string) {
	b := fmt.Appendf(nil, `{"Edge":%q,"Replies":[`, e.name)
	b = append(append(b, e.replies[node]...), "]}"...)
	delete(e.replies, node)
	_ = e.conn.Publish("lamplight.notified."+subject.Token(node)+"."+subject.Token(e.name), b)
}

// maxReplies is where an answer is sent before its time: 500 replies of this size stay well below a message's limit.
const maxReplies = 64 << 10

// hear takes one message of the fan-out. It looks for the fields that it needs instead of decoding all, since the
// generator shares its machine with what it measures. Within a string quotes are escaped, so no value looks like a key.
func (e *edge) hear(m *nats.Msg) {
	now := time.Now()
	head, targets, ok := bytes.Cut(m.Data, []byte(`"Targets":[`))
	if !ok {
		e.model.wrong("an edge got no NOTIFY: %.200q", m.Data)
		return
	}
	node, incarnation := text(head, `"Node":"`), text(head, `"Incarnation":"`)
	number, sequence := integer(head, `"Edge-Seq":`), integer(head, `"Sequence":`)
	presentity, pkg, state := text(head, `"Presentity":"`), text(head, `"Event-Package":"`), text(head, `"State":"`)
	e.mu.Lock()
	defer e.mu.Unlock()
	repeated, twice, gap := e.sources.Take(string(node)+"/"+string(incarnation), number)
	if gap && time.Since(e.upAt) > 100*time.Millisecond {
		e.up()
	}
	if twice {
		e.model.sentAgain.Add(1)
		return
	}
	shard, c := integer(head, `"Shard":`), claim{string(text(head, `"Epoch":"`)), integer(head, `"Generation":`)}
	if last := e.claims[shard]; c.epoch < last.epoch || c.epoch == last.epoch && c.generation < last.generation {
		e.model.fenced.Add(1)
		return
	}
	e.claims[shard] = c
	replies := e.replies[string(node)]
	told := notified{extension: string(presentity), state: lampOf(state), sequence: sequence, epoch: c.epoch, repeated: repeated, now: now}
	same := fmt.Appendf(nil, `{"Presentity":"%s","Event-Package":"%s","Sequence":%d,"Reply":200,"Call-ID":"`, presentity, pkg, sequence)
	for {
		callID := text(targets, `"Call-ID":"`)
		if callID == nil {
			break
		}
		told.watchers = append(told.watchers, e.model.world.watcher(string(callID)))
		if len(replies) > 0 {
			replies = append(replies, ',')
		}
		replies = append(append(append(replies, same...), callID...), `"}`...)
		targets = targets[bytes.Index(targets, []byte(`"Call-ID":"`))+len(`"Call-ID":"`):]
		if len(replies) > maxReplies {
			e.replies[string(node)] = replies
			e.answer(string(node))
			replies = nil
		}
	}
	e.replies[string(node)] = replies
	e.model.told(&told)
}

// text is the string after a key, as long as it holds no escapes: the names and words of a run don't.
func text(b []byte, key string) []byte {
	i := bytes.Index(b, []byte(key))
	if i < 0 {
		return nil
	}
	b = b[i+len(key):]
	return b[:max(bytes.IndexByte(b, '"'), 0)]
}

// integer is the number after a key; -1: there is none.
func integer(b []byte, key string) int64 {
	i := bytes.Index(b, []byte(key))
	if i < 0 {
		return -1
	}
	b = b[i+len(key):]
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(b[:end]), 10, 64)
	if err != nil {
		return -1
	}
	return n
}
