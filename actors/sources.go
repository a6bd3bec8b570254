package actors

import (
	"context"
	"errors"
	"time"

	"lamplight/actors/presence"
)

// sourceRealm is the realm of the addresses under which sources of calls are asked: no account can have it. So a source belongs to a
// shard as an extension does, and its owner watches over it.
const sourceRealm = "\x00source"

// maxSources is how many sources a shard knows, so that a stranger can't fill the memory with invented ones.
const maxSources = 100

// sourceLook is how often a shard looks whether sources can be heard.
const sourceLook = 500 * time.Millisecond

// owedPause is how long a shard waits before it asks again that what is owed for a source is done.
const owedPause = 2 * time.Second

// SourceAddress is the address of a source.
func SourceAddress(name string) Address { return Address{Realm: sourceRealm, User: name} }

// source is a source of calls that the shard watches over.
type source struct {
	presence.Source
	ticket uint64 // of its last write
	asked  bool   // what is owed is under way
}

// sourceUp takes news of a source.
func (s *shard) sourceUp(ev presence.SourceUp, by *caller, now time.Time) {
	if err := ev.Check(); err != nil {
		by.answer(Answer{Err: err})
		return
	}
	if s.standing() == CutOff {
		by.answer(Answer{Err: ErrUnavailable})
		return
	}
	o := s.sources[ev.Source]
	if o == nil && len(s.sources) >= maxSources {
		by.answer(Answer{Err: ErrBusy})
		return
	}
	if (o == nil || o.Silent) && ev.Expires > 0 {
		s.sys.cfg.Log.Info("a source of calls is up", "source", ev.Source, "switch", ev.Switch, "incarnation", ev.Incarnation)
	}
	if o == nil {
		o = &source{}
		if s.sources == nil {
			s.sources = map[string]*source{}
		}
		s.sources[ev.Source] = o
	}
	forget, err := o.Hear(&ev, now)
	if err != nil {
		by.answer(Answer{Err: err})
		return
	}
	if forget {
		delete(s.sources, ev.Source)
		s.sys.cfg.Log.Info("a source of calls has stopped in good order", "source", ev.Source, "switch", ev.Switch)
		s.write(SourceAddress(ev.Source), []presence.Record{o.Buried(now)})
	} else {
		s.keepSource(o)
	}
	s.enqueue(entry{ticket: s.issued, wrote: true, at: now, caller: by}, now)
}

// keepSource writes the record of a source.
func (s *shard) keepSource(o *source) {
	s.write(SourceAddress(o.Name), []presence.Record{o.Record()})
	o.ticket = s.issued
}

// loadSource takes the record of a source. A source may have spoken while no node listened: it has its whole time again.
func (s *shard) loadSource(data []byte, now time.Time) error {
	o, gone, err := presence.ReadSource(data)
	if err != nil {
		return err
	}
	if gone {
		delete(s.sources, o.Name)
		return nil
	}
	if !o.Silent {
		o.Until = now.Add(time.Duration(o.Expires) * time.Second)
	}
	if s.sources == nil {
		s.sources = map[string]*source{}
	}
	s.sources[o.Name] = &source{Source: o}
	return nil
}

// tickSources takes sources for gone that have said nothing for too long, and has what is owed for them done. While the lease is not
// fresh, no source can be heard: each has its whole time again once it is.
func (s *shard) tickSources(now time.Time) {
	if !s.open || s.flushing || s.paused {
		return
	}
	fresh := s.standing() == Fresh
	for _, o := range s.sources {
		switch {
		case !fresh:
			if whole := now.Add(time.Duration(o.Expires) * time.Second); !o.Silent && whole.After(o.Until) {
				o.Until = whole
			}
		case o.Lapse(now):
			s.sys.cfg.Log.Warn("a source of calls is silent; the calls that it told of end unless another source tells of them again", "source", o.Name, "switch", o.Switch, "expires_s", o.Expires)
			s.keepSource(o)
		}
		if fresh && o.Owed.Switch != "" && !o.asked && o.ticket <= s.durable {
			o.asked = true
			s.sys.settle(s.id, o.Name, o.Owed)
		}
	}
}

// watchSources asks for a look at the sources soon, if there are any to look at.
func (s *shard) watchSources(soon func(time.Duration)) {
	for _, o := range s.sources {
		switch {
		case o.Owed.Switch != "" && !o.asked:
			soon(50 * time.Millisecond) // its record may still be in flight
		case !o.Silent:
			soon(sourceLook) // it must not miss that nobody could be heard
		}
	}
}

// settled is the message that what was owed for a source was done or, with an err, was not.
type settled struct {
	source string
	owed   presence.SwitchGone
	err    error
}

// settle ends what is owed for a source on all nodes, in a goroutine of its own, and tells the shard.
func (s *System) settle(shard int, name string, owed presence.SwitchGone) {
	s.owed.Go(func() {
		select {
		case s.settling <- struct{}{}:
		case <-s.stopping.Done():
			return
		}
		ended, err := s.cfg.EndSwitch(s.stopping, owed)
		<-s.settling
		if err == nil {
			s.cfg.Log.Info("a source of calls is gone or was started again; the calls that it had told of before have ended", "source", name, "switch", owed.Switch, "before", owed.Before, "calls", ended)
		} else if !errors.Is(err, context.Canceled) {
			s.cfg.Log.Warn("the calls of a source that is gone could not be ended on all nodes; that is tried again", "source", name, "switch", owed.Switch, "err", err)
			select {
			case <-time.After(owedPause):
			case <-s.stopping.Done():
			}
		}
		s.tell(shard, settled{name, owed, err})
	})
}

// settle notes what was done for a source.
func (s *shard) settle(m settled) {
	o := s.sources[m.source]
	if o == nil || !s.open {
		return
	}
	o.asked = false
	if m.err == nil && o.Owed == m.owed {
		o.Owed = presence.SwitchGone{}
		s.keepSource(o)
	}
}

// sourceListing asks a shard for its sources.
type sourceListing chan<- []presence.Source

// Sources lists the sources that this node watches over, in no order.
func (s *System) Sources(ctx context.Context) (all []presence.Source) {
	replies := make(chan []presence.Source, Shards)
	for shard := range s.shards {
		s.tell(shard, sourceListing(replies))
	}
	for range s.shards {
		select {
		case some := <-replies:
			all = append(all, some...)
		case <-ctx.Done():
			return all
		}
	}
	return all
}

// listSources lists the sources of the shard.
func (s *shard) listSources() (all []presence.Source) {
	for _, o := range s.sources {
		all = append(all, o.Source)
	}
	return all
}
