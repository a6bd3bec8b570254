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
	address Address
	state   *presence.Extension
	pid     *actor.PID
	ticket  uint64 // of its last write; answers wait until that is durable
	waits   []*waiter
	timer   int32  // place in the shard's heap; -1: none
	claim   uint32 // which opening of the shard counter counts from
	counter uint32
	broken  bool // a panic; its memory is not to be trusted until reloaded
}

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

// view copies what a listing shows of one subscription.
func (x *extension) view(s *presence.Subscription, grace int, bodies bool) SubscriptionView {
	v := SubscriptionView{User: x.address.User, Package: s.Package, CallID: s.CallID, From: s.From, Stalker: s.Stalker(),
		Granted: s.Expires() + grace, Renewed: s.Renewed(), Version: 1, Reply: s.Reply(), Sequence: s.Sequence(),
		UserAgent: s.UserAgent, Contact: s.Contact, SubscriptionID: s.SubscriptionID, ProxyRoute: s.ProxyRoute}
	if s.SubscriptionID != "" {
		v.Version = 2
	}
	if bodies && s.Sequence() > 0 && s.View() != nil {
		v.Body = string(render(nil, x.address, s.Package, s.View(), s.Sequence()))
	}
	return v
}
