// Package loglimit limits how many lines a logger writes of one kind. The parts of a node that listen to the outside log through
// it: however many packets, requests or connections come, they cannot fill the disk with lines, and the operator still reads
// what happens and how often.
//
// A logger of this package may be used from any goroutine. It knows nothing of what is logged.
package loglimit

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	usual    = 10 * time.Second // between two lines of one kind
	maxKinds = 64               // kinds that are told apart; all others count as one
	maxKind  = 200              // bytes of a message that tell its kind
)

// Limit returns a logger that writes to log. Of each kind of line it writes the first one at once, and then at most one in 10
// seconds. That one is the newest, and its attribute left_out says how many came before it since the last line of its kind
// that was written.
//
// A kind is a level and a message, with the attribute err, but without the words that hold digits or quotation marks: such
// words are names, addresses and numbers, which an outside party can choose.
func Limit(log *slog.Logger) *slog.Logger { return Every(usual, log) }

// Every is Limit with another time between two lines of one kind.
func Every(apart time.Duration, log *slog.Logger) *slog.Logger {
	return slog.New(&handler{next: log.Handler(), limiter: &limiter{every: apart, kinds: map[string]*kind{}}})
}

// limiter is what all handlers that were derived from one logger share.
type limiter struct {
	every time.Duration // between two lines of one kind
	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is what was said of one kind of line.
type kind struct {
	until   time.Time // when the next line may be written
	held    int       // lines that were not written since the last one
	newest  slog.Record
	handler slog.Handler // of newest
}

// handler is the slog.Handler of a limited logger.
type handler struct {
	next    slog.Handler
	limiter *limiter
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.next.WithAttrs(attrs), h.limiter}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(name), h.limiter}
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.limiter.hold(h.next, &r) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// hold says whether a line must not be written now. It sees to it that the newest line that it holds is written later.
func (l *limiter) hold(next slog.Handler, r *slog.Record) bool {
	now, name := time.Now(), kindOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[name]
	if k == nil {
		if len(l.kinds) >= maxKinds {
			l.forget(now)
		}
		if len(l.kinds) >= maxKinds {
			name = ""
		}
		if k = l.kinds[name]; k == nil {
			k = &kind{}
			l.kinds[name] = k
		}
	}
	if k.held == 0 && !now.Before(k.until) {
		k.until = now.Add(l.every)
		return false
	}
	if k.held++; k.held == 1 {
		time.AfterFunc(k.until.Sub(now), func() { l.release(k) })
	}
	k.newest, k.handler = r.Clone(), next
	return true
}

// forget forgets the kinds of which a line may be written. The caller holds l.mu.
func (l *limiter) forget(now time.Time) {
	for name, k := range l.kinds {
		if k.held == 0 && !now.Before(k.until) {
			delete(l.kinds, name)
		}
	}
}

// release writes the newest line of a kind that was held.
func (l *limiter) release(k *kind) {
	l.mu.Lock()
	r, next, before := k.newest, k.handler, k.held-1
	k.held, k.newest, k.handler = 0, slog.Record{}, nil
	k.until = time.Now().Add(l.every)
	l.mu.Unlock()
	if before > 0 {
		r.AddAttrs(slog.Int("left_out", before))
	}
	_ = next.Handle(context.Background(), r)
}

// kindOf is the name of a line's kind.
func kindOf(r *slog.Record) string {
	var b strings.Builder
	b.WriteString(r.Level.String())
	words := func(text string) {
		for word := range strings.FieldsSeq(text[:min(len(text), maxKind)]) {
			if !strings.ContainsAny(word, "0123456789\"'`") {
				b.WriteByte(' ')
				b.WriteString(word)
			}
		}
	}
	words(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			words(a.Value.String())
		}
		return true
	})
	return b.String()
}
