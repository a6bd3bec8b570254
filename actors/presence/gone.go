package presence

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// This file is about records that belong to a shard, and not to an extension.

// The kinds of records of a shard.
const (
	KindGone   Kind = 'g'
	KindSource Kind = 'o'
)

// Gone says that a switch was declared gone (SwitchGone).
type Gone struct {
	Switch string
	Before time.Time
	Until  time.Time // it may be forgotten then
}

// The fields of the records of a shard, beside recSchema and recKey. A number keeps its meaning for ever.
const (
	goneBefore = 10 // µs, as the one below
	goneUntil  = 11

	sourceSwitch      = 10
	sourceIncarnation = 11
	sourceExpires     = 12 // s
	sourceUntil       = 13 // µs, as the others below
	sourceSilent      = 14
	sourceOwed        = 15
	sourceOwedSwitch  = 16
	sourceHeard       = 17
)

// Record is the durable form of g.
func (g Gone) Record(now time.Time) Record {
	b := appendNum(nil, recSchema, Schema)
	b = appendStr(b, recKey, g.Switch)
	b = appendNum(b, goneBefore, uint64(g.Before.UnixMicro()))
	b = appendNum(b, goneUntil, uint64(g.Until.UnixMicro()))
	return Record{Kind: KindGone, Key: g.Switch, Data: b, Life: max(g.Until.Sub(now), time.Second)}
}

// ReadGone reads what Record wrote. The error wraps ErrRecord.
func ReadGone(data []byte) (g Gone, err error) {
	var r record
	if err := r.parse(data, mask(goneBefore, goneUntil), 0); err != nil {
		return g, err
	}
	before, err := r.moment(goneBefore)
	until, err2 := r.moment(goneUntil)
	if err == nil {
		err = err2
	}
	return Gone{Switch: strings.Clone(r.str[recKey]), Before: moment(before), Until: moment(until)}, err
}

// MaxSwitch is how many bytes the Switch-URI of a source, or of a switch that is gone, may have: many records hold it.
const MaxSwitch = 256

// SourceUp says that a source of calls lives, such as a bridge, and which switch it tells of. Another incarnation than before has been
// started since: what the one before told of the switch's calls counts no more, unless it is told again.
type SourceUp struct {
	Source      string
	Switch      string    // the Switch-URI of its calls
	Incarnation string    // names this start of the source
	Expires     int       // seconds, at most LongestSourceLease: how long it may say nothing before it is taken for gone; 0: it stops in good order
	Timestamp   time.Time // when it said so; zero: when that arrived
}

func (SourceUp) message() {}

// LongestSourceLease is the longest Expires of a SourceUp, in seconds.
const LongestSourceLease = 3600

// Source is what is known of a source of calls.
type Source struct {
	Name        string
	Switch      string
	Incarnation string
	Expires     int       // seconds
	Until       time.Time // when it is taken for gone unless it speaks before; of one that is silent when that was
	Silent      bool      // it is taken for gone
	Heard       time.Time // the Timestamp of the newest SourceUp

	// Owed is a switch whose calls from before a moment have to end, because the source is gone or was started again, and of which it
	// is not known yet whether they have.
	Owed SwitchGone
}

// Check refuses what can't be.
func (ev *SourceUp) Check() error {
	if ev.Source == "" || ev.Switch == "" || ev.Incarnation == "" {
		return fmt.Errorf("%w: a source needs a name, a Switch-URI and an Incarnation", ErrInvalid)
	}
	if len(ev.Switch) > MaxSwitch {
		return fmt.Errorf("%w: the Switch-URI of a source has %d bytes; at most %d are allowed", ErrInvalid, len(ev.Switch), MaxSwitch)
	}
	return fits(ev.Expires, LongestSourceLease, ev.Source, ev.Switch, ev.Incarnation)
}

// ErrOwed says that a source tells of another switch, or was started again, for the second time while the calls of its switch before have not
// ended on all nodes yet. It may try again soon.
var ErrOwed = errors.New("the calls of the switch of which the source told before are about to end")

// lateCopy is how late a copy of a SourceUp comes at most. One whose Timestamp is older comes from a source whose clock was put back.
const lateCopy = time.Minute

// Hear takes a SourceUp, unless it is older than one that came before. Of a source whose clock was put back it takes that the source lives, and
// nothing else until that clock has caught up. forget says that the source has stopped in good order and nothing is owed.
// On an error, which wraps ErrOwed, the source has not changed.
func (s *Source) Hear(ev *SourceUp, now time.Time) (forget bool, err error) {
	at := moment(stamp(ev.Timestamp, now.UnixMicro()))
	if at.Before(s.Heard) {
		if s.Heard.Sub(at) > lateCopy && ev.Expires > 0 && s.Incarnation == ev.Incarnation && s.Switch == ev.Switch {
			s.Silent, s.Until = false, now.Add(time.Duration(ev.Expires)*time.Second)
		}
		return false, nil
	}
	if s.Incarnation != "" && (s.Incarnation != ev.Incarnation || s.Switch != ev.Switch) {
		if s.owesOther() {
			return false, fmt.Errorf("%w: %.100q", ErrOwed, s.Owed.Switch)
		}
		s.owe(at)
	}
	s.Heard = at
	s.Name, s.Switch, s.Incarnation = strings.Clone(ev.Source), strings.Clone(ev.Switch), strings.Clone(ev.Incarnation)
	s.Expires, s.Silent, s.Until = ev.Expires, false, now.Add(time.Duration(ev.Expires)*time.Second)
	return ev.Expires == 0 && s.Owed.Switch == "", nil
}

// owesOther says whether the calls of a switch have to end of which the source told before the present one. Only one switch can be owed.
func (s *Source) owesOther() bool { return s.Owed.Switch != "" && s.Owed.Switch != s.Switch }

// owe notes that the calls of the source's switch from before a moment have to end.
func (s *Source) owe(before time.Time) {
	if s.Owed.Switch == s.Switch && s.Owed.Before.After(before) {
		return
	}
	how := "the source %s, which was silent"
	if !s.Silent {
		how = "the source %s, which was started again"
	}
	s.Owed = SwitchGone{Switch: s.Switch, Before: before, Origin: Origin{By: fmt.Sprintf(how, s.Name)}}
}

// Lapse takes the source for gone if its time is over. It says whether that is new.
func (s *Source) Lapse(now time.Time) bool {
	if s.Silent || s.Until.After(now) || s.owesOther() {
		return false
	}
	s.Silent = true
	if s.Expires > 0 { // else it has stopped in good order
		s.owe(s.Until)
	}
	return true
}

// sourceRecordLife is how long a source is listed that says nothing more.
const sourceRecordLife = 24 * time.Hour

// Record is the durable form of s.
func (s *Source) Record() Record {
	b := appendNum(nil, recSchema, Schema)
	b = appendStr(b, recKey, s.Name)
	b = appendStr(b, sourceSwitch, s.Switch)
	b = appendStr(b, sourceIncarnation, s.Incarnation)
	b = appendNum(b, sourceExpires, uint64(s.Expires))
	b = appendNum(b, sourceUntil, uint64(s.Until.UnixMicro()))
	b = appendNum(b, sourceHeard, uint64(s.Heard.UnixMicro()))
	if s.Silent {
		b = appendNum(b, sourceSilent, 1)
	}
	if s.Owed.Switch != "" {
		b = appendNum(b, sourceOwed, uint64(s.Owed.Before.UnixMicro()))
		b = appendStr(b, sourceOwedSwitch, s.Owed.Switch)
	}
	return Record{Kind: KindSource, Key: s.Name, Data: b, Life: sourceRecordLife}
}

// Buried is the record of a source that is forgotten.
func (s *Source) Buried(now time.Time) Record {
	b := appendNum(nil, recSchema, Schema)
	b = appendStr(b, recKey, s.Name)
	b = appendNum(b, recGone, uint64(now.UnixMicro()))
	return Record{Kind: KindSource, Key: s.Name, Data: b, Life: time.Minute, Tombstone: true}
}

// ReadSource reads what Record wrote. gone says that it is the record of a source that is forgotten. The error wraps ErrRecord.
func ReadSource(data []byte) (s Source, gone bool, err error) {
	var r record
	if err := r.parse(data, mask(sourceExpires, sourceUntil, sourceSilent, sourceOwed, sourceHeard), mask(sourceSwitch, sourceIncarnation, sourceOwedSwitch)); err != nil {
		return s, false, err
	}
	expires, err := r.number(sourceExpires, math.MaxInt32)
	until, err2 := r.moment(sourceUntil)
	owed, err3 := r.moment(sourceOwed)
	heard, err4 := r.moment(sourceHeard)
	for _, e := range []error{err2, err3, err4} {
		if err == nil {
			err = e
		}
	}
	s = Source{Name: strings.Clone(r.str[recKey]), Switch: strings.Clone(r.str[sourceSwitch]), Incarnation: strings.Clone(r.str[sourceIncarnation]),
		Expires: int(expires), Until: moment(until), Heard: moment(heard), Silent: r.num[sourceSilent] != 0}
	if r.str[sourceOwedSwitch] != "" {
		s.Owed = SwitchGone{Switch: strings.Clone(r.str[sourceOwedSwitch]), Before: moment(owed)}
	}
	return s, r.num[recGone] != 0, err
}
