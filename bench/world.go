package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// world is who exists in a run: accounts with extensions, and watchers with the one extension that each watches. All are
// numbers; their names are made from these, so that millions of them cost little.
type world struct {
	run      string // tells the names of this run from those of others
	parent   string // the account above all others, whose token is good for them
	key      string // its API key
	accounts []account
	byRealm  map[string]int32
	account  []int32 // of an extension
	watches  []int32 // of a watcher: the extension
	first    []int32 // of an extension: where its watchers begin in watchers
	watchers []int32
	edges    []string
}

type account struct {
	id, realm string
	string
	first, size int
}

// newWorld makes accounts of many sizes (as many small ones as there are large ones in each decade) and spreads the
// watchers over the extensions of the account that they are in.
func newWorld(s *Settings, run string, random *rand.Rand) *world {
	w := &world{run: run, parent: id(random), key: fmt.Sprintf("%032x", random.Uint64()), byRealm: map[string]int32{}}
	for first := 0; first < s.Extensions; {
		size := int(float64(s.Smallest) * math.Pow(float64(s.Largest)/float64(s.Smallest), random.Float64()))
		size = min(max(size, 1), s.Extensions-first)
		n := len(w.accounts)
		realm := fmt.Sprintf("b%d.%s.bench.invalid", n, run)
		w.accounts = append(w.accounts, account{id: id(random), realm: realm, first: first, size: size})
		w.byRealm[realm] = int32(n)
		for range size {
			w.account = append(w.account, int32(n))
		}
		first += size
	}
	w.watches = make([]int32, s.Subscriptions)
	w.first = make([]int32, s.Extensions+1)
	for i := range w.watches {
		home := w.accounts[w.account[i%s.Extensions]]
		x := i % s.Extensions // the first round: one watcher for each
		if i >= s.Extensions {
			x = home.first + random.IntN(home.size)
		}
		w.watches[i] = int32(x)
		w.first[x+1]++
	}
	for x := range s.Extensions {
		w.first[x+1] += w.first[x]
	}
	w.watchers = make([]int32, len(w.watches))
	next := append([]int32(nil), w.first...)
	for i, x := range w.watches {
		w.watchers[next[x]] = int32(i)
		next[x]++
	}
	for e := range s.Edges {
		w.edges = append(w.edges, fmt.Sprintf("bench-%d-%s", e, run))
	}
	return w
}

func id(random *rand.Rand) string { return fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64()) }

func (w *world) extensions() int { return len(w.account) }

// of gives the watchers of an extension.
func (w *world) of(x int32) []int32 { return w.watchers[w.first[x]:w.first[x+1]] }

func (w *world) home(x int32) *account { return &w.accounts[w.account[x]] }

func (w *world) user(x int32) string { return strconv.Itoa(1000 + int(x) - w.home(x).first) }

func (w *world) address(x int32) string { return w.user(x) + "@" + w.home(x).realm }

// find is the inverse of address; -1: it is none of this world.
func (w *world) find(address string) int32 {
	user, realm, _ := strings.Cut(address, "@")
	n, ok := w.byRealm[realm]
	i, err := strconv.Atoi(user)
	if !ok || err != nil || i < 1000 || i-1000 >= w.accounts[n].size {
		return -1
	}
	return int32(w.accounts[n].first + i - 1000)
}

func (w *world) callID(watcher int32) string { return strconv.Itoa(int(watcher)) + "-" + w.run }

// watcher is the inverse of callID; -1: it is none of this world.
func (w *world) watcher(callID string) int32 {
	number, run, _ := strings.Cut(callID, "-")
	i, err := strconv.Atoi(number)
	if err != nil || run != w.run || i < 0 || i >= len(w.watches) {
		return -1
	}
	return int32(i)
}

// directory is what `lamplight import` would load.
func (w *world) directory() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"accounts":[{"id":"%s","name":"lamplight bench %s","realm":"%s.bench.invalid","api_key":"%s"}`, w.parent, w.run, w.run, w.key)
	for _, a := range w.accounts {
		fmt.Fprintf(&b, `,{"id":"%s","name":"%s","realm":"%s","parent_id":"%s"}`, a.id, a.realm, a.realm, w.parent)
	}
	b.WriteString(`]}`)
	return b.String()
}
