package bench_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

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
// modest rate, first alone and then while the account A sends requests, events and subscriptions at several times its budgets. It does so once
// with budgets and once without. The flood comes from this process, and a part of what it costs B is the CPU time of the flood itself.
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
			b.measure(5 * time.Second) // warm
			var rounds [2][]latencies
			for range 3 {
				rounds[0] = append(rounds[0], b.measure(10*time.Second))
				stop := flood(t, n, budgets)
				rounds[1] = append(rounds[1], b.measure(10*time.Second))
				t.Logf("the flood: %s", stop())
			}
			for i, what := range b.what() {
				p99 := func(rounds []latencies) time.Duration {
					var all []time.Duration
					for _, r := range rounds {
						all = append(all, r[i]...)
					}
					slices.Sort(all)
					return all[len(all)*99/100]
				}
				alone, flooded := p99(rounds[0]), p99(rounds[1])
				t.Logf("p99 of B's %s: %v alone, %v beside the flood, %.2f times", what, alone.Round(10*time.Microsecond), flooded.Round(10*time.Microsecond), float64(flooded)/float64(alone))
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

// flood sends of the account A four times its budgets: requests, events, and new subscriptions, until stop is called, which says what came
// of it.
func flood(t *testing.T, n *node, budgets budget.Limits) (stop func() string) {
	t.Helper()
	const times = 4
	done := make(chan struct{})
	var all sync.WaitGroup
	var requests, refused, events, eventsRefused, subscriptions, subscriptionsRefused atomic.Int64
	each := func(perSecond int, do func(i int)) {
		all.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; {
				select {
				case <-done:
					return
				case <-tick.C:
				}
				for range perSecond / 100 {
					do(i)
					i++
				}
			}
		})
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	slots := make(chan struct{}, 64)
	each(times*budgets[budget.Requests], func(i int) {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			q, _ := http.NewRequest("GET", "http://"+n.Addr(lamplight.HTTP)+"/v2/accounts/"+n.account+"/presence/"+strconv.Itoa(100000+i%1000), nil)
			q.Header.Set("X-Auth-Token", n.token)
			a, err := client.Do(q)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
			if requests.Add(1); a.StatusCode == 429 {
				refused.Add(1)
			}
		})
	})
	conn, err := nats.Connect(n.url)
	if err != nil {
		t.Fatal(err)
	}
	inbox := conn.NewRespInbox()
	if _, err := conn.Subscribe(inbox, func(m *nats.Msg) {
		var refusal struct{ Code, Reason string }
		_ = json.Unmarshal(m.Data, &refusal)
		if refusal.Code != "" {
			if refusal.Reason == kazoo.TooManySubscriptions {
				subscriptionsRefused.Add(1)
			} else {
				eventsRefused.Add(1)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	each(times*budgets[budget.Events]/2, func(i int) {
		call := fmt.Sprint("k", i/3)
		to := strconv.Itoa(100000 + i/3%1000)
		events.Add(1)
		_ = conn.PublishRequest(subject.DialogUpdate(realm, call), inbox, fmt.Appendf(nil, `{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"dialog_update","Msg-ID":"%d","From":"%s@%s","To":"2@%s","Call-ID":"%s","State":"%s"}`,
			i, to, realm, realm, call, []string{"early", "confirmed", "terminated"}[i%3]))
	})
	each(times*budgets[budget.Events]/2, func(i int) {
		to := strconv.Itoa(100000 + i%1000)
		subscriptions.Add(1)
		_ = conn.PublishRequest(subject.Subscription(realm, to), inbox, fmt.Appendf(nil, `{"App-Name":"x","App-Version":"1","Event-Category":"presence","Event-Name":"subscription","Msg-ID":"%d","User":"%s@%s","From":"%d@%s","Call-ID":"s%d","Server-ID":"edge-a","Expires":3600}`,
			i, to, realm, i, realm, i))
	})
	return func() string {
		close(done)
		all.Wait()
		_ = conn.Flush()
		conn.Close()
		return fmt.Sprintf("%d requests (%d refused), %d events and %d subscriptions (%d refused as events, %d as subscriptions)",
			requests.Load(), refused.Load(), events.Load(), subscriptions.Load(), eventsRefused.Load(), subscriptionsRefused.Load())
	}
}
