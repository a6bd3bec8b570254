package gossip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Who asks hears whom a node sees, if the keys are the same, and becomes no member.
func TestAsk(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	m, said := gossiper(t, Config{Node: "a", Key: key, Route: "127.0.0.1:6222"})
	open, _ := gossiper(t, Config{Node: "b"})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for _, c := range []struct {
		what, peer string
		key        []byte
		stream     error
		packet     error
		within     time.Duration
	}{
		{"the same key", m.Addr(), key, nil, nil, 10 * time.Second},
		{"no key on both sides", open.Addr(), nil, nil, nil, 10 * time.Second},
		{"another key", m.Addr(), bytes.Repeat([]byte{8}, 32), ErrOtherKey, nil, 10 * time.Second},
		{"a key here only", open.Addr(), key, ErrOtherKey, nil, 10 * time.Second},
		{"a key there only", m.Addr(), nil, ErrOtherKey, nil, 10 * time.Second},
		{"nobody there", gone.Addr().String(), key, ErrNoConnection, nil, 10 * time.Second},
		{"something else there", silent.Addr().String(), key, ErrNoGossip, nil, 200 * time.Millisecond},
		{"no UDP", streamsOnly(t, m.Addr()), key, nil, ErrNoPacket, 200 * time.Millisecond},
	} {
		a, err := Ask("127.0.0.1", c.key, c.peer, c.within)
		if err != nil || !errors.Is(a.Stream, c.stream) || !errors.Is(a.Packet, c.packet) {
			t.Errorf("%s: %v, over TCP %v, over UDP %v", c.what, err, a.Stream, a.Packet)
		}
		if good := c.stream == nil; good != (len(a.Members) == 1) || good && c.key != nil && (a.Members[0].Name != "a" || a.Members[0].Route != "127.0.0.1:6222") {
			t.Errorf("%s: the peer sees %v", c.what, a.Members)
		}
	}
	if _, err := Ask("127.0.0.1", key, "no.such.host.invalid:1", time.Second); err == nil {
		t.Error("a name that does not exist is asked")
	}
	if names := m.Nodes(); len(names) != 1 || said.has("is refused") {
		t.Errorf("the node sees %v and said %s", names, said.all.String())
	}
}

// streamsOnly passes TCP connections on to an address, and no UDP. It returns its own address.
func streamsOnly(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				return
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return l.Addr().String()
}
