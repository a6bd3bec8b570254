package chaos

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	accountID   = "c4a05000000000000000000000000001"
	realm       = "chaos.example.com"
	accountFile = `{"accounts":[{"id":"` + accountID + `","name":"Chaos","realm":"` + realm + `"}]}`
)

// edgeNames are the edges that the watchers are behind.
var edgeNames = []string{"edge-1.example.com", "edge-2", "edge-3", "edge-4"}

// extension is one extension that calls, commands and reads are about.
type extension struct {
	name string

	mu    sync.Mutex
	used  int      // operations on it
	calls []string // the Call-IDs of its calls, by number
}

func (e *extension) address() string { return e.name + "@" + realm }

// addCall makes a new call of the extension.
func (e *extension) addCall() (number int, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id = fmt.Sprintf("%s-call-%d@10.0.0.9", e.name, len(e.calls))
	e.calls = append(e.calls, id)
	return len(e.calls) - 1, id
}

// phone is one watcher of one extension, with its subscription as its worker knows it. Only its worker changes it.
type phone struct {
	extension *extension
	callID    string
	edge      string
	cseq      int
	expires   int
	active    bool
	sentAt    time.Time // just before the first try of the last SUBSCRIBE
	ackedAt   time.Time // when the last SUBSCRIBE was acknowledged
}

// lapsed says whether the subscription may have ended by itself, and whether it must have. It ends when its Expires and a grace
// of 20 s are over, on clocks that differ by at most skew.
func (p *phone) lapsed(now time.Time, skew time.Duration) (may, must bool) {
	life := time.Duration(p.expires+20) * time.Second
	return now.After(p.sentAt.Add(life - skew)), now.After(p.ackedAt.Add(life + 5*time.Second + skew))
}

// world is all extensions. One that was used often enough gives its place to a new one, so that its history stays short enough
// to be judged. pick may be called from any goroutine.
type world struct {
	mu      sync.Mutex
	maxUses int          // operations on one extension
	pool    []*extension // in use
	all     []*extension // that there ever were
	named   int          // how many have a name
}

func newWorld(pool, most int) *world {
	w := &world{maxUses: most}
	for range pool {
		w.pool = append(w.pool, w.newExtension())
	}
	return w
}

func (w *world) newExtension() *extension {
	w.named++
	e := &extension{name: fmt.Sprintf("%d", 1000+w.named)}
	if w.named%7 == 0 {
		e.name = "*3" + e.name // a name such as a parking slot has
	}
	w.all = append(w.all, e)
	return e
}

// pick gives a random extension for one operation.
func (w *world) pick(r *rand.Rand) *extension {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := r.IntN(len(w.pool))
	e := w.pool[i]
	e.mu.Lock()
	e.used++
	spent := e.used > w.maxUses
	e.mu.Unlock()
	if spent {
		w.pool[i] = w.newExtension()
		return w.pool[i]
	}
	return e
}

// lamp gives what a read shows in the form of the model's state: the manual state, then each call with its state.
func (e *extension) lamp(s *shown) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	number := make(map[string]int, len(e.calls))
	for i, id := range e.calls {
		number[id] = i
	}
	manual, calls := byte(noState), []string{}
	highest := byte(noState)
	for _, d := range s.Dialogs {
		state := stateLetter(d.State)
		if state == early || highest == noState {
			highest = state
		}
		switch i, known := number[d.CallID]; {
		case d.Source == "manual":
			manual = state
		case !known:
			return "", fmt.Errorf("%s shows a dialog of a call that no worker made: %+v", e.name, d)
		default:
			calls = append(calls, fmt.Sprintf("%04d%c", i, state))
		}
	}
	if highest == noState {
		highest = terminated
	}
	if stateLetter(s.State) != highest {
		return "", fmt.Errorf("%s has the state %s, which does not follow from its dialogs %+v", e.name, s.State, s.Dialogs)
	}
	sort.Strings(calls)
	return string(manual) + strings.Join(calls, ""), nil
}

// The states, as one byte each.
const (
	noState    = '.'
	early      = 'e'
	confirmed  = 'c'
	terminated = 't'
)

var stateNames = map[byte]string{early: "early", confirmed: "confirmed", terminated: "terminated"}

// stateLetter gives the byte of a state's name.
func stateLetter(state string) byte {
	if state == "" {
		return noState
	}
	return state[0]
}
