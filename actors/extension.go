package actors

import (
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"lamplight/actors/presence"
)

// extension is the actor of one extension. It lives in its shard's turn: only the shard sends to it, and the send
// returns when the message has been handled.
type extension struct {
	state   *presence.Extension
	pid     *actor.PID
	ticket  uint64 // of its last write; answers wait until that is durable
	waits   []*waiter
	timer   int32  // place in the shard's heap; -1: none
	claim   uint32 // which opening of the shard counter counts from
	counter uint32
	broken  bool // a panic; its memory is not to be trusted until reloaded
}

// address is its name, which no event changes.
func (x *extension) address() Address { return Address{Realm: x.state.Realm(), User: x.state.User()} }

// turn is one message to an extension and what came of it.
type turn struct {
	event  presence.Event
	now    time.Time
	fx     presence.Effects
	err    error
	reason any // of a panic
	stack  []byte
}

// Receive is protoactor's entry.
func (x *extension) Receive(ctx actor.Context) {
	if t, ok := ctx.Message().(*turn); ok {
		t.fx, t.err = x.state.Apply(t.event, t.now)
	}
}

// inline is the run-to-completion mailbox of an extension's actor.
type inline struct{ invoker actor.MessageInvoker }

func newInline() actor.Mailbox { return &inline{} }

func (m *inline) PostUserMessage(message any) {
	defer func() {
		if r := recover(); r != nil {
			if t, ok := message.(*turn); ok {
				t.reason, t.stack = r, debug.Stack()
				return
			}
			panic(r)
		}
	}()
	m.invoker.InvokeUserMessage(message)
}

func (m *inline) PostSystemMessage(message any) { m.invoker.InvokeSystemMessage(message) }

func (m *inline) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
}
func (m *inline) Start()                {}
func (m *inline) UserMessageCount() int { return 0 }

// waiter is a set or reset whose caller also waits for the watchers' replies.
type waiter struct {
	call     *call
	answer   Answer
	pending  map[*presence.Subscription]uint32 // the Sequence that each must answer
	deadline time.Time
}

// replied counts what the watchers answered since; it says whether all did.
func (w *waiter) replied() bool {
	for s, sequence := range w.pending {
		if s.Acked() < sequence {
			continue
		}
		if s.Reply() >= 300 {
			w.answer.Failed++
		} else {
			w.answer.Acked++
		}
		delete(w.pending, s)
	}
	return len(w.pending) == 0
}

// view appends a copy of what a listing shows of one subscription.
func (s *shard) view(rows []SubscriptionView, x *extension, w *presence.Subscription, document bool) []SubscriptionView {
	v := SubscriptionView{User: x.state.User(), Package: w.Package, CallID: w.CallID, From: w.From, Stalker: w.Stalker(),
		Granted: w.Expires() + int(s.sys.cfg.Rules.Grace/time.Second), Renewed: w.Renewed(), Version: 1, Reply: w.Reply(), Sequence: w.Sequence(),
		UserAgent: w.UserAgent, Contact: w.Contact, SubscriptionID: w.SubscriptionID, ProxyRoute: w.ProxyRoute}
	if w.SubscriptionID != "" {
		v.Version = 2
	}
	if document && w.Sequence() > 0 && w.View() != nil {
		s.body = render(s.body[:0], x.address(), w.Package, w.View(), w.Sequence())
		if n := len(rows); n > 0 && rows[n-1].Body == string(s.body) { // watchers that were told the same share it
			v.Body = rows[n-1].Body
		} else {
			v.Body = string(s.body)
		}
	}
	return append(rows, v)
}
