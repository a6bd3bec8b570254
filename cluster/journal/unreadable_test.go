package journal

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/backup"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// put writes a message in the place of a lease or claim, as somebody who may do so, and returns its sequence.
func (s *stage) put(name string, data []byte) uint64 {
	s.Helper()
	m, err := s.direct.Request("lamplight.journal.0."+name, data, testTimeout)
	if err != nil {
		s.Fatal(err)
	}
	var ack struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil || ack.Seq == 0 {
		s.Fatalf("%s: %v", m.Data, err)
	}
	return ack.Seq
}

// unreadable returns how many leases and claims the journal has counted as unreadable.
func (s *stage) unreadable() float64 {
	s.Helper()
	all, err := s.metrics.Gather()
	if err != nil {
		s.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "lamplight_journal_unreadable_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

// What stands in the place of a lease or claim and can't be read is replaced, on condition of its sequence, and the log and a
// counter say so. The shard is open again, with a higher generation, and takes writes (docs/contract/journal.md, rule 10).
func TestRule10UnreadableIsReplaced(t *testing.T) {
	claim := func(change string) string {
		return `{"schema":1,"node":"a","incarnation":"7f","nonce":"1","generation":3,"base":0,"epoch":"1"` + change + `}`
	}
	names := map[string]string{"a lease": subject.Lease("a"), "a claim": subject.Claim(our)}
	for what, name := range names {
		t.Run(what, func(t *testing.T) { // its journal stops before the next one starts
			s := newStage(t)
			counted := 0.0
			for kind, data := range map[string]string{
				"empty":               "",
				"bytes":               "\x00\xff\xfe\x80 garbage",
				"other JSON":          `[1,2,3]`,
				"a number":            `7`,
				"no schema":           `{"node":"a","incarnation":"7f"}`,
				"no names":            `{"schema":1}`,
				"an absurd type":      `{"schema":1,"node":{"a":1},"incarnation":"7f"}`,
				"an absurd schema":    `{"schema":-9223372036854775808,"node":"a","incarnation":"7f"}`,
				"too long":            `{"schema":1,"node":"a","incarnation":"7f","x":"` + strings.Repeat("x", maxDocument) + `"}`,
				"of another node":     `{"schema":1,"node":"z","incarnation":"7f"}`,
				"no generation":       strings.Replace(claim(""), `"generation":3`, `"generation":0`, 1),
				"absurd generation":   strings.Replace(claim(""), `"generation":3`, `"generation":9223372036854775806`, 1),
				"generation of 2^64":  strings.Replace(claim(""), `"generation":3`, `"generation":18446744073709551615`, 1),
				"absurd base":         strings.Replace(claim(""), `"base":0`, `"base":4294967295`, 1),
				"absurd base of 2^63": strings.Replace(claim(""), `"base":0`, `"base":9223372036854775807`, 1),
			} {
				if strings.Contains(data, `"nonce"`) && what == "a lease" {
					continue // a good lease with fields that leases do not have
				}
				t.Run(kind, func(t *testing.T) {
					s.T = t
					s.write("k", "before")
					s.durable()
					before := s.claim
					seq := s.put(name, []byte(data))
					s.openedAnew()
					if s.claim.Generation <= before.Generation || s.claim.Generation > before.Generation+10 {
						t.Errorf("%+v after %+v", s.claim, before)
					}
					if kind != "of another node" || what == "a lease" { // such a claim can be read
						for _, want := range []string{"level=ERROR", "subject=lamplight.journal.0." + name, fmt.Sprintf("sequence=%d ", seq)} {
							if !strings.Contains(s.logged.String(), want) {
								t.Errorf("the log lacks %q:\n%s", want, s.logged.String())
							}
						}
						now := s.unreadable() // a node that lost its lease meanwhile has seen it twice
						if now <= counted {
							t.Errorf("%v are counted, as before", now)
						}
						counted = now
					}
				})
			}
			s.T = t
		})
	}
}

// A node that starts where a claim can't be read takes the shard. Nobody knows the numbers that were given out, so all
// subscriptions of the shard end first (docs/contract/journal.md, rules 8 and 10).
func TestRule10UnreadableAtAStart(t *testing.T) {
	s := newStage(t)
	st := s.journal.of(ours)
	for late := time.Now().Add(testTimeout); s.journal.opened[our+1].Load() == 0 && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	claims := make(chan *nats.Msg, 100)
	if _, err := s.direct.ChanSubscribe("lamplight.journal.0."+subject.Claim(our+1), claims); err != nil {
		t.Fatal(err)
	}
	if err := s.direct.Flush(); err != nil {
		t.Fatal(err)
	}
	st.mu.Lock()
	st.cursor[subject.AnyClaim] = 1 << 40 // as if it had not looked at claims yet
	seq := s.put(subject.Claim(our+1), []byte("garbage"))
	st.act(st.machine.Recreated(st.now(), st.store.created.UnixNano()+1)) // as if it had not started yet
	st.cursor[subject.AnyClaim] = 0
	st.act(st.machine.Synced(st.now()))
	st.mu.Unlock()
	for late := time.After(testTimeout); ; {
		select {
		case m := <-claims:
			c, err := decodeClaim(m.Data)
			if err != nil || m.Header.Get("Nats-Expected-Last-Subject-Sequence") != strconv.FormatUint(seq, 10) {
				continue // the garbage itself, or a claim that does not replace it
			}
			if c.Base <= ownership.LastBase || c.Generation < uint64(time.Now().Add(-time.Hour).UnixMilli()) {
				t.Errorf("%+v", c)
			}
			return
		case <-late:
			t.Fatal("the range is never claimed")
		}
	}
}

// A lease or claim of a newer release is no garbage: it is left alone, whatever else it holds, and the log says what to do.
func TestNewerClaimIsLeftAlone(t *testing.T) {
	s := newStage(t)
	name := subject.Claim(our)
	newer := fmt.Sprintf(`{"schema":%d,"node":["b"],"shape":{"of":"later"}}`, presence.Schema+1)
	seq := s.put(name, []byte(newer))
	s.write("k", "fenced") // makes the node read the claim
	s.until("drop")
	for late := time.Now().Add(testTimeout); !strings.Contains(s.logged.String(), "upgrade this node"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the log says nothing:\n%s", s.logged.String())
		}
	}
	st := s.journal.of(ours)
	_, data, at, _, err := st.store.atLeader(t.Context(), name)
	if err != nil || at != seq || string(data) != newer {
		t.Errorf("%s at %d, %v", data, at, err)
	}
	if n := s.unreadable(); n != 0 {
		t.Errorf("%v are counted as unreadable", n)
	}
	s.put(name, encodeClaim(1, ownership.Claim{Node: "b", Incarnation: "b1", Nonce: 1, Generation: s.claim.Generation + 1})) // else the node can't leave
}

// Subjects that look like those of leases and claims, but are no node's and no shard's, count for nothing.
func TestNamesThatAreNoClaims(t *testing.T) {
	s := newStage(t)
	other := encodeClaim(1, ownership.Claim{Node: "b", Incarnation: "other", Nonce: 1, Generation: s.claim.Generation + 1})
	last := map[string]uint64{}
	for _, name := range []string{"0" + strconv.Itoa(our) + ".claim", "+" + strconv.Itoa(our) + ".claim", "99999.claim", "x.claim", "-1.claim", "lease.%2a", "lease.%61"} {
		filter := subject.AnyClaim
		if strings.HasPrefix(name, "lease.") {
			filter = subject.AnyLease
		}
		last[filter] = s.put(name, other)
	}
	st := s.journal.of(ours)
	for filter, seq := range last {
		for late := time.Now().Add(testTimeout); ; time.Sleep(5 * time.Millisecond) {
			st.mu.Lock()
			seen := st.cursor[filter] >= seq
			st.mu.Unlock()
			if seen {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("the node does not look at %s", filter)
			}
		}
	}
	if h := s.journal.Holder(ours); h != "a" {
		t.Errorf("the shard is held by %q", h)
	}
	s.write("k", "kept")
	s.durable()
}

// A backup that holds a claim which can't be read can be restored: the shard's subscriptions end, its other records stay.
func TestRestoredUnreadableClaim(t *testing.T) {
	if err := Check(backup.Entry{Part: backup.Journal, Name: "7.claim", Data: []byte("garbage")}); err != nil {
		t.Error(err)
	}
	r := &Restore{id: "7f"}
	if err := r.claim([]byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if c := r.restoredClaim(&store{created: time.Unix(5, 0)}); !c.Released || !c.All || c.Base <= ownership.LastBase {
		t.Errorf("%+v", c)
	}
	newer := []byte(fmt.Sprintf(`{"schema":%d}`, presence.Schema+1))
	if err := Check(backup.Entry{Part: backup.Journal, Name: "7.claim", Data: newer}); err == nil || !strings.Contains(err.Error(), "upgrade this node") {
		t.Errorf("of a newer release: %v", err)
	}
}
