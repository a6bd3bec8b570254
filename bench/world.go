package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// world is what exists in a run: accounts with their extensions, and watchers, each of one extension. Extensions and watchers
// are numbers from 0, and their names are made from these, so that millions of them take little memory.
type world struct {
	run          string // a part of all names, so that they differ from those of other runs
	parent       string // the ID of the account above all others, whose token is good for them
	key          string // the API key of the parent
	accounts     []account
	byRealm      map[string]int32
	accountIndex []int32 // by extension: its account
	watched      []int32 // by watcher: the extension that it watches
	first        []int32 // by extension: where its watchers begin in watchers
	watchers     []int32 // in the order of their extensions
	edges        []string
}

// account is one account. Its extensions are the size numbers from first on.
type account struct {
	id, realm   string
	first, size int
}

// newWorld makes accounts whose sizes are spread evenly on a logarithmic scale between s.Smallest and s.Largest. Each extension
// gets one watcher, as long as there are any. All further watchers go to random extensions, so many to each account as it has extensions, round by round.
func newWorld(s *Settings, run string, random *rand.Rand) *world {
	w := &world{run: run, parent: newID(random), key: fmt.Sprintf("%032x", random.Uint64()), byRealm: map[string]int32{}}
	for first := 0; first < s.Extensions; {
		size := int(float64(s.Smallest) * math.Pow(float64(s.Largest)/float64(s.Smallest), random.Float64()))
		size = min(max(size, 1), s.Extensions-first)
		n := len(w.accounts)
		realm := fmt.Sprintf("b%d.%s.bench.invalid", n, run)
		w.accounts = append(w.accounts, account{id: newID(random), realm: realm, first: first, size: size})
		w.byRealm[realm] = int32(n)
		for range size {
			w.accountIndex = append(w.accountIndex, int32(n))
		}
		first += size
	}
	w.watched = make([]int32, s.Subscriptions)
	w.first = make([]int32, s.Extensions+1)
	for i := range w.watched {
		home := w.accounts[w.accountIndex[i%s.Extensions]]
		x := i % s.Extensions // the first watcher of each extension
		if i >= s.Extensions {
			x = home.first + random.IntN(home.size)
		}
		w.watched[i] = int32(x)
		w.first[x+1]++
	}
	for x := range s.Extensions {
		w.first[x+1] += w.first[x]
	}
	w.watchers = make([]int32, len(w.watched))
	next := append([]int32(nil), w.first...)
	for i, x := range w.watched {
		w.watchers[next[x]] = int32(i)
		next[x]++
	}
	for e := range s.Edges {
		w.edges = append(w.edges, fmt.Sprintf("bench-%d-%s", e, run))
	}
	return w
}

// newID makes an account ID.
func newID(random *rand.Rand) string {
	return fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
}

func (w *world) extensions() int { return len(w.accountIndex) }

// watchersOf gives the watchers of an extension.
func (w *world) watchersOf(x int32) []int32 { return w.watchers[w.first[x]:w.first[x+1]] }

// accountOf gives the account of an extension.
func (w *world) accountOf(x int32) *account { return &w.accounts[w.accountIndex[x]] }

func (w *world) user(x int32) string { return strconv.Itoa(1000 + int(x) - w.accountOf(x).first) }

func (w *world) address(x int32) string { return w.user(x) + "@" + w.accountOf(x).realm }

// findExtension gives the extension with an address, or -1 if it is none of this world.
func (w *world) findExtension(address string) int32 {
	user, realm, _ := strings.Cut(address, "@")
	n, ok := w.byRealm[realm]
	i, err := strconv.Atoi(user)
	if !ok || err != nil || i < 1000 || i-1000 >= w.accounts[n].size {
		return -1
	}
	return int32(w.accounts[n].first + i - 1000)
}

func (w *world) callID(watcher int32) string { return strconv.Itoa(int(watcher)) + "-" + w.run }

// findWatcher gives the watcher whose subscription has a Call-ID, or -1 if it is none of this world.
func (w *world) findWatcher(callID string) int32 {
	number, run, _ := strings.Cut(callID, "-")
	i, err := strconv.Atoi(number)
	if err != nil || run != w.run || i < 0 || i >= len(w.watched) {
		return -1
	}
	return int32(i)
}

// watcherName is the user part of a watcher's address.
func watcherName(i int32) string { return "w" + strconv.Itoa(int(i)) }

// devices writes the watchers of an account as devices.
func (w *world) devices(b *strings.Builder, n int32, password string) {
	a := &w.accounts[n]
	comma := ""
	for _, i := range w.watchers[w.first[a.first]:w.first[a.first+a.size]] {
		fmt.Fprintf(b, `%s{"name":"%s","sip":{"username":"%s","password":%q}}`, comma, watcherName(i), watcherName(i), password)
		comma = ","
	}
}

// directory gives the accounts as a file for `lamplight import`. With a password, each watcher is a device with it.
func (w *world) directory(password string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"accounts":[{"id":"%s","name":"lamplight bench %s","realm":"%s.bench.invalid","api_key":"%s"}`, w.parent, w.run, w.run, w.key)
	for n, a := range w.accounts {
		fmt.Fprintf(&b, `,{"id":"%s","name":"%s","realm":"%s","parent_id":"%s","devices":[`, a.id, a.realm, a.realm, w.parent)
		if password != "" {
			w.devices(&b, int32(n), password)
		}
		b.WriteString("]}")
	}
	b.WriteString(`]}`)
	return b.String()
}
