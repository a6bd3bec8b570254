package shadow

import (
	"fmt"
	"maps"
	"time"

	"lamplight/actors/presence"
)

// Reporter takes what the comparison finds. One goroutine calls its methods, one after the other; they must not wait for long. A Difference may be
// kept: it changes once more, before Over is called with it.
type Reporter interface {
	// Found reports a difference that has lasted for longer than the grace time. Each has another ID.
	Found(d *Difference)
	// Over reports that a difference is over: the sides agree, or one of them says nothing of it any more.
	Over(d *Difference)
	// Summary reports what was compared so far. It comes every Config.Interval and in the end.
	Summary(s *Summary)
}

// Difference is one difference between Lamplight and the running system.
type Difference struct {
	ID        int    `json:"id"`
	Kind      string `json:"kind"` // lamp or subscription
	Extension string `json:"extension"`
	Watcher   string `json:"watcher,omitzero"`       // of a subscription
	Package   string `json:"event_package,omitzero"` // of a subscription

	Lamplight Said      `json:"lamplight"`
	Running   Said      `json:"running_system"`
	Since     time.Time `json:"since"`
	Cause     string    `json:"cause"`   // one of Causes
	Because   string    `json:"because"` // the evidence, for people
	Events    Events    `json:"events"`

	Over   time.Time `json:"over,omitzero"`
	Lasted float64   `json:"lasted_seconds,omitzero"`
}

// Said is what a side says.
type Said struct {
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
}

// Events are what each side saw of an extension lately, oldest first.
type Events struct {
	Lamplight []Seen `json:"lamplight,omitzero"`
	Running   []Seen `json:"running_system,omitzero"`
}

// Seen is one event.
type Seen struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

func (l *lamp) said() Said { return Said{State: l.state.String(), Since: l.since} }

// seen says what an event was.
func (ev *event) seen() Seen {
	s := Seen{At: ev.at}
	switch {
	case ev.kind == document:
		s.What = fmt.Sprintf("was sent %s of call %s", ev.state, ev.call)
	case ev.to == "":
		s.What = "told " + ev.state.String()
	case ev.code == 0:
		s.What = fmt.Sprintf("told %s to %s", ev.state, ev.to)
	default:
		s.What = fmt.Sprintf("told %s to %s, who answered %d", ev.state, ev.to, ev.code)
	}
	return s
}

// Summary is what was compared since the command began.
type Summary struct {
	At            time.Time  `json:"at"`
	Realm         string     `json:"realm"`
	Seconds       float64    `json:"seconds"` // since the comparison began
	Extensions    Extensions `json:"extensions"`
	Subscriptions Counts     `json:"subscriptions"`
	Differences   Found      `json:"differences"`
	Later         struct {
		Lamplight Later `json:"lamplight"`
		Running   Later `json:"running_system"`
	} `json:"later"`
	ClockBehind struct {
		Lamplight float64 `json:"lamplight"`
		Running   float64 `json:"running_system"`
	} `json:"clock_behind_seconds"`
	Listings struct {
		Lamplight Listings `json:"lamplight"`
		Running   Listings `json:"running_system"`
	} `json:"listings"`
	Unreadable int `json:"unreadable"` // documents and NOTIFYs of which nothing could be made
	Unkept     int `json:"unkept"`     // extensions and subscriptions that were past the bounds, and are not compared
}

// Extensions counts extensions.
type Extensions struct {
	Compared  int `json:"compared"` // both sides say something of them
	Agreed    int `json:"agreed"`
	Waiting   int `json:"waiting"` // they differ, for less than the grace time or until the running system is asked again
	Differ    int `json:"differ"`
	Unwatched int `json:"unwatched"` // lit at Lamplight, and without a watcher at the running system: it says nothing of them
}

// Counts counts subscriptions.
type Counts struct {
	Compared  bool `json:"compared"` // false: Lamplight has none in the realm, or the running system can't be asked for its own
	Both      int  `json:"both"`
	Lamplight int  `json:"only_lamplight"`
	Running   int  `json:"only_running_system"`
}

// Found counts differences.
type Found struct {
	All      int            `json:"all"`
	Open     int            `json:"open"`
	Unlisted int            `json:"unlisted"` // past the bound of open ones: counted alone
	ByCause  map[string]int `json:"by_cause"`
}

// Listings counts the listings that a side was asked for.
type Listings struct {
	Complete   int `json:"complete"`
	Incomplete int `json:"incomplete"` // it did not answer, or not in time, or not of all its parts
}

// sum fills in what the book knows.
func (b *book) sum(s *Summary, alive bool) {
	s.Realm = b.realm
	for _, e := range b.extensions {
		ours, theirs := e.lamps[lamplight].state, e.lamps[running].state
		lit := ours == presence.Early || ours == presence.Confirmed
		switch {
		case theirs == presence.None:
			if lit {
				s.Extensions.Unwatched++
			}
		case ours == presence.None:
		case e.open != nil:
			s.Extensions.Differ++
		case !e.unequal.IsZero():
			s.Extensions.Waiting++
		default:
			s.Extensions.Agreed++
		}
		for _, one := range e.subscriptions {
			switch has := [2]bool{b.subscribed.has(one.round[lamplight]), b.lists[running].has(one.round[running])}; {
			case has[lamplight] && has[running]:
				s.Subscriptions.Both++
			case has[lamplight]:
				s.Subscriptions.Lamplight++
			case has[running]:
				s.Subscriptions.Running++
			}
		}
	}
	s.Extensions.Compared = s.Extensions.Agreed + s.Extensions.Waiting + s.Extensions.Differ
	s.Subscriptions.Compared = b.ours > 0 && !alive
	s.Differences = Found{All: b.number + b.unlisted, Open: b.openNow, Unlisted: b.unlisted, ByCause: maps.Clone(b.causes)}
	s.Later.Lamplight, s.Later.Running = b.later[lamplight].sum(), b.later[running].sum()
	s.ClockBehind.Lamplight, s.ClockBehind.Running = b.clocks[lamplight].off(), b.clocks[running].off()
	s.Unkept = b.unkept
}

// clockTime is a time for people.
func clockTime(t time.Time) string { return t.UTC().Format("15:04:05.000Z") }
