// Package source is what all sources of calls have in common. A source, such as a bridge from a switch, turns what its switch tells into
// documents of Lamplight (docs/contract/nats.md). Each source is a package below this one and implements Source; Run gives it a Sink and
// keeps its promises towards the nodes: every document is sent until it is acknowledged, what a source says of itself is repeated, and all
// of it is counted.
package source

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Source is one source of calls. Run returns when ctx ends, or with an error that no later try can mend, such as wrong credentials.
// Everything else, such as a broken connection, the source mends itself. It passes documents to the sink at least once and in any order:
// the nodes merge news whatever its order.
//
// Names and addresses that come from outside are not checked by the source: the nodes refuse documents that are wrong, and the sink
// counts them.
type Source interface {
	// Name names the source on this NATS, such as freeswitch-10.0.0.5. Two sources that run at the same time have different names.
	Name() string
	Run(ctx context.Context, sink Sink) error
}

// Make makes a source that may use a connection to NATS and a log of its own.
type Make func(conn *nats.Conn, log *slog.Logger) Source

// Sink takes what a source tells. Its methods may be called from any goroutine.
type Sink interface {
	// Send sends a document and returns. It waits while too many documents are under way, until ctx ends. done is called once, when the
	// document is durable (nil) or the nodes have refused it (an error that wraps ErrRefused); it must not wait. It is not called for
	// documents that are under way when the sink stops. done may be nil.
	Send(ctx context.Context, d Document, done func(error)) error

	// Up says that the source lives, and repeats it until the source calls Up again, Silent or Down, or the sink stops. The first call, and
	// each with another Incarnation, returns only when a node has acknowledged it: what the source told before no longer counts.
	Up(ctx context.Context, switchURI, incarnation string) error

	// Silent ends the repetition without a word: the source no longer knows whether its switch lives. When it does not call Up again in time,
	// the nodes take it for gone and end its calls.
	Silent()

	// UpOf is Up for a source that tells of several switches. Each of them has a name of its own, NAME/SWITCH-URI, and a lease of its own, of a
	// length that the source chooses: a call of UpOf takes the place of the one before for the same switch only.
	UpOf(ctx context.Context, switchURI, incarnation string, lease time.Duration) error

	// Down says that the source stops in good order, for all of its switches, and DownOf that it tells of a switch no more. Their calls
	// stay as they are.
	Down(ctx context.Context) error
	DownOf(ctx context.Context, switchURI string) error

	// SwitchGone ends the calls of a switch that were last heard of before a moment. It waits until that is durable, and returns their
	// number.
	SwitchGone(ctx context.Context, switchURI string, before time.Time) (int, error)

	// Connected notes whether the source reaches its switch. why says why it does not.
	Connected(is bool, why error)

	// Heard notes that the switch said something, and Refused that the source could make nothing of it, for a reason of a few words
	// that stays the same. sample is what it was about, for the log.
	Heard()
	Refused(reason, sample string)
}

// Document is one document: its Event-Name, the subject that package subject makes for it, and its fields but for those that every
// document has. Fields of these names win. A source that has the whole document already encoded gives it as Data, and no Fields; it must not
// change Data afterwards.
type Document struct {
	Event   string
	Subject string
	Fields  map[string]any
	Data    []byte
}
