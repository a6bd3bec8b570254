package shadow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/actors/presence"
	"lamplight/transport/sip/phone"
)

const (
	askingAtOnce = 32              // SUBSCRIBEs under way
	phoneTime    = 8 * time.Second // how long the running system may take for one
	againAfter   = 5 * time.Second // a subscription that was refused or has ended is tried again
	byeTime      = 2 * time.Second // for the end of the subscriptions
)

// phones watches extensions of a presence server as a phone does.
type phones struct {
	s       *Shadow
	slots   chan struct{}
	working atomic.Int64 // subscriptions
	worked  atomic.Bool  // one was granted
}

// watchPhones watches the extensions until ctx ends. It returns an error when the running system refuses the credentials before it has granted
// a subscription.
func (s *Shadow) watchPhones(ctx context.Context) error {
	w := &phones{s: s, slots: make(chan struct{}, askingAtOnce)}
	for {
		err := w.connect(ctx)
		if refused, ok := errors.AsType[*phone.Refused](err); ok && !w.worked.Load() {
			return fmt.Errorf("the running system: %w", refused)
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("the running system is not reached over SIP; that is tried again", "server", s.cfg.Phone.Server, "err", err)
		if !pause(ctx, longestPause) {
			return nil
		}
	}
}

// connect opens a connection and watches over it until it is lost or ctx ends, or until a password is refused.
func (w *phones) connect(ctx context.Context) error {
	open, cancel := context.WithTimeout(ctx, phoneTime)
	defer cancel()
	p, err := phone.Dial(open, w.s.cfg.Phone)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	here, end := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer end(nil)
	for _, user := range w.s.cfg.Extensions {
		all.Go(func() {
			if err := w.watch(here, p, user); err != nil {
				end(err)
			}
		})
	}
	select {
	case <-p.Done():
		return errors.New("the connection has ended")
	case <-here.Done():
		return context.Cause(here)
	}
}

// watch keeps a subscription to one extension until ctx ends. It returns an error when the credentials are refused.
func (w *phones) watch(ctx context.Context, p *phone.Phone, user string) error {
	for ctx.Err() == nil {
		err := w.subscribe(ctx, p, user)
		w.s.tell(ctx, func(b *book, now time.Time) { b.unknown(user, now) })
		if ctx.Err() != nil {
			return nil
		}
		if refused, ok := errors.AsType[*phone.Refused](err); ok && !w.worked.Load() && (refused.Code == 401 || refused.Code == 403 || refused.Code == 407) {
			return err
		}
		w.s.log.Warn("an extension is not watched at the running system, and not compared; that is tried again", "extension", user, "err", err)
		pause(ctx, againAfter)
	}
	return nil
}

// subscribe makes a subscription and keeps it until it ends. It returns why.
func (w *phones) subscribe(ctx context.Context, p *phone.Phone, user string) error {
	here, end := context.WithCancelCause(ctx)
	defer end(nil)
	ask := w.s.cfg.Subscribe
	ask.Target, ask.Package = user+"@"+w.s.cfg.Realm, presence.Dialog.String()
	ask.Watcher = cmp.Or(ask.Watcher, ask.Target)
	ask.Handle = func(n *phone.Notify) {
		if n.State == "terminated" {
			end(fmt.Errorf("the server ended the subscription: %s", n.Reason))
			return
		}
		w.hear(here, user, n)
	}
	if !w.take(ctx) {
		return ctx.Err()
	}
	open, cancel := context.WithTimeout(ctx, phoneTime)
	subscription, err := p.Subscribe(open, ask)
	cancel()
	<-w.slots
	if err != nil {
		return err
	}
	defer subscription.Forget()
	w.worked.Store(true)
	w.s.reached(running, w.working.Add(1) > 0)
	defer func() { w.s.reached(running, w.working.Add(-1) > 0) }()
	if err = subscription.Keep(here); here.Err() != nil {
		err = context.Cause(here)
	}
	if ctx.Err() != nil {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeTime)
		defer cancel()
		_ = subscription.Refresh(bye, 0)
	}
	return err
}

// take waits until another SUBSCRIBE may be under way, or ctx ends.
func (w *phones) take(ctx context.Context) bool {
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// hear takes a NOTIFY. One without a document says that there is no dialog.
func (w *phones) hear(ctx context.Context, user string, n *phone.Notify) {
	heard := notify{user: user, eventPackage: presence.Dialog.String(), state: presence.Terminated, code: 200}
	if strings.TrimSpace(n.Body) != "" {
		var err error
		if heard.state, heard.call, err = readDialogs(n.Body); err != nil {
			w.s.unread(ctx, wrongNotify, fmt.Sprintf("%v: %.300q", err, n.Body))
			return
		}
	}
	w.s.tell(ctx, func(b *book, now time.Time) { b.told(heard, now) })
}
