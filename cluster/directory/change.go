package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// A change is one atomic step, whatever it writes. It is planned from the view, which has all that the bucket had at some
// revision. It is written on condition that the bucket still is at that revision: as one message, or as one of JetStream's
// atomic batches, of which the first message has the condition. So whatever the plan found (that a realm is free, that an
// account exists, that nothing is below it) is still true when the change happens. If the bucket has gone on meanwhile, NATS
// refuses the change, the view catches up, and the plan is made anew. Before a change is refused because of what the view has,
// the view catches up once.
//
// Keys that reserve a name (a realm, a username, an API key) were the other way. They need a key for each name and do not help
// with the tree: that A is not below B depends on all accounts between them.
const (
	maxBatch     = 400                    // messages of one batch; NATS takes 1,000
	maxBatchSize = 4 << 20                // bytes of one batch
	writeTime    = 5 * time.Second        // how long NATS may take to answer a write
	troubleEvery = 200 * time.Millisecond // between two looks at whether NATS takes writes, while a change waits
)

// write is one key that a change writes.
type write struct {
	key   string
	value []byte
	gone  bool // the key is removed
}

// errOvertaken says that the bucket has gone on since the change was planned, or was busy. Nothing was written.
var errOvertaken = errors.New("directory: the bucket has changed since")

// change makes a change of what plan returns, and blocks until that is durable. It returns the revision of the last write; the
// writes before it have the revisions before that. A plan without writes changes nothing. plan is called with d.mu held for
// reading, perhaps several times. It must not block.
func (d *Directory) change(ctx context.Context, plan func() ([]write, error)) (last uint64, err error) {
	ctx, stop := d.whileKept(ctx)
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		stop()
	}()
	for sure := false; ; sure = true {
		last, err := d.try(ctx, plan)
		if err == nil || !errors.Is(err, errOvertaken) && (sure || errors.Is(err, errUnanswered)) {
			return last, err
		}
		if err := d.catchUp(ctx); err != nil {
			return 0, err
		}
	}
}

// whileKept returns a context that also ends, with the cause, when the node knows that its NATS server takes no writes.
func (d *Directory) whileKept(ctx context.Context) (context.Context, func()) {
	if d.cfg.Trouble == nil {
		return ctx, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	if err := d.cfg.Trouble(); err != nil {
		end(err)
		return ctx, func() {}
	}
	go func() {
		t := time.NewTicker(troubleEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if err := d.cfg.Trouble(); err != nil {
				end(err)
			}
		}
	}()
	return ctx, func() { end(nil) }
}

// try makes a change on top of what the view has, when it is this change's turn. With errOvertaken nothing was changed.
func (d *Directory) try(ctx context.Context, plan func() ([]write, error)) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", errAsk, err)
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", errAsk, ctx.Err())
	}
	d.mu.RLock()
	base := d.reached
	writes, err := plan()
	d.mu.RUnlock()
	if err != nil || len(writes) == 0 {
		return base, err
	}
	last := base + uint64(len(writes))
	if !d.cfg.DryRun {
		if last, err = d.write(ctx, base, writes); err != nil {
			return 0, err
		}
	}
	for i, w := range writes {
		d.apply(w.key, w.value, last-uint64(len(writes)-1-i), w.gone)
	}
	d.noteRevision(last)
	return last, nil
}

// errUnanswered says that NATS did not answer a change, which may or may not have been made.
var errUnanswered = errors.New("directory: NATS did not answer; the change may or may not have been made")

// write publishes the writes as one step, on condition that the bucket is at the revision base, and returns the revision of the
// last one. With errOvertaken nothing was written.
func (d *Directory) write(ctx context.Context, base uint64, writes []write) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	batch := NewID()
	for i, w := range writes {
		m := nats.NewMsg("$KV." + bucketName(d.cfg.Prefix) + "." + w.key)
		m.Data = w.value
		if w.gone {
			m.Header["KV-Operation"] = []string{"DEL"}
		}
		if i == 0 {
			m.Header["Nats-Expected-Last-Sequence"] = []string{strconv.FormatUint(base, 10)}
		}
		if len(writes) > 1 {
			m.Header["Nats-Batch-Id"] = []string{batch}
			m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		}
		if i < len(writes)-1 {
			if err := d.cfg.Conn.PublishMsg(m); err != nil {
				return 0, fmt.Errorf("directory: %w", err) // NATS drops a batch that has no end
			}
			continue
		}
		if len(writes) > 1 {
			m.Header["Nats-Batch-Commit"] = []string{"1"}
		}
		answer, err := d.cfg.Conn.RequestMsgWithContext(ctx, m)
		if errors.Is(err, nats.ErrNoResponders) {
			return 0, fmt.Errorf("directory: %w", err)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errUnanswered, err)
		}
		return acknowledged(answer.Data)
	}
	return base, nil
}

// The errors of JetStream after which a change can be tried again: the bucket is at another revision, or works on as many batches
// as it may, or a message of the batch was lost.
var overtaken = map[int]bool{10071: true, 10164: true, 10210: true, 10176: true}

// acknowledged reads JetStream's answer to a write.
func acknowledged(data []byte) (uint64, error) {
	var a struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(data, &a); {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", errUnanswered, err)
	case a.Error != nil && overtaken[a.Error.Code]:
		return 0, fmt.Errorf("%w: %s", errOvertaken, a.Error.Description)
	case a.Error != nil:
		return 0, fmt.Errorf("directory: NATS refuses the change: %s", a.Error.Description)
	}
	return a.Seq, nil
}

// NewID makes a random id. API keys are made with it, too: it has 128 bits.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Put creates an entry (old is nil) or replaces old, and blocks until that is durable. account is the account that the
// entry belongs to; for an account, its own id. by is the account on whose behalf it is done: a field that names an
// extension may name a realm of by and of the accounts below it. The error is ErrConflict when old is not the newest state of the entry, or
// when another entry has the id, the realm, the API key or the username. It is ErrUnknown when the account does not exist.
func (d *Directory) Put(ctx context.Context, by, kind, account, id string, fields map[string]any, old *Entry) (*Entry, error) {
	p, err := prepare(kind, account, id, fields, old)
	if err != nil {
		return nil, err
	}
	var n int
	last, err := d.change(ctx, func() ([]write, error) {
		if err := d.admit(by, p, nil); err != nil {
			return nil, err
		}
		writes := p.writes(nil)
		n = len(writes)
		return writes, nil
	})
	if err != nil {
		return nil, err
	}
	return p.entry(last - uint64(n-1)), nil
}

// errChanged is the error for a change on top of a state that is not the newest.
var errChanged = fmt.Errorf("%w: the entry was changed meanwhile; read it again", ErrConflict)

// CreateAccount creates an account on behalf of the operator, and blocks until that is durable. Without a parent_id it is put
// below the master account. With asMaster it becomes the master account, of which there is one; so does the first account of all.
func (d *Directory) CreateAccount(ctx context.Context, fields map[string]any, asMaster bool) (e *Entry, isMaster bool, err error) {
	id := NewID()
	p, err := prepare(Accounts, id, id, fields, nil)
	if err != nil {
		return nil, false, err
	}
	var n int
	last, err := d.change(ctx, func() ([]write, error) {
		if asMaster && d.master != "" {
			return nil, fmt.Errorf("%w: account %s is the master account already", ErrConflict, d.master)
		}
		if err := d.admit(id, p, nil); err != nil {
			return nil, err
		}
		writes := p.writes(nil)
		isMaster = asMaster || d.master == "" && len(d.groups[group{kind: Accounts}]) == 0
		if isMaster {
			writes = append(writes, write{key: master, value: []byte(id)})
		}
		n = len(writes)
		return writes, nil
	})
	if err != nil {
		return nil, false, err
	}
	return p.entry(last - uint64(n-1)), isMaster, nil
}
