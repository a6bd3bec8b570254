// Package reports keeps the reports of resets in a JetStream stream of its own (docs/contract/http.md, "Reports"): what an extension was
// before somebody reset it, and who did. Any node gives any report. The stream bounds them: each account has its newest 100, for 30 days,
// and all of them together have 32 MiB. A report is no part of the journal: a reset does not depend on it, and backups do not hold it.
//
// Its methods may be called from any goroutine and wait for NATS until their context ends.
package reports

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/subject"
)

const (
	perAccount = 100
	maxAge     = 30 * 24 * time.Hour
	maxBytes   = 32 << 20
)

// MaxReport is how many bytes a report may have.
const MaxReport = 256 << 10

// header is the header of a message that holds the second half of a report's id.
const header = "Lamplight-Report"

// ErrUnknown says that an account has no report with an id.
var ErrUnknown = errors.New("no such report")

// Config is what Reports need.
type Config struct {
	Conn     *nats.Conn
	Prefix   subject.Prefix
	Memory   bool // keep a new stream in memory
	Replicas int
	Log      *slog.Logger
}

// Reports keeps reports and gives them.
type Reports struct {
	cfg Config
	js  jetstream.JetStream
}

// New makes Reports. It starts nothing: the stream is made when the first report is kept.
func New(c Config) (*Reports, error) {
	js, err := jetstream.New(c.Conn)
	return &Reports{cfg: c, js: js}, err
}

// settings are the settings with which the stream is made.
func (r *Reports) settings() jetstream.StreamConfig {
	c := jetstream.StreamConfig{Name: r.name(), Subjects: []string{r.cfg.Prefix.Of(subject.AnyReport)}, MaxMsgsPerSubject: perAccount, MaxAge: maxAge, MaxBytes: maxBytes,
		MaxMsgSize: MaxReport + 4096, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage, Replicas: max(r.cfg.Replicas, 1)}
	if r.cfg.Memory {
		c.Storage = jetstream.MemoryStorage
	}
	return c
}

// name is the name of the stream.
func (r *Reports) name() string {
	return strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(strings.ToUpper(string(r.cfg.Prefix))) + "LAMPLIGHT_REPORTS"
}

// Keep keeps a report of an account and returns its id, 32 hexadecimal digits. It returns "" if the report could not be kept; the log then
// says why.
func (r *Reports) Keep(ctx context.Context, account string, data []byte) string {
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	m := nats.NewMsg(r.cfg.Prefix.Of(subject.Report(account)))
	m.Data, m.Header = data, nats.Header{header: []string{hex.EncodeToString(salt[:])}}
	ack, err := r.js.PublishMsg(ctx, m)
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) { // there is no stream yet
		if _, err = r.js.CreateStream(ctx, r.settings()); err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			ack, err = r.js.PublishMsg(ctx, m)
		}
	}
	if err != nil {
		r.cfg.Log.Warn("the report of a reset could not be kept; the reset itself is not touched by that; look whether NATS has room for the stream of reports, and whether the node's NATS user may make it (deploy/nats-users.conf)",
			"account", account, "stream", r.name(), "err", err)
		return ""
	}
	return fmt.Sprintf("%016x", ack.Sequence) + m.Header.Get(header)
}

// Get returns a report of an account, or ErrUnknown.
func (r *Reports) Get(ctx context.Context, account, id string) ([]byte, error) {
	if len(id) != 32 {
		return nil, ErrUnknown
	}
	sequence, err := strconv.ParseUint(id[:16], 16, 64)
	if err != nil || sequence == 0 {
		return nil, ErrUnknown
	}
	stream, err := r.js.Stream(ctx, r.name())
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(ctx, sequence); err == nil {
			if m.Subject != r.cfg.Prefix.Of(subject.Report(account)) || m.Header.Get(header) != id[16:] {
				return nil, ErrUnknown
			}
			return m.Data, nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, ErrUnknown
	}
	return nil, fmt.Errorf("the reports can't be read: %w", err)
}
