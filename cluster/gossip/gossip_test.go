package gossip

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"lamplight/actors/presence"
)

// transcript is a log that a test reads while a node writes it.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *transcript) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.all.String(), text)
}

func (w *transcript) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Count(w.all.Bytes(), []byte("\n"))
}

// gossiper starts a Membership on a free port, and returns it and its log.
func gossiper(t *testing.T, c Config) (*Membership, *transcript) {
	t.Helper()
	said := &transcript{}
	c.Listen, c.Log = "127.0.0.1:0", slog.New(slog.NewTextHandler(said, nil))
	m := New(c)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Stop(t.Context()) })
	return m, said
}

// works checks that a node still works after all that was done to it: it takes another node of its installation as a
// member.
func works(t *testing.T, m *Membership, c Config) {
	t.Helper()
	c.Node, c.Join = "good", []string{m.Addr()}
	other, _ := gossiper(t, c)
	for end := time.Now().Add(20 * time.Second); !slices.Equal(m.Nodes(), []string{"a", "good"}) || !slices.Equal(other.Nodes(), []string{"a", "good"}); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v and %v don't see each other", m.Nodes(), other.Nodes())
		}
	}
}

var key = bytes.Repeat([]byte{7}, 32)

// Random bytes on the gossip port, over UDP and TCP, do not end a node. With a key they do not make it send its state.
func TestStrayBytes(t *testing.T) {
	t.Parallel()
	for name, k := range map[string][]byte{"with a key": key, "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Config{Node: "a", Key: k, Route: "10.1.2.3:6222"}
			m, _ := gossiper(t, c)
			r := rand.New(rand.NewPCG(1, 2))
			junk := func(first byte) []byte {
				b := make([]byte, 1+r.IntN(2000))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				b[0] = first
				return b
			}
			udp, err := net.Dial("udp", m.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer udp.Close()
			for i := range 2000 {
				_, _ = udp.Write(junk(byte(i))) // an error here would be about an earlier packet
			}
			for i := range 100 {
				tcp, err := net.Dial("tcp", m.Addr())
				if err != nil {
					t.Fatalf("the port is closed: %v", err)
				}
				_, _ = tcp.Write(junk(byte(i % 16)))
				_ = tcp.(*net.TCPConn).CloseWrite()
				_ = tcp.SetReadDeadline(time.Now().Add(5 * time.Second))
				answer, _ := io.ReadAll(io.LimitReader(tcp, 1<<20))
				if k != nil && bytes.Contains(answer, []byte(c.Route)) {
					t.Errorf("it was told of the node's state: %q", answer)
				}
				_ = tcp.Close()
			}
			works(t, m, Config{Key: k})
		})
	}
}

// stranger starts a peer that speaks memberlist's protocol and is not a node of Lamplight.
func stranger(t *testing.T, name string, key, meta []byte) *memberlist.Memberlist {
	t.Helper()
	o := memberlist.DefaultLocalConfig()
	o.Name, o.BindAddr, o.BindPort, o.AdvertisePort, o.SecretKey = name, "127.0.0.1", 0, 0, key
	o.Logger, o.Delegate = log.New(io.Discard, "", 0), says(meta)
	l, err := memberlist.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Shutdown() })
	return l
}

// says is a memberlist.Delegate with these bytes as metadata.
type says []byte

func (s says) NodeMeta(int) []byte             { return s }
func (s says) NotifyMsg([]byte)                {}
func (s says) GetBroadcasts(int, int) [][]byte { return nil }
func (s says) LocalState(bool) []byte          { return []byte("state of a stranger") }
func (s says) MergeRemoteState([]byte, bool)   {}

const goodMeta = `{"schema":1,"oldest":1}`

// A peer without the key, or with another key, does not join and learns of no node.
func TestPeersWithoutTheKey(t *testing.T) {
	t.Parallel()
	m, said := gossiper(t, Config{Node: "a", Key: key})
	for name, k := range map[string][]byte{"no key": nil, "another key": bytes.Repeat([]byte{8}, 32), "a shorter key": bytes.Repeat([]byte{7}, 16)} {
		l := stranger(t, "stranger", k, []byte(goodMeta))
		if n, err := l.Join([]string{m.Addr()}); err == nil || n > 0 || l.NumMembers() != 1 {
			t.Errorf("%s: it joined %d nodes, and knows %d: %v", name, n, l.NumMembers(), err)
		}
	}
	works(t, m, Config{Key: key})
	if !said.has("is --gossip-key the same on all nodes?") {
		t.Error("the log does not say what to look at")
	}
}

// A peer that has the key and sends metadata that no node of this installation sends does not become a member, and
// changes nothing for the members.
func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	var m *Membership
	for what, p := range map[string]struct{ name, meta, why string }{
		"no metadata":       {"s1", "", "not a node of this installation"},
		"not JSON":          {"s2", "\x00\xff{", "not a node of this installation"},
		"another type":      {"s3", `{"schema":"x"}`, "not a node of this installation"},
		"as much as fits":   {"s4", `{"schema":1,"oldest":1,"prefix":"` + strings.Repeat("x", memberlist.MetaMaxSize-40) + `"}`, "its --prefix is"},
		"another prefix":    {"s5", goodMeta, "its --prefix is"},
		"a schema too new":  {"s6", `{"schema":9,"oldest":9,"prefix":"inst"}`, "upgrade one release at a time"},
		"a schema too old":  {"s7", `{"schema":0,"oldest":0,"prefix":"inst"}`, "upgrade one release at a time"},
		"a control in name": {"s8\r\nPUB x 0", `{"schema":1,"oldest":1,"prefix":"inst"}`, "a node's name has 1 to 128"},
		"a long name":       {strings.Repeat("n", 200), `{"schema":1,"oldest":1,"prefix":"inst"}`, "a node's name has 1 to 128"},
	} {
		var said *transcript
		m, said = gossiper(t, Config{Node: "a", Key: key, Prefix: "inst"})
		l := stranger(t, p.name, key, []byte(p.meta))
		for end := time.Now().Add(20 * time.Second); !said.has(p.why); time.Sleep(50 * time.Millisecond) {
			_, _ = l.Join([]string{m.Addr()}) // whether it became a member is checked below
			if time.Now().After(end) {
				t.Fatalf("%s: nothing says %q", what, p.why)
			}
		}
		if nodes := m.Nodes(); !slices.Equal(nodes, []string{"a"}) {
			t.Errorf("%s: members %q", what, nodes)
		}
		if m.Writes() != presence.Schema {
			t.Errorf("%s: it changed what is written to %d", what, m.Writes())
		}
		_ = l.Shutdown()
	}
	works(t, m, Config{Key: key, Prefix: "inst"})
}

// aliveMessage is what memberlist sends to say that a node lives.
func aliveMessage(name, meta string) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint16(append(b, 0xda), uint16(len(s))), s...)
	}
	alive := []byte{4, 0x86}
	alive = append(text(alive, "Incarnation"), 1)
	alive = text(text(alive, "Node"), name)
	alive = text(text(alive, "Addr"), "\x7f\x00\x00\x01")
	alive = append(text(alive, "Port"), 0xcd, 0x20, 0x20)
	alive = text(text(alive, "Meta"), meta)
	return text(text(alive, "Vsn"), "\x01\x05\x02\x00\x00\x00")
}

// Stray packets cost a few lines, and strangers on loopback cannot make any number of members.
func TestFloods(t *testing.T) {
	t.Parallel()
	m, said := gossiper(t, Config{Node: "a"})
	udp, err := net.Dial("udp", m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	send := func(packet []byte) {
		t.Helper()
		if _, err := udp.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	for i := range 20_000 {
		send([]byte(fmt.Sprintf("%c stray %d", rune(i%128), i)))
		send(aliveMessage(fmt.Sprint("stray-", i), goodMeta[:len(goodMeta)-1]))
	}
	end := time.Now().Add(20 * time.Second)
	for i := 0; !said.has("without --gossip-key at most 64 nodes"); i++ {
		send(aliveMessage(fmt.Sprint("crowd-", i), goodMeta))
		if time.Now().After(end) {
			t.Fatalf("%d members, and nothing says that there are too many", len(m.Nodes()))
		}
	}
	if n := len(m.Nodes()); n > maxKeyless {
		t.Errorf("%d members", n)
	}
	if n, most := said.lines(), 40*(1+int(time.Since(begun)/(10*time.Second))); n == 0 || n > most {
		t.Errorf("%d lines in the log, at most %d", n, most)
	}
}

// A peer sends more metadata than memberlist allows, which no memberlist would do. The test builds the message by hand:
// the type "alive" and then MessagePack, over UDP.
func TestHugeMetadata(t *testing.T) {
	t.Parallel()
	m, said := gossiper(t, Config{Node: "a"})
	alive := aliveMessage("huge", `{"schema":1,"oldest":1,"route":"`+strings.Repeat("x", 50000)+`"}`)
	udp, err := net.Dial("udp", m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for end := time.Now().Add(20 * time.Second); !said.has("not a node of this installation"); time.Sleep(20 * time.Millisecond) {
		if _, err := udp.Write(alive); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("the message was not looked at")
		}
	}
	if nodes := m.Nodes(); !slices.Equal(nodes, []string{"a"}) {
		t.Errorf("members %q", nodes)
	}
	works(t, m, Config{})
}

// A node writes the newest schema that all members can read. A member that reads less holds the others back until it is
// gone.
func TestWrites(t *testing.T) {
	list := []Member{{Name: "a", Schema: 3}, {Name: "b", Schema: 2}, {Name: "c", Schema: 9}}
	if got := commonSchema(4, list); got != 2 {
		t.Errorf("with b, who reads 2: %d", got)
	}
	if got := commonSchema(4, []Member{list[0], list[2]}); got != 3 {
		t.Errorf("without b: %d", got)
	}
	if got := commonSchema(4, list[2:]); got != 4 {
		t.Errorf("never more than this release knows: %d", got)
	}
}

// A node whose time to stop is over does not wait without end for nodes that have left too.
func TestLeaveTime(t *testing.T) {
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	far, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	for _, ctx := range []context.Context{over, far, t.Context()} {
		if d := leaveTime(ctx); d <= 0 || d > time.Second {
			t.Errorf("%v", d)
		}
	}
}

// Metadata that are taken from a peer have a bounded size and a route that is an address, whatever the peer sent.
func FuzzReadMetadata(f *testing.F) {
	f.Add([]byte(goodMeta))
	f.Add([]byte(`{"schema":1,"oldest":1,"prefix":"x","route":"10.0.0.1:6222","later":[1]}`))
	f.Add([]byte(`{"schema":-1}`))
	f.Fuzz(func(t *testing.T, meta []byte) {
		d, err := readMetadata(meta)
		if err != nil {
			return
		}
		if len(meta) > memberlist.MetaMaxSize {
			t.Fatalf("%d bytes were taken", len(meta))
		}
		if d.Route != "" {
			if _, _, err := net.SplitHostPort(d.Route); err != nil {
				t.Fatalf("route %q", d.Route)
			}
		}
	})
}
