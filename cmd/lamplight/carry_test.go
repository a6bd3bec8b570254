package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/subject"
)

// sets is sets of manual states that go on, and what each extension may be set to: the last state that was acknowledged, one that was sent since,
// or one that got no answer, because such a set may still be carried out after a later one.
type sets struct {
	mu    sync.Mutex
	acked map[string]string
	open  map[string]map[string]bool // without an answer
	tale  map[string][]string        // what came of each, for a failure
	stop  chan struct{}
	done  sync.WaitGroup
}

const (
	setters  = 16 // each sets extensions of its own, one after the other:
	setOnce  = 40 // these once, so that they must be carried on,
	setOften = 8  // and these from then on
)

func newSets() *sets {
	return &sets{acked: map[string]string{}, open: map[string]map[string]bool{}, tale: map[string][]string{}}
}

// start begins to set, over a connection that may be lost.
func (s *sets) start(conn *nats.Conn) {
	s.stop = make(chan struct{})
	for w := range setters {
		s.done.Go(func() { s.run(conn, 7000+w*(setOnce+setOften)) })
	}
}

func (s *sets) run(conn *nats.Conn, first int) {
	states := []string{"early", "confirmed", "terminated"}
	for i := 0; ; i++ {
		user, state := fmt.Sprint(first+i), states[i%2]
		if i >= setOnce {
			user, state = fmt.Sprint(first+setOnce+i%setOften), states[i/setOften%len(states)]
		}
		m, err := conn.Request(subject.Set(realm, user), document("set", map[string]any{"Realm": realm, "Username": user, "State": state}), 10*time.Second)
		s.mu.Lock()
		if err == nil && strings.Contains(string(m.Data), `"Status":"ok"`) {
			s.acked[user] = state
			s.tale[user] = append(s.tale[user], state)
		} else {
			if s.open[user] == nil {
				s.open[user] = map[string]bool{}
			}
			s.open[user][state] = true
			s.tale[user] = append(s.tale[user], state+" without an answer")
		}
		s.mu.Unlock()
		select {
		case <-s.stop:
			return
		default:
			if conn.IsClosed() {
				return
			}
		}
	}
}

// end stops the sets, and compares the lamps that a node shows with the sets that were acknowledged. The next sets are compared with the lamps as
// they are now.
func (s *sets) end(t *testing.T, p *process) {
	t.Helper()
	close(s.stop)
	s.done.Wait()
	for _, user := range slices.Sorted(maps.Keys(s.tale)) {
		state := p.state(user)
		if state != cmp.Or(s.acked[user], "terminated") && !s.open[user][state] {
			t.Errorf("%s is %s, and the last sets were: %v", user, state, s.tale[user][max(0, len(s.tale[user])-6):])
		}
		s.acked[user] = state
	}
	clear(s.open)
}

// state is the lamp of an extension.
func (p *process) state(user string) string {
	p.t.Helper()
	q, err := http.NewRequest("GET", p.http+"/v2/accounts/"+account+"/presence/"+user, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	q.Header.Set("X-Auth-Token", p.token)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	var a struct{ Data struct{ State string } }
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil || r.StatusCode != 200 {
		p.t.Fatalf("the state of %s: %s, %v", user, r.Status, err)
	}
	return a.Data.State
}

// carried is how many records a node has carried on.
func (p *process) carried() (n float64) {
	r, err := http.Get(p.http + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = r.Body.Close() }()
	text, _ := io.ReadAll(r.Body)
	if _, after, ok := strings.Cut(string(text), "\nlamplight_journal_carried_total "); ok {
		_, _ = fmt.Sscan(after, &n)
	}
	return n
}

// kill9 kills a node when it has carried on some records more.
func (p *process) kill9() {
	p.t.Helper()
	before := p.carried()
	eventually(p.t, "records are carried on", 60*time.Second, func() bool { return p.carried() >= before+50 })
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// A node that is killed (kill -9) while the slots of its ranges are written again, and what lives in them is carried on, has lost nothing that it
// acknowledged.
func TestKilledWhileRecordsAreCarriedOn(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	s := newSets()
	for range 3 {
		s.start(p.conn)
		p.kill9()
		p.conn.Close()
		token := p.token
		p = serve(t, p.data)
		p.token = token
		s.end(t, p)
	}
}

// The same with three copies: first one node is killed and started again while the others go on, and then all three at once.
func TestClusterKilledWhileRecordsAreCarriedOn(t *testing.T) {
	t.Parallel()
	c := newTrio(t)
	nodes := c.startAll(t, nil)
	for _, n := range nodes {
		n.await()
	}
	nodes[0].sample()
	token := nodes[0].token
	again := func(i int) {
		nodes[i] = c.start(t, i, nil)
		nodes[i].token = token
	}
	s := newSets()
	s.start(nodes[0].conn)
	for _, i := range []int{2, 1} {
		nodes[i].kill9()
		again(i)
		nodes[i].await()
	}
	s.end(t, nodes[1])
	s.start(nodes[0].conn)
	nodes[1].kill9()
	for _, i := range []int{0, 2} {
		_ = nodes[i].cmd.Process.Kill()
		_ = nodes[i].cmd.Wait()
	}
	nodes[0].conn.Close()
	for i := range nodes {
		again(i)
	}
	for _, n := range nodes {
		n.await()
	}
	s.end(t, nodes[2])
}
