package directory

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"
)

// breath is the pause between the steps of a long change, so that other nodes get to make theirs.
const breath = 20 * time.Millisecond

// resumeTime is how long a node watches a removal that makes no progress before it goes on with it.
const resumeTime = 2 * time.Second

// realmKey returns the bucket key that says which account has a realm.
func realmKey(realm string) string { return realms + "." + hex.EncodeToString([]byte(realm)) }

// Delete removes an entry and blocks until that is durable. An account is gone with its users and devices in one step. If they
// are more than one step can remove, that step writes down that they are to be removed, and the nodes do that afterwards
// (resume). The error is ErrConflict when e is not the newest state of the entry, or when there are accounts below it.
func (d *Directory) Delete(ctx context.Context, e *Entry) error {
	more := false
	_, err := d.change(ctx, func() (writes []write, err error) {
		if now := d.present(e.Kind, e.Account, e.ID); now == nil || now.revision != e.revision {
			return nil, errChanged
		}
		writes = append(writes, write{key: entryKey(e.Kind, e.Account, e.ID), gone: true})
		if e.Kind != Accounts {
			return writes, nil
		}
		for _, c := range d.below(e.ID) {
			return nil, fmt.Errorf("%w: account %s is below this one; remove that one first", ErrConflict, c.ID)
		}
		writes = append(writes, write{key: realmKey(e.Realm()), gone: true})
		if e.ID == d.master {
			writes = append(writes, write{key: master, gone: true})
		}
		writes, more = d.removeMembers(writes, e.ID)
		return writes, nil
	})
	if err == nil && more {
		d.done.Go(func() { d.removeRest(e.ID) })
	}
	return err
}

// removeMembers appends the removal of an account's users and devices, as many as a step can remove. more says that there are
// others; then the step also notes that they are to be removed, and else that none are. The caller holds d.mu.
func (d *Directory) removeMembers(writes []write, account string) (all []write, more bool) {
	for _, kind := range []string{Users, Devices} {
		for id := range d.groups[group{kind, account}] {
			if more = len(writes) >= maxBatch-1; more {
				break
			}
			writes = append(writes, write{key: entryKey(kind, account, id), gone: true})
		}
	}
	note := write{key: removals + "." + account, value: []byte("{}"), gone: !more}
	if _, noted := d.removing[account]; noted != more {
		writes = append(writes, note)
	}
	return writes, more
}

// removeRest removes the users and devices of an account that is gone, in several steps. When a step fails it gives up, and
// resume goes on, on this node or another.
func (d *Directory) removeRest(account string) {
	for more := true; more; {
		_, err := d.change(d.life, func() (writes []write, err error) {
			more = false
			if _, noted := d.removing[account]; !noted {
				return nil, nil
			}
			if d.account(account) != nil { // a node of the first release has made it again
				return []write{{key: removals + "." + account, gone: true}}, nil
			}
			writes, more = d.removeMembers(nil, account)
			return writes, nil
		})
		if err != nil {
			d.cfg.Log.Warn("the users and devices of a removed account could not all be removed yet; a node will go on with it",
				"account", account, "err", err)
			return
		}
		select {
		case <-time.After(breath):
		case <-d.life.Done():
			return
		}
	}
}

// resume sees to it that the users and devices of an account that is gone are removed in the end. The node that removed the
// account removes them. When no more of them go, because that node has failed, resume does it.
func (d *Directory) resume(account string) {
	last := -1
	for {
		select {
		case <-time.After(resumeTime):
		case <-d.life.Done():
			return
		}
		d.mu.RLock()
		_, noted := d.removing[account]
		left := len(d.groups[group{Users, account}]) + len(d.groups[group{Devices, account}])
		d.mu.RUnlock()
		if !noted {
			return
		}
		if left == last {
			d.removeRest(account)
		}
		last = left
	}
}
