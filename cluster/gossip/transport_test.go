package gossip

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// A stranger without the key can hold few connections to the gossip port. Past the bound they are closed at once, and a member joins
// all the while.
func TestStreamsAreBounded(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	a := New(Config{Node: "a", Listen: "127.0.0.1:0", Key: key, MaxStreams: 64, Log: slog.New(slog.DiscardHandler)})
	if err := a.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Stop(context.Background()) })
	var open []net.Conn
	t.Cleanup(func() {
		for _, c := range open {
			_ = c.Close()
		}
	})
	closed := 0
	for i := range 200 {
		// Eight addresses of the loopback network have at most maxStreamsOf connections each.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%8))}, Timeout: 5 * time.Second}
		c, err := d.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte{0xf4})
		open = append(open, c)
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err == io.EOF || err != nil && !isTimeout(err) {
			closed++
		}
	}
	if left := len(open) - closed; left > 64 {
		t.Errorf("%d connections of strangers are open, at most 64 may be", left)
	}
	b := New(Config{Node: "b", Listen: "127.0.0.1:0", Key: key, Join: []string{a.Addr()}, Log: slog.New(slog.DiscardHandler)})
	if err := b.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Stop(context.Background()) })
	for end := time.Now().Add(30 * time.Second); len(a.Nodes()) != 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the member has not joined: %v", a.Nodes())
		}
	}
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}
