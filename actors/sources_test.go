package actors_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/actors/actorstest"
	"lamplight/actors/presence"
)

// source is the name of a source that the stage's shard watches over.
func (s *stage) source() string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("fs", i); actors.ShardOf(actors.SourceAddress(name)) == s.shard {
			return name
		}
	}
}

// up says that the source lives, and waits until that is durable.
func (s *stage) up(name, incarnation string, expires int) {
	s.Helper()
	a := s.ask(actors.SourceAddress(name), presence.SourceUp{Source: name, Switch: "sip:one", Incarnation: incarnation, Expires: expires}, 0)
	s.durable()
	s.good(a)
}

// A source that says nothing for its Expires is taken for gone: the calls of its switch end on all nodes. That is tried until it is done,
// also by the next owner of the shard.
func TestSilentSource(t *testing.T) {
	s := open(t, 100)
	name := s.source()
	begun := time.Now()
	s.up(name, "i1", 1)
	s.durable() // that it is silent
	gone := get(s, "the end of its calls", s.ends)
	if gone.Switch != "sip:one" || gone.Before.Before(begun.Add(time.Second)) || gone.Before.After(time.Now()) {
		t.Errorf("%+v", gone)
	}
	if all := s.sys.Sources(t.Context()); len(all) != 1 || !all[0].Silent || all[0].Name != name {
		t.Errorf("%+v", all)
	}
	s.endErr <- errors.New("some shards did not answer")
	if again := get(s, "another try", s.ends); again != gone {
		t.Errorf("%+v, then %+v", gone, again)
	}
	s.sys.Drop(s.shard, 0)
	s.claim.Generation++
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim, Records: s.kept.All()})
	if again := get(s, "the next owner's try", s.ends); again.Switch != gone.Switch || again.Before.UnixMicro() != gone.Before.UnixMicro() {
		t.Errorf("%+v, then %+v", gone, again)
	}
	s.endErr <- nil
	s.endErr <- nil
	s.durable() // that it is done
	s.sys.Drop(s.shard, 0)
	s.claim.Generation++
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim, Records: s.kept.All()})
	if all := s.sys.Sources(t.Context()); len(all) != 1 || !all[0].Silent || all[0].Owed.Switch != "" || len(s.ends) > 0 {
		t.Errorf("%+v, %d ends", all, len(s.ends))
	}
}

// A source that was started again has told of calls that may have ended meanwhile.
func TestSourceStartedAgain(t *testing.T) {
	s := open(t, 100)
	name := s.source()
	s.up(name, "i1", 3600)
	s.up(name, "i1", 3600)
	s.up(name, "i2", 3600)
	gone := get(s, "the end of the calls of before", s.ends)
	if gone.Switch != "sip:one" || time.Since(gone.Before) > time.Minute {
		t.Errorf("%+v", gone)
	}
	s.endErr <- nil
	s.durable() // that it is done
	s.up(name, "i2", 0)
	if all := s.sys.Sources(t.Context()); len(all) != 0 || len(s.ends) > 0 {
		t.Errorf("a source that has stopped: %+v", all)
	}
}

// While the node can't be sure of its lease, and after a takeover, a source has its whole time again: nobody could hear it.
func TestSourceNobodyCouldHear(t *testing.T) {
	s := open(t, 100)
	name := s.source()
	s.up(name, "i1", 2)
	s.sys.Drop(s.shard, 0)
	s.claim.Generation++
	opened := time.Now()
	s.sys.Open(s.shard, actors.Opening{Claim: s.claim, Records: s.kept.All()})
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.CutOff })
	for time.Since(opened) < 2500*time.Millisecond && len(s.ends) == 0 {
		s.heard()
		time.Sleep(10 * time.Millisecond)
	}
	s.journal.Set(func(j *actorstest.Settings) { j.Standing = actors.Fresh })
	fresh := time.Now()
	s.durable() // that it is silent
	gone := get(s, "the end of its calls", s.ends)
	if took := gone.Before.Sub(fresh); took < 1400*time.Millisecond {
		t.Errorf("it was taken for gone %v after it could be heard again", took)
	}
	s.endErr <- nil
	s.durable()
}
