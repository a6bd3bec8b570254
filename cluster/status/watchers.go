package status

import (
	"cmp"
	"slices"
	"time"
)

// Ask is what a request for a Status asks for beside what every answer has. A node of an earlier release passes over it.
type Ask struct {
	Watchers bool `json:"watchers,omitzero"` // Status.Watchers
	// Top asks for Status.Top: what accounts use over so many milliseconds, up to MostTop, after which the answer comes.
	Top int `json:"top_ms,omitzero"`
}

// The bounds of an answer.
const (
	MaxEdges  = 50   // edges in Status.Watchers: those with the most watchers that may show something else than they should
	MaxWorst  = 5    // extensions that each of them names
	MaxTop    = 50   // accounts of each kind of use in Status.Top
	MostTop   = 5000 // ms
	MaxAsk    = 1 << 10
	otherEdge = "other"
)

// Watchers says how many watchers behind one edge may show something else than they should.
type Watchers struct {
	Edge       string      `json:"edge"`                // "any": the watchers that name none; "other": those of further edges
	Listens    string      `json:"listens,omitzero"`    // whether anybody listens for its NOTIFYs: presence.EdgeListening and the like; "": nobody knows, or they are several edges
	ListensAt  time.Time   `json:"listens_at,omitzero"` // when that was seen (presence.EdgeState)
	Watchers   int         `json:"watchers"`
	Untold     int         `json:"not_told"`     // those that should know more than they were told
	Unanswered int         `json:"not_answered"` // those that were told it and have not answered, or have answered with a failure
	Since      time.Time   `json:"since,omitzero"`
	Worst      []Extension `json:"worst,omitzero"` // the extensions that have had such watchers for longest
}

// Extension is an extension with watchers that may show something else than they should.
type Extension struct {
	Extension  string    `json:"extension"` // user@realm
	Untold     int       `json:"not_told"`
	Unanswered int       `json:"not_answered"`
	Since      time.Time `json:"since"`
}

// WatchersOf returns what the answers of all nodes add up to, those edges first whose watchers have lagged for longest.
func WatchersOf(all []Status) []Watchers {
	by := map[string]*Watchers{}
	for _, s := range all {
		for _, w := range s.Watchers {
			if by[w.Edge] == nil {
				by[w.Edge] = &Watchers{Edge: w.Edge}
			}
			by[w.Edge].add(w)
		}
	}
	views := make([]Watchers, 0, len(by))
	for _, w := range by {
		views = append(views, *w)
	}
	Bound(&views)
	return views
}

func (w *Watchers) add(more Watchers) {
	w.Watchers, w.Untold, w.Unanswered = w.Watchers+more.Watchers, w.Untold+more.Untold, w.Unanswered+more.Unanswered
	if w.Since.IsZero() || !more.Since.IsZero() && more.Since.Before(w.Since) {
		w.Since = more.Since
	}
	if more.Listens != "" && (w.Listens == "" || more.ListensAt.After(w.ListensAt)) { // the newest that a node has seen
		w.Listens, w.ListensAt = more.Listens, more.ListensAt
	}
	w.Worst = append(w.Worst, more.Worst...)
	slices.SortFunc(w.Worst, func(a, b Extension) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Extension, b.Extension))
	})
	w.Worst = w.Worst[:min(len(w.Worst), MaxWorst)]
}

// Bound sorts edges, those first that have the most watchers which lag, and makes one of all that are more than MaxEdges.
func Bound(edges *[]Watchers) {
	slices.SortFunc(*edges, func(a, b Watchers) int {
		return cmp.Or(cmp.Compare(b.Untold+b.Unanswered, a.Untold+a.Unanswered), cmp.Compare(a.Edge, b.Edge))
	})
	if len(*edges) <= MaxEdges {
		return
	}
	rest := Watchers{Edge: otherEdge}
	for _, w := range (*edges)[MaxEdges:] {
		rest.add(w)
	}
	rest.Listens, rest.ListensAt = "", time.Time{}
	*edges = append((*edges)[:MaxEdges], rest)
}

// Use is what one account uses of a node, or of all nodes together.
type Use struct {
	Account       string  `json:"account"`
	Realm         string  `json:"realm"`
	Requests      float64 `json:"requests_per_second"`
	Events        float64 `json:"events_per_second"`
	Notifies      float64 `json:"notifies_per_second"`
	Subscriptions int     `json:"subscriptions"`
	Refused       float64 `json:"refused_per_second"` // above its budgets
}

// Uses are the kinds of use by which accounts are sorted, in the order of the columns.
var Uses = []string{"requests", "events", "notifies", "subscriptions"}

// Of returns one kind of use.
func (u *Use) Of(kind string) float64 {
	switch kind {
	case "requests":
		return u.Requests
	case "events":
		return u.Events
	case "notifies":
		return u.Notifies
	}
	return float64(u.Subscriptions)
}

// MostUsed returns the accounts that are among the first most of some kind of use.
func MostUsed(all []Use, most int) []Use {
	chosen := map[string]Use{}
	for _, kind := range Uses {
		SortUses(all, kind)
		for i := 0; i < min(most, len(all)) && all[i].Of(kind) > 0; i++ {
			chosen[all[i].Account] = all[i]
		}
	}
	out := make([]Use, 0, len(chosen))
	for _, u := range chosen {
		out = append(out, u)
	}
	return out
}

// SortUses sorts accounts by one kind of use, most first.
func SortUses(all []Use, kind string) {
	slices.SortFunc(all, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.Of(kind), a.Of(kind)), cmp.Compare(a.Account, b.Account))
	})
}

// TopOf returns what the answers of all nodes add up to. An account that is among the first of one node only counts with what that node says.
func TopOf(all []Status) []Use {
	by := map[string]*Use{}
	for _, s := range all {
		for _, u := range s.Top {
			if by[u.Account] == nil {
				by[u.Account] = &Use{Account: u.Account, Realm: u.Realm}
			}
			t := by[u.Account]
			t.Requests, t.Events, t.Notifies, t.Refused = t.Requests+u.Requests, t.Events+u.Events, t.Notifies+u.Notifies, t.Refused+u.Refused
			t.Subscriptions += u.Subscriptions
		}
	}
	out := make([]Use, 0, len(by))
	for _, u := range by {
		out = append(out, *u)
	}
	return out
}
