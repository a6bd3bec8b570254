package bench_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/valyala/fasthttp"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/budget"
	"lamplight/cluster/subject"
	lamplight "lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/access"
	"lamplight/transport/kazoo"
)

// TestTenants measures what an account that floods a node costs another one. The account B reads, sets and has its watchers told, at a
// modest rate: alone, beside the account A that sends requests, events and subscriptions as its budgets allow, and while A sends ten times as
// many. It does so once with budgets and once without. The flood comes from a child process at the lowest priority. What the kernel does for the flood's
// connections still costs B.
func TestTenants(t *testing.T) {
	onlyToMeasure(t)
	budgets := budget.Limits{budget.Requests: 200, budget.Events: 200, budget.Notifies: 200, budget.Subscriptions: 1000}
	for _, c := range []struct {
		name    string
		budgets budget.Limits
	}{{"budgets", budgets}, {"no budgets", budget.Limits{}}} {
		t.Run(c.name, func(t *testing.T) {
			config := nodetest.Config("bench", t.TempDir())
			config.Budgets = c.budgets
			n := startAs(t, config)
			b := newTenant(t, n, config.TokenKey)
			b.measure(5 * time.Second)        // warm
			beside := []int{0, 1, floodTimes} // how many times its budgets A sends meanwhile
			rounds, used := make([][]latencies, len(beside)), make([]time.Duration, len(beside))
			for range 3 {
				for i, times := range beside {
					stop := func() string { return "none" }
					if times > 0 {
						stop = startFlood(t, n, budgets, times)
					}
					before := cpu()
					rounds[i] = append(rounds[i], b.measure(10*time.Second))
					used[i] += (cpu() - before) / 30
					t.Logf("what A sent: %s", stop())
				}
			}
			t.Logf("CPU time of the node with B's client, a second: %v alone, %v beside A within its budgets, %v beside the flood", used[0].Round(time.Millisecond), used[1].Round(time.Millisecond), used[2].Round(time.Millisecond))
			for i, what := range b.what() {
				at := func(rounds []latencies, percent int) time.Duration {
					var all []time.Duration
					for _, r := range rounds {
						all = append(all, r[i]...)
					}
					slices.Sort(all)
					return all[len(all)*percent/100]
				}
				for _, percent := range []int{50, 99} {
					alone, within, flooded := at(rounds[0], percent), at(rounds[1], percent), at(rounds[2], percent)
					t.Logf("p%d of B's %s: %v alone, %v beside A within its budgets, %v beside the flood, %.2f and %.2f times", percent, what,
						alone.Round(10*time.Microsecond), within.Round(10*time.Microsecond), flooded.Round(10*time.Microsecond), float64(flooded)/float64(alone), float64(flooded)/float64(within))
				}
			}
		})
	}
}

// latencies are how long reads, sets, and the way to the watcher took.
type latencies [3][]time.Duration

// tenant is the account B.
type tenant struct {
	t       *testing.T
	base    string
	token   string
	client  *http.Client
	told    sync.Map // extension → when it was set, until its watcher is told
	mu      sync.Mutex
	delays  []time.Duration
	changes int
}

const tenantExtensions = 100

func (b *tenant) what() [3]string {
	return [3]string{"reads", "sets", "changes until the watcher's edge has them"}
}

func newTenant(t *testing.T, n *node, keyFile string) *tenant {
	t.Helper()
	const account = "00000000000000000000000000000002"
	key, err := access.LoadOrCreateKey(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	b := &tenant{t: t, base: "http://" + n.Addr(lamplight.HTTP) + "/v2/accounts/" + account + "/presence/", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if b.token, err = access.Sign(key, account, time.Hour); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(n.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe(subject.Notify("edge-b"), func(m *nats.Msg) {
		d, err := kazoo.ReadNotify(m.Data)
		if err != nil {
			return
		}
		if begun, ok := b.told.LoadAndDelete(d.Presentity); ok {
			b.mu.Lock()
			b.delays = append(b.delays, time.Since(begun.(time.Time)))
			b.mu.Unlock()
		}
	}); err != nil || conn.Flush() != nil {
		t.Fatal(err)
	}
	for i := range tenantExtensions {
		to := actors.Address{Realm: "small." + realm, User: strconv.Itoa(i)}
		a := n.Router().Request(t.Context(), actors.Request{To: to, Message: presence.Subscribe{CallID: "b-" + to.User, From: "9@" + to.Realm, ServerID: "edge-b", Expires: 3600}})
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	return b
}

// do makes a request and returns how long it took.
func (b *tenant) do(method, user, body string) time.Duration {
	begun := time.Now()
	q, _ := http.NewRequest(method, b.base+user, nil)
	if body != "" {
		q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	q.Header.Set("X-Auth-Token", b.token)
	a, err := b.client.Do(q)
	if err != nil {
		b.t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, a.Body)
	_ = a.Body.Close()
	if a.StatusCode != 200 {
		b.t.Errorf("B's %s was answered %d", method, a.StatusCode)
	}
	return time.Since(begun)
}

// measure reads 80 times and sets 20 times a second.
func (b *tenant) measure(d time.Duration) (l latencies) {
	b.mu.Lock()
	b.delays = nil
	b.mu.Unlock()
	var all sync.WaitGroup
	var mu sync.Mutex
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(d)
	for i := 0; time.Now().Before(end); i++ {
		<-tick.C
		user := strconv.Itoa(i / 5 % tenantExtensions)
		all.Go(func() {
			which, took := 0, time.Duration(0)
			if i%5 == 0 {
				b.mu.Lock()
				b.changes++
				state := []string{"early", "confirmed"}[b.changes/tenantExtensions%2]
				b.mu.Unlock()
				b.told.Store(user+"@small."+realm, time.Now())
				which, took = 1, b.do("POST", user, `{"data":{"action":"set","state":"`+state+`"}}`)
			} else {
				took = b.do("GET", user, "")
			}
			mu.Lock()
			l[which] = append(l[which], took)
			mu.Unlock()
		})
	}
	all.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	l[2] = b.delays
	return l
}

// floodFor is the environment variable that makes the test binary a child process with only the flood of the account A; its value is a flood as
// JSON.
const floodFor = "LAMPLIGHT_BENCH_FLOOD"

// floodTimes is how many times its budgets the account A sends when it floods.
const floodTimes = 10

// flood is where the account A sends what, and in the child what came of it. The child runs at the lowest priority: a tenant has a machine of its
// own, so the flood should take no time of the CPU that the node wants.
type flood struct {
	NATS, HTTP, Account, Token string
	Budgets                    budget.Limits
	Times                      int // how many times its budgets it sends

	took                                                    time.Duration
	requests, refused, failed                               atomic.Int64
	events, subscriptions, eventsRefused, subscriptionsOver atomic.Int64
}

// startFlood starts the flood in a process of its own. stop ends it, and says what it sent and what was refused.
func startFlood(t *testing.T, n *node, budgets budget.Limits, times int) (stop func() string) {
	t.Helper()
	to, err := json.Marshal(&flood{NATS: n.url, HTTP: n.Addr(lamplight.HTTP), Account: n.account, Token: n.token, Budgets: budgets, Times: times})
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command("nice", "-n", "19", os.Args[0])
	p.Env = append(os.Environ(), floodFor+"="+string(to))
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // else Linux counts what the flood takes as taken by the group of the node's process
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	p.Stdout = &said
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return func() string {
		_ = in.Close()
		ended = true
		if err := p.Wait(); err != nil {
			t.Errorf("the flood: %v", err)
		}
		return strings.TrimSpace(said.String())
	}
}

// runFlood is the child process. It sends until its standard input is closed, and then prints what came of it.
func runFlood(to string) int {
	_ = os.WriteFile("/proc/self/autogroup", []byte("19"), 0) // a kernel that has groups of processes heeds the nice value only within one
	var f flood
	err := json.Unmarshal([]byte(to), &f)
	if err == nil {
		err = f.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	perSecond := func(n *atomic.Int64) float64 { return float64(n.Load()) / f.took.Seconds() }
	fmt.Printf("%.0f requests a second (%.0f refused, %d failed), %.0f events and %.0f subscriptions a second (%.0f refused as events, %.0f as subscriptions)\n",
		perSecond(&f.requests), perSecond(&f.refused), f.failed.Load(), perSecond(&f.events), perSecond(&f.subscriptions), perSecond(&f.eventsRefused), perSecond(&f.subscriptionsOver))
	if least := 0.9 * float64(f.Times); perSecond(&f.requests) < least*float64(f.Budgets[budget.Requests]) || perSecond(&f.events)+perSecond(&f.subscriptions) < least*float64(f.Budgets[budget.Events]) {
		fmt.Println("the machine was too busy for all that was to be sent: measure again on a quiet machine")
	}
	return 0
}

// run sends requests, events, and new subscriptions.
func (f *flood) run() error {
	conn, err := nats.Connect(f.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	inbox := conn.NewRespInbox()
	if _, err := conn.Subscribe(inbox, func(m *nats.Msg) {
		var refusal struct{ Code, Reason string }
		_ = json.Unmarshal(m.Data, &refusal)
		switch refusal.Reason {
		case kazoo.TooManySubscriptions:
			f.subscriptionsOver.Add(1)
		case kazoo.OverBudget:
			f.eventsRefused.Add(1)
		}
	}); err != nil {
		return err
	}
	begun := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	// each calls do so many times a second, and makes up for the time that this process had to wait for a CPU.
	each := func(perSecond int, do func(i int)) {
		all.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for i := 0; ; {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				for due := int(time.Since(begun).Seconds() * float64(perSecond)); i < due && ctx.Err() == nil; i++ {
					do(i)
				}
			}
		})
	}
	const connections = 200
	client := &fasthttp.HostClient{Addr: f.HTTP, MaxConns: connections}
	slots := make(chan struct{}, connections)
	each(f.Times*f.Budgets[budget.Requests], func(i int) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(q)
			defer fasthttp.ReleaseResponse(a)
			q.SetRequestURI("http://" + f.HTTP + "/v2/accounts/" + f.Account + "/presence/" + strconv.Itoa(100000+i%1000))
			q.Header.Set("X-Auth-Token", f.Token)
			if err := client.Do(q, a); err != nil {
				f.failed.Add(1)
				return
			}
			if f.requests.Add(1); a.StatusCode() == 429 {
				f.refused.Add(1)
			}
		})
	})
	each(f.Times*f.Budgets[budget.Events]/2, func(i int) {
		call := fmt.Sprint("k", os.Getpid(), "-", i/3)
		to := strconv.Itoa(100000 + i/3%1000)
		f.events.Add(1)
		_ = conn.PublishRequest(subject.DialogUpdate(realm, call), inbox, fmt.Appendf(nil, `{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"dialog_update","Msg-ID":"%d","From":"%s@%s","To":"2@%s","Call-ID":"%s","State":"%s"}`,
			i, to, realm, realm, call, []string{"early", "confirmed", "terminated"}[i%3]))
	})
	each(f.Times*f.Budgets[budget.Events]/2, func(i int) {
		to := strconv.Itoa(100000 + i%1000)
		f.subscriptions.Add(1)
		_ = conn.PublishRequest(subject.Subscription(realm, to), inbox, fmt.Appendf(nil, `{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"subscription","Msg-ID":"%d","User":"%s@%s","From":"%d@%s","Call-ID":"s%d","Server-ID":"edge-a","Expires":3600}`,
			i, to, realm, i, realm, i))
	})
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	all.Wait()
	f.took = time.Since(begun)
	return conn.Flush()
}
