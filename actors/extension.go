package actors

import (
	"runtime/debug"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"lamplight/actors/presence"
)

// extension is the actor of one extension. It runs in its shard's turn: only the shard sends to it, and the send returns
// when the message has been handled.
type extension struct {
	state   *presence.Extension
	pid     *actor.PID
	ticket  uint64 // of its last write; reads of the extension wait until that write is durable
	waits   []*waiter
	timer   int32  // its index in the shard's heap of timers; -1: it is not there
	claim   uint32 // the value of shard.claims that counter belongs to
	counter uint32 // of its notifications under that claim (docs/contract/journal.md, rule 8)
	broken  bool   // a panic happened in it: its memory counts for nothing until it is reloaded
}

// address is the extension's name, which no event changes.
func (x *extension) address() Address { return x.state.Address() }

// step is one event that an extension applies, and the result.
type step struct {
	event  presence.Event
	origin presence.Origin
	now    time.Time
	fx     presence.Effects
	err    error
	reason any    // what the extension panicked with; nil: it did not
	stack  []byte // of the panic
}

// Receive implements actor.Actor.
func (x *extension) Receive(ctx actor.Context) {
	if t, ok := ctx.Message().(*step); ok {
		t.fx, t.err = x.state.ApplyFrom(t.event, t.origin, t.now)
	}
}

// inline is the run-to-completion mailbox of an extension's actor: a send runs the actor in the sender's goroutine. It
// notes a panic in the step that caused it. protoactor's default mailbox was tried: it takes 682 bytes and 870 ns where
// this one takes 269 bytes and 114 ns.
type inline struct{ invoker actor.MessageInvoker }

func newInline() actor.Mailbox { return &inline{} }

func (m *inline) PostUserMessage(message any) {
	defer func() {
		if r := recover(); r != nil {
			if t, ok := message.(*step); ok {
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

// waiter is a set or reset that is durable and told, and whose caller also waits for the watchers' replies.
type waiter struct {
	caller   *caller
	answer   Answer
	pending  map[*presence.Subscription]uint32 // the watchers that have not replied, each with the Sequence of its NOTIFY
	deadline time.Time
}

// replied counts the watchers that have replied since it was last called. It says whether all have.
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

// knowsLess says whether a watcher should know more than it was told, or has not replied to the last NOTIFY.
func knowsLess(w *presence.Subscription) bool {
	return !w.Behind().IsZero() || w.Acked() < w.Sequence()
}

// view appends a copy of one subscription as listings show it; with document, the copy holds the body of the last NOTIFY.
func (s *shard) view(rows []SubscriptionView, x *extension, w *presence.Subscription, document bool) []SubscriptionView {
	v := SubscriptionView{User: x.state.User(), Package: w.Package, CallID: w.CallID, From: w.From, Stalker: w.Stalker(),
		Granted: w.Expires() + int(presence.Grace/time.Second), Renewed: w.Renewed(), Version: 1, Reply: w.Reply(), Sequence: w.Sequence(),
		UserAgent: w.UserAgent, Contact: w.Contact, SubscriptionID: w.SubscriptionID, ProxyRoute: w.ProxyRoute, Behind: knowsLess(w)}
	if w.SubscriptionID != "" {
		v.Version = 2
	}
	if document && w.Sequence() > 0 && w.View() != nil {
		s.render(x, w.Package, w.View(), w.Sequence())
		if n := len(rows); n > 0 && rows[n-1].Body == string(s.body) { // watchers that were told the same share one copy
			v.Body = rows[n-1].Body
		} else {
			v.Body = string(s.body)
		}
	}
	return append(rows, v)
}
