package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lamplight/bench/phones"
	"lamplight/transport/sip"
)

// storming is how many phones storm: few, or with LAMPLIGHT_MEASURE=long (`make measure MEASURE=long`) 20,000.
func storming() int {
	if os.Getenv("LAMPLIGHT_MEASURE") == "long" {
		return 20_000
	}
	return 400
}

// pss is the memory of a process without the files of its program, in bytes.
func pss(t *testing.T, pid int) (total int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(line, ":"); name == "Pss_Anon" || name == "Pss_Shmem" {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += kb << 10
		}
	}
	return total
}

// crowd is phones at a node of its own, of the realm of one account.
type crowd struct {
	*phones.Fleet
	t     *testing.T
	count int
	node  *localCluster
	told  []atomic.Bool
}

// newCrowd starts a node and the sockets of the phones.
func newCrowd(t *testing.T, count int, transport sip.Transport, flows int) *crowd {
	t.Helper()
	s := Settings{Scenario: "subscribe", Via: "sip", Transport: transport.String(), Nodes: 1, Extensions: count, Smallest: count, Largest: count}
	s.Defaults()
	if transport == sip.TLS {
		s.tls = selfSigned(t)
	}
	c := &crowd{t: t, count: count, told: make([]atomic.Bool, count)}
	var err error
	if c.node, err = startNodes(build(t), &s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.node.close(true); err != nil {
			t.Error(err)
		}
	})
	const realm = "storm.example.com"
	file := filepath.Join(t.TempDir(), "accounts.json")
	if err := os.WriteFile(file, []byte(`{"accounts":[{"name":"Storm","realm":"`+realm+`"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(build(t), "import", "--nats", c.node.nats[0], file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.Fleet, err = phones.Dial(t.Context(), phones.Config{Servers: c.node.sip, Transport: transport, TLS: &tls.Config{InsecureSkipVerify: true}, Flows: flows, Local: c.node.phones, Count: count,
		Find: func(callID string) int32 { i, _ := strconv.Atoi(callID); return int32(i) % int32(count) },
		Phone: func(i int32) phones.Phone {
			user := strconv.Itoa(int(i))
			return phones.Phone{CallID: user, Watcher: "w" + user + "@" + realm, Target: user + "@" + realm}
		},
		Told: func(n *phones.Told) { c.told[n.Phone].Store(true) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Fleet.Close)
	return c
}

// selfSigned makes a certificate and its key, and gives their files.
func selfSigned(t *testing.T) [2]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := [2]string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(files[i], pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// subscribe has all phones subscribe or refresh, at most so many at a time, and waits until all were answered and told.
func (c *crowd) subscribe(atOnce int) {
	c.t.Helper()
	begun := time.Now()
	var refused, repeats, failed atomic.Int64
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range c.count {
		slots <- struct{}{}
		c.told[i].Store(false)
		all.Add(1)
		c.Subscribe(int32(i), 3600, begun.Add(3*time.Minute), func(a phones.Answer) {
			if a.Err != nil {
				failed.Add(1)
			}
			refused.Add(int64(a.RetryAfter))
			repeats.Add(int64(a.Repeats))
			<-slots
			all.Done()
		})
	}
	all.Wait()
	took := time.Since(begun)
	until := time.Now().Add(40 * time.Second)
	for i := range c.count {
		for !c.told[i].Load() {
			if time.Now().After(until) {
				c.t.Fatalf("phone %d was not told", i)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if failed.Load() > 0 {
		c.t.Errorf("%d phones did not get through", failed.Load())
	}
	c.t.Logf("%d phones, %d at once: all got through after %v; %d answers were 503, %d requests and %d NOTIFYs were sent again", c.count, atOnce, took.Round(time.Millisecond), refused.Load(), repeats.Load(), c.Copies())
}

// memory returns the memory of the node.
func (c *crowd) memory(when string) int64 {
	c.t.Helper()
	n := pss(c.t, c.node.nodes[0].process.PID())
	c.t.Logf("%s: %.1f MB", when, float64(n)/1e6)
	return n
}

// All phones subscribe at once, more than the edge lets wait. Those that it can't take come again after 503, and get through. Some time after the storm
// the node has no more memory than one whose phones came one after the other.
func TestStorm(t *testing.T) {
	count, settle, bound := storming(), time.Second, 2.0
	if count > 10_000 {
		settle, bound = 40*time.Second, 1.05
	}
	calm, storm := newCrowd(t, count, sip.UDP, 8), newCrowd(t, count, sip.UDP, 8)
	time.Sleep(2 * time.Second)
	calm.memory("calm, resting")
	storm.memory("storm, resting")
	calm.subscribe(64)
	calm.memory("calm, after")
	storm.subscribe(count)
	storm.memory("storm, after")
	time.Sleep(settle)
	calm.memory("calm, settled")
	storm.memory("storm, settled")
	calm.subscribe(64)
	storm.subscribe(count)
	calm.memory("calm, refreshed")
	storm.memory("storm, refreshed")
	time.Sleep(settle)
	want := calm.memory("calm, refreshed, settled")
	if got := storm.memory("storm, refreshed, settled"); float64(got) > bound*float64(want) {
		t.Errorf("after a storm the node has %d bytes, and after calm phones %d", got, want)
	}
}

// An idle TLS connection takes a bounded number of bytes of the node, beside what the subscription of its phone takes. For many, the
// figure is that after a collection of garbage.
func TestIdleFlows(t *testing.T) {
	count, most, settle := min(storming(), 5000), int64(60<<10), time.Duration(0) // few connections share what the node needs once
	if count > 1000 {
		most, settle = 40<<10, 130*time.Second // Go collects garbage at least every 2 minutes
	}
	calm := newCrowd(t, count, sip.UDP, 8)
	before := calm.memory("on UDP, resting")
	calm.subscribe(64)
	secured := newCrowd(t, count, sip.TLS, count)
	secured.subscribe(64)
	secured.memory("on TLS, at once")
	time.Sleep(settle)
	udp := calm.memory("on UDP, after") - before
	each := (secured.memory("on TLS, after") - before - udp) / int64(count)
	t.Logf("an idle TLS connection: %d B", each)
	if each > most {
		t.Errorf("an idle TLS connection takes %d B, more than %d", each, most)
	}
}
