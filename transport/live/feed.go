package live

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/go-json-experiment/json"

	"lamplight/transport/client"
)

// feed keeps the lamps of one account. One goroutine runs it; client.Watch calls it on another one.
type feed struct {
	hub            *Hub
	account, realm string
	id             string // random: a client can resume with this feed only
	life           context.Context
	end            context.CancelFunc
	ready          chan struct{} // closed when the account has been read for the first time
	again          chan string   // why everything must be read again; room for one

	tried bool // a reading was begun; the goroutine of run only

	clients int            // under Hub.mu
	by      map[string]int // the clients by the account of their token; under Hub.mu
	idle    time.Time      // when the last client went; under Hub.mu

	mu      sync.Mutex
	lamps   map[string]*Lamp
	order   [lastKept]string       // the extensions that changed last: change n is at n % lastKept
	next    uint64                 // the number of the next change
	oldest  uint64                 // the first change after which a client may resume
	reason  string                 // why clients older than oldest must forget everything
	deaf    string                 // why the feed hears of no changes; "": it does
	trouble string                 // what the last reading could not find, in words; "": nothing
	touched map[string]bool        // the extensions that changed since the present reading began; nil: none is under way
	moved   chan struct{}          // closed when something changes
	shared  weak.Pointer[snapshot] // the newest one, while a stream uses it
}

func newFeed(h *Hub, account, realm string) *feed {
	var id [8]byte
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	f := &feed{hub: h, account: account, realm: realm, id: hex.EncodeToString(id[:]), ready: make(chan struct{}), again: make(chan string, 1),
		by: map[string]int{}, lamps: map[string]*Lamp{}, moved: make(chan struct{}), next: 1, oldest: 1, reason: "the stream begins"}
	f.life, f.end = context.WithCancel(h.life)
	return f
}

// run watches and reads the account until the feed ends.
func (f *feed) run() {
	var watching sync.WaitGroup
	defer watching.Wait()
	defer f.end()
	watching.Go(f.watch)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	var due time.Time // of the next reading
	anew := ""        // why the next reading makes clients forget everything; "": it does not
	for begun := false; ; {
		select {
		case <-f.life.Done():
			return
		case anew = <-f.again:
			begun, due = true, time.Time{} // at once
		case now := <-look.C:
			if f.hub.sweep(f, now) {
				return
			}
		}
		if !f.hub.cfg.Connected() { // when NATS is back, client.Watch says that changes may be missing
			f.setDeaf("the node can't reach NATS, so it hears of no changes")
		}
		if now := time.Now(); begun && !now.Before(due) {
			err := f.read(anew)
			took := time.Since(now)
			due = time.Now().Add(max(readEvery, readShare*took))
			if err == nil || errors.Is(err, errMissing) {
				anew = "" // clients have been told
			}
			if err != nil {
				due = time.Now().Add(max(retryAfter, took))
				f.hub.cfg.Log.Debug("the lamps of an account could not be read for those who watch them; they are read again", "realm", f.realm, "err", err)
			}
		}
	}
}

// watch listens to the state feed until the feed ends.
func (f *feed) watch() {
	for f.life.Err() == nil {
		err := f.hub.cfg.Watch(f.life, f.realm, "", client.Watcher{
			Ready:  func() { f.readAgain("the node listens to the state feed anew") },
			Change: f.change,
			Gap:    func(_ context.Context, g client.Gap) error { f.readAgain(g.Reason); return nil },
		})
		f.setDeaf(fmt.Sprintf("the node hears of no changes: %v", err))
		select {
		case <-time.After(retryAfter):
		case <-f.life.Done():
		}
	}
}

// readAgain has everything read again, and clients forget what they know.
func (f *feed) readAgain(why string) {
	select {
	case f.again <- why:
	default: // one is waiting already
	}
}

// change takes a change of the state feed.
func (f *feed) change(c client.Change) error {
	var dialogs []struct {
		Source string `json:"source"`
		Since  string `json:"since"`
		Held   bool   `json:"held"`
		CallID string `json:"call_id"`
	}
	if json.Unmarshal(c.Dialogs, &dialogs) != nil || !strings.EqualFold(c.Realm, f.realm) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l := Lamp{}
	if old := f.lamps[c.Extension]; old != nil {
		l = *old
	} else if len(f.lamps) >= MaxLamps {
		return nil
	}
	l.State, l.Since, l.Source, l.Held = c.State, c.At, "", false
	if len(dialogs) > 0 && lit(c.State) {
		l.Since, l.Source, l.Held = dialogs[0].Since, dialogs[0].Source, dialogs[0].Held
	}
	if f.touched != nil {
		f.touched[c.Extension] = true
	}
	f.put(c.Extension, &l)
	f.wake()
	return nil
}

// put notes the new state of a lamp; nil: the account has it no more. The caller holds f.mu.
func (f *feed) put(extension string, l *Lamp) {
	if l == nil {
		delete(f.lamps, extension)
	} else {
		f.lamps[extension] = l
	}
	f.order[f.next%lastKept] = extension
	f.next++
	if f.next-f.oldest > lastKept {
		f.oldest, f.reason = f.next-lastKept, "the client was too slow, or away for too long"
	}
}

// wake tells the streams that something has changed. The caller holds f.mu.
func (f *feed) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// setDeaf notes why the feed hears of no changes. The next reading that makes clients forget what they know ends that.
func (f *feed) setDeaf(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deaf != why {
		f.deaf = why
		f.wake()
	}
}

// setTrouble notes what could not be read.
func (f *feed) setTrouble(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trouble != why {
		f.trouble = why
		f.wake()
	}
}

// stale returns why the lamps may be old; "": they are not. The caller holds f.mu.
func (f *feed) stale() string { return cmp.Or(f.deaf, f.trouble) }

// merge takes what a reading has found. anew makes all clients forget what they know; "" tells them the differences only. trouble says
// what the reading could not find, in words. all says that an extension which it has not found is the account's no more.
func (f *feed) merge(found map[string]*Lamp, anew, trouble string, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for extension, l := range found {
		old := f.lamps[extension]
		if old == nil && !all && len(f.lamps) >= MaxLamps {
			continue
		}
		if old != nil {
			l.keep(old)
		}
		l.noState, l.noDevices, l.noWatchers = false, false, false
		if f.touched[extension] && old != nil { // what the state feed said meanwhile is newer
			l.State, l.Since, l.Source, l.Held = old.State, old.Since, old.Source, old.Held
		} else if old != nil && l.Since == "" && l.State == old.State {
			l.Since = old.Since // a reading does not know since when a lamp has been dark
		}
		if old == nil || *old != *l {
			f.put(extension, l)
		}
	}
	for extension := range f.lamps {
		if found[extension] == nil && !f.touched[extension] && all {
			f.put(extension, nil)
		}
	}
	f.touched = nil
	f.trouble = trouble
	if anew != "" {
		f.next++ // so that all ids that were given out before are below oldest
		f.oldest, f.reason, f.deaf = f.next, anew, ""
	}
	f.wake()
}

// eventID is the id of the state of the feed after all changes below next.
func (f *feed) eventID(next uint64) string { return f.id + "-" + strconv.FormatUint(next, 10) }

// after returns the number in an id that this feed gave out; 0: it is none.
func (f *feed) after(id string) uint64 {
	feed, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if feed != f.id || err != nil {
		return 0
	}
	return n
}
