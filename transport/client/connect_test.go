package client

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/cluster/natsd/natstest"
)

// A NATS server whose machine is gone closes no connection. The client must notice that soon by itself, and go on with another
// server.
func TestNATSGoneWithoutAWord(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, "")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var hole sync.RWMutex // while it is locked, no byte passes the proxy
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(s.ClientURL(), "nats://"))
			if err != nil {
				_ = in.Close()
				return
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				t.Cleanup(func() { _ = way[0].Close() })
				go func() { _, _ = io.Copy(through{way[1], &hole}, way[0]) }()
			}
		}
	}()
	conn, err := Connect(Options{URL: "nats://" + ln.Addr().String() + "," + s.ClientURL()}, "test", nats.DontRandomize())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hole.Lock()
	t.Cleanup(hole.Unlock)
	_ = ln.Close()
	found := func() bool { return conn.IsConnected() && conn.ConnectedUrl() == s.ClientURL() }
	for end := time.Now().Add(30 * time.Second); !found(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the client has not gone on with the other server within 30 s")
		}
	}
}

// through passes on what is written to it, and waits while hole is locked.
type through struct {
	to   io.Writer
	hole *sync.RWMutex
}

func (w through) Write(b []byte) (int, error) {
	w.hole.RLock()
	defer w.hole.RUnlock()
	return w.to.Write(b)
}

// What may be printed of a list of URLs holds no user, password or token, and an error of a connection that fails holds none either.
func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"nats://127.0.0.1:4222":                           "nats://127.0.0.1:4222",
		"nats://user:secret@a:4222,tls://u:secret@b:4222": "nats://***@a:4222,tls://***@b:4222",
		"user:secret@a:4222":                              "***@a:4222",
		"nats://secret@a":                                 "nats://***@a",
		"nats://user:p@ss%secret@a:4222":                  "nats://***@a:4222",
		"nats://user:sec ret@a:4222/ nats://u:secret@b":   "nats://***@b",
		"embedded": "embedded",
	} {
		if got := Redacted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for _, url := range []string{"nats://user:secret@127.0.0.1:1", "user:secret@127.0.0.1:1", "nats://user:p%zzsecret@127.0.0.1:1", "://user:secret@127.0.0.1:1", "nats://us er:secret@127.0.0.1:1"} {
		if _, err := Connect(Options{URL: url}, "test"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
