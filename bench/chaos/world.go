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
	accountID = "c4a05000000000000000000000000001"
	realm     = "chaos.example.com"
	directory = `{"accounts":[{"id":"` + accountID + `","name":"Chaos","realm":"` + realm + `"}]}`
)

// edges that subscriptions are behind.
var edgeNames = []string{"edge-1.example.com", "edge-2", "edge-3", "edge-4"}

// extension is one that commands, calls and reads are about.
type extension struct {
	name string

	mu    sync.Mutex
	used  int
	calls []string // their Call-IDs
}

func (e *extension) address() string { return e.name + "@" + realm }

// addCall names a new call.
func (e *extension) addCall() (number int, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id = fmt.Sprintf("%s-call-%d@10.0.0.9", e.name, len(e.calls))
	e.calls = append(e.calls, id)
	return len(e.calls) - 1, id
}

// phone is one watcher of one extension: a subscription as its worker last knew it. Only its worker changes it.
type phone struct {
	extension *extension
	callID    string
	edge      string
	cseq      int
	expires   int
	active    bool
	touched   time.Time // before the last SUBSCRIBE was sent for the first time
	renewed   time.Time // when its acknowledgement came
}

// lapsed says whether it may, or surely must, have ended by itself: what it was granted and the grace of 20 s, on clocks
// that differ by at most skew.
func (p *phone) lapsed(now time.Time, skew time.Duration) (may, must bool) {
	life := time.Duration(p.expires+20) * time.Second
	return now.After(p.touched.Add(life - skew)), now.After(p.renewed.Add(life + 5*time.Second + skew))
}

// world is all that the generators made. An extension that was used enough gives its place to a new one, so that each
// one's history stays short enough to be judged.
type world struct {
	mu    sync.Mutex
	most  int
	pool  []*extension
	all   []*extension
	named int
}

func newWorld(pool, most int) *world {
	w := &world{most: most}
	for range pool {
		w.pool = append(w.pool, w.fresh())
	}
	return w
}

func (w *world) fresh() *extension {
	w.named++
	e := &extension{name: fmt.Sprintf("%d", 1000+w.named)}
	if w.named%7 == 0 {
		e.name = "*3" + e.name // a parking slot's kind of name
	}
	w.all = append(w.all, e)
	return e
}

// pick gives an extension for one more operation.
func (w *world) pick(r *rand.Rand) *extension {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := r.IntN(len(w.pool))
	e := w.pool[i]
	e.mu.Lock()
	e.used++
	spent := e.used > w.most
	e.mu.Unlock()
	if spent {
		w.pool[i] = w.fresh()
		return w.pool[i]
	}
	return e
}

// lamp is a read in the form that the model compares: the manual state, then what each visible call is.
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
		state := letter(d.State)
		if state == early || highest == noState {
			highest = state
		}
		switch i, known := number[d.CallID]; {
		case d.Source == "manual":
			manual = state
		case !known:
			return "", fmt.Errorf("%s shows a dialog that nobody made: %+v", e.name, d)
		default:
			calls = append(calls, fmt.Sprintf("%04d%c", i, state))
		}
	}
	if highest == noState {
		highest = terminated
	}
	if letter(s.State) != highest {
		return "", fmt.Errorf("%s is %s with the dialogs %+v", e.name, s.State, s.Dialogs)
	}
	sort.Strings(calls)
	return string(manual) + strings.Join(calls, ""), nil
}

// States in short.
const (
	noState    = '.'
	early      = 'e'
	confirmed  = 'c'
	terminated = 't'
)

var stateNames = map[byte]string{early: "early", confirmed: "confirmed", terminated: "terminated"}

func letter(state string) byte {
	if state == "" {
		return noState
	}
	return state[0]
}
