// Package directory keeps accounts, users, devices and the nodes' public token keys in a JetStream key-value bucket
// (docs/contract/journal.md, "The directory"). It answers from a view of the bucket in memory, which a watch keeps up to
// date. A change that was acknowledged is durable, and the node that acknowledged it has it in its view. A change of
// several keys is one atomic step (change.go). The package owns the bucket. It does not know HTTP or presence.
//
// One goroutine calls New, Start and Stop. All other methods are for any goroutine, after Start. Those that take a context
// may block on NATS; the others do not block.
package directory

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/subject"
)

// The kinds of entries, and of other keys of the bucket.
const (
	Accounts = "account"
	Users    = "user"
	Devices  = "device"
	keys     = "key"      // the public key of a node's tokens
	realms   = "realm"    // the account that has a realm; only nodes of the first release read it
	master   = "master"   // the id of the master account
	secrets  = "secret"   // what all edges share
	removals = "removing" // an account that is gone, while its users and devices are being removed
)

// The errors. They are wrapped with what exactly was wrong.
var (
	ErrUnknown   = errors.New("no such account, user or device")
	ErrInvalid   = errors.New("invalid")
	ErrForbidden = errors.New("the realm of a field that names an extension is outside the account's tree")
	ErrConflict  = errors.New("conflict")
	ErrBusy      = errors.New("too many questions about unknown names wait for the directory; try again later")
	errAsk       = errors.New("directory: the bucket can't be asked")
)

// Invalid is an ErrInvalid with the field that is wrong, and why.
type Invalid struct{ Field, Reason string }

func (e *Invalid) Error() string { return "invalid: " + e.Field + " " + e.Reason }

func (*Invalid) Unwrap() error { return ErrInvalid }

// Config is what a Directory needs.
type Config struct {
	Conn      *nats.Conn
	Prefix    subject.Prefix
	Memory    bool // keep a new bucket in memory
	Replicas  int
	Log       *slog.Logger
	RealmGone func(realm string) // no account has this realm any more; runs on a goroutine of its own; nil: not wanted
	OpenTime  time.Duration      // how long Start may take to reach the bucket, before it reads what is there; 0: as long as its context lasts
	Trouble   func() error       // why the node's NATS server takes no writes; nil, or the answer nil: nothing known
	DryRun    bool               // changes are checked and made in this Directory's view only: nothing is written to the bucket
}

// Directory is a node's view of the bucket.
type Directory struct {
	cfg     Config
	kv      jetstream.KeyValue
	stream  jetstream.Stream // of the bucket
	created time.Time        // when the stream was made
	watch   jetstream.KeyWatcher
	unwatch context.CancelFunc
	ask     asking
	life    context.Context // ends when Stop is called
	end     context.CancelFunc
	turn    chan struct{} // holds a value while this node makes a change: it makes one after the other
	done    sync.WaitGroup

	anyHides  atomic.Bool // an entry of the view hides parties
	anyLimits atomic.Bool // an account of the view has budgets of its own

	mu sync.RWMutex
	view
	seen    map[string]uint64 // by bucket key: the newest revision in the view; older ones of the watch are ignored
	reached uint64            // the view has all that the bucket had at this revision
	moved   chan struct{}     // closed when reached rises; nil: nobody waits for that
}

// New makes a Directory. It starts nothing.
func New(c Config) *Directory {
	if c.RealmGone == nil {
		c.RealmGone = func(string) {}
	}
	d := &Directory{cfg: c, view: newView(), seen: map[string]uint64{}, turn: make(chan struct{}, 1)}
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Start finds or makes the bucket, and blocks until all of it is in memory or the context ends.
func (d *Directory) Start(ctx context.Context) error {
	opening := ctx
	if d.cfg.OpenTime > 0 {
		var cancel context.CancelFunc
		opening, cancel = context.WithTimeout(ctx, d.cfg.OpenTime)
		defer cancel()
	}
	if err := d.open(opening); err != nil {
		return err
	}
	ready := make(chan struct{})
	begun := d.stream.CachedInfo().State.LastSeq // before the watch, which brings all that was there
	d.done.Go(func() {
		for e := range d.watch.Updates() {
			if e == nil {
				d.noteRevision(begun) // no key may have this revision, if somebody removed the bucket's last message
				close(ready)
				continue
			}
			d.apply(e.Key(), e.Value(), e.Revision(), e.Operation() != jetstream.KeyValuePut)
			d.noteRevision(e.Revision())
		}
	})
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bucketName returns the name of the bucket of an installation.
func bucketName(prefix subject.Prefix) string {
	return strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(string(prefix)) + "lamplight_directory"
}

// streamName returns the name of the stream below the bucket.
func streamName(prefix subject.Prefix) string { return "KV_" + bucketName(prefix) }

// bucketSettings returns the settings with which the bucket is made.
func bucketSettings(c Config) jetstream.KeyValueConfig {
	want := jetstream.KeyValueConfig{Bucket: bucketName(c.Prefix), Storage: jetstream.FileStorage, Replicas: max(c.Replicas, 1)}
	if c.Memory {
		want.Storage = jetstream.MemoryStorage
	}
	return want
}

// Stop stops the watch and blocks until the directory's goroutines have ended, those of RealmGone too. Callers that wait
// for an answer of the bucket get an error. When ctx ends Stop does not wait until NATS has removed the watch's consumer: NATS does that by itself.
func (d *Directory) Stop(ctx context.Context) (err error) {
	d.end()
	d.ask.close()
	if d.watch == nil {
		return nil
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.watch.Stop() }()
	select {
	case err = <-stopped:
	case <-ctx.Done():
	}
	d.unwatch()
	d.done.Wait()
	return err
}

// apply brings one key of the bucket into the view.
func (d *Directory) apply(key string, value []byte, revision uint64, deleted bool) {
	kind, rest, _ := strings.Cut(key, ".")
	d.mu.Lock()
	if revision <= d.seen[key] {
		d.mu.Unlock()
		return
	}
	d.seen[key] = revision
	gone, left := "", false
	switch kind {
	case keys:
		if deleted {
			delete(d.public, rest)
		} else {
			d.public[rest] = value
		}
	case master:
		d.master = ""
		if !deleted {
			d.master = string(value)
		}
	case removals:
		delete(d.removing, rest)
		if !deleted {
			d.removing[rest], left = struct{}{}, true
		}
	case Accounts, Users, Devices:
		at := Entry{Kind: kind}
		at.Account, at.ID, _ = strings.Cut(rest, ".")
		if kind == Accounts {
			at.ID = at.Account
		}
		var e *Entry
		if !deleted {
			e = &Entry{Kind: kind, Account: at.Account, ID: at.ID, revision: revision}
			if err := json.Unmarshal(value, &e.Fields, KeepNumbers); err != nil {
				d.cfg.Log.Error("an entry of the directory can't be read and counts as missing; write it again",
					"key", key, "err", err)
				e = nil
			}
		}
		var rival string
		if gone, rival = d.replace(d.entry(kind, at.Account, at.ID), e); rival != "" {
			d.cfg.Log.Error("two accounts have one realm, and each can see the other's lamps; give one of them another realm",
				"realm", e.Realm(), "account", e.ID, "other", rival)
		}
		d.anyHides.Store(d.hiders > 0)
		d.anyLimits.Store(len(d.limits) > 0)
	}
	d.mu.Unlock()
	if gone != "" {
		d.done.Go(func() { d.cfg.RealmGone(gone) })
	}
	if left {
		d.done.Go(func() { d.resume(rest) })
	}
}

// Get returns an entry. For an account, account and id are the same. Before it returns ErrUnknown it asks the bucket, and
// may block for that.
func (d *Directory) Get(ctx context.Context, kind, account, id string) (*Entry, error) {
	if !ValidID(account) || !ValidID(id) {
		return nil, ErrUnknown
	}
	return find(ctx, d, func() (*Entry, bool) { e := d.present(kind, account, id); return e, e != nil })
}

// find looks something up in the view, and once more when the view has caught up with the bucket. look is called with
// d.mu held for reading.
func find[T any](ctx context.Context, d *Directory, look func() (T, bool)) (T, error) {
	locked := func() (T, bool) {
		d.mu.RLock()
		defer d.mu.RUnlock()
		return look()
	}
	v, ok := locked()
	if ok {
		return v, nil
	}
	if err := d.catchUp(ctx); err != nil {
		return v, err
	}
	if v, ok = locked(); !ok {
		return v, ErrUnknown
	}
	return v, nil
}

// List returns the users or devices of an account, or, for the kind Accounts, the account and all below it, in no order.
func (d *Directory) List(kind, account string) []*Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if kind == Accounts {
		return d.subtree(nil, account)
	}
	if d.account(account) == nil {
		return nil
	}
	return slices.Collect(maps.Values(d.groups[group{kind, account}]))
}

// All returns all accounts, in no order.
func (d *Directory) All() []*Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(d.groups[group{kind: Accounts}]))
}

// Children returns the accounts directly below an account, in no order.
func (d *Directory) Children(account string) []*Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.below(account)
}

// Ancestors returns the accounts above an account, from the account root down to its parent. It returns nil when the account is
// not below root.
func (d *Directory) Ancestors(root, account string) []*Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if account == root || !d.inTree(root, account) {
		return nil
	}
	var up []*Entry
	for id := d.parent(d.account(account)); ; id = d.parent(d.account(id)) {
		e := d.account(id)
		if up = append(up, e); id == root {
			slices.Reverse(up)
			return up
		}
	}
}

// Top returns the id of the account at the top of an account's tree.
func (d *Directory) Top(account string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for depth := 0; depth < maxDepth; depth++ {
		up := d.account(d.parent(d.account(account)))
		if up == nil {
			break
		}
		account = up.ID
	}
	return account
}

// Revision returns the revision of the bucket that the view has.
func (d *Directory) Revision() uint64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.reached
}

// Master returns the id of the master account, and "" when there is none.
func (d *Directory) Master() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.master
}

// Exists says whether there is an account. When the view has none it asks the bucket, and may block for that.
func (d *Directory) Exists(ctx context.Context, account string) (bool, error) {
	d.mu.RLock()
	known := d.account(account) != nil
	d.mu.RUnlock()
	if known || !ValidID(account) {
		return known, nil // without find, whose closure costs every request an allocation
	}
	_, err := find(ctx, d, func() (*Entry, bool) { e := d.account(account); return e, e != nil })
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// RealmAccount returns the id of the account that has a realm (in lower case), as the view knows it.
func (d *Directory) RealmAccount(realm string) (id string, ok bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	id, ok = d.realms[realm]
	return id, ok
}

// Realm returns the realm of an account, as the view knows it; "": there is no such account.
func (d *Directory) Realm(account string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.account(account); e != nil {
		return e.Realm()
	}
	return ""
}

// FindRealm returns the id of the account that has a realm (in lower case). Before it returns ErrUnknown it asks the
// bucket, and may block for that.
func (d *Directory) FindRealm(ctx context.Context, realm string) (id string, err error) {
	return find(ctx, d, func() (string, bool) { id, ok := d.realms[realm]; return id, ok })
}

// AskRealm is FindRealm for callers that cannot wait: it does not block. It calls then exactly once, from any goroutine,
// perhaps before it returns: with nil when an account has the realm, else with ErrUnknown, ErrBusy or an error that says
// why the bucket could not be asked.
func (d *Directory) AskRealm(realm string, then func(error)) {
	if _, ok := d.RealmAccount(realm); ok {
		then(nil)
		return
	}
	d.whenCaughtUp(func(err error) {
		if _, ok := d.RealmAccount(realm); err == nil && !ok {
			err = ErrUnknown
		}
		then(err)
	})
}

// InTree says whether account is root or a descendant of it. All accounts are below the master account.
func (d *Directory) InTree(root, account string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.inTree(root, account)
}

// PublicKey returns the public half of a token key. Before it returns ErrUnknown it asks the bucket, and may block for that.
func (d *Directory) PublicKey(ctx context.Context, id string) ([]byte, error) {
	if id == "" || len(id) > 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, ErrUnknown
	}
	return find(ctx, d, func() ([]byte, bool) { k := d.public[id]; return k, k != nil })
}
