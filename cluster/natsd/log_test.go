package natsd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"
)

// What strangers send to the embedded server's port costs a few lines of the log, however often they come.
func TestStrangersDoNotFloodTheLog(t *testing.T) {
	said := &lines{}
	s := New(Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Sync: time.Second, Name: "a", Log: slog.New(slog.NewTextHandler(said, nil))})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	before, begun := said.count(), time.Now()
	const strangers = 300
	for i := range strangers {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "GET /%d HTTP/1.1\r\n\r\n", i)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.ReadAll(c) // until the server has closed the connection
		_ = c.Close()
	}
	if n, most := said.count()-before, 5*(1+int(time.Since(begun)/(10*time.Second))); n < 1 || n > most {
		t.Errorf("%d lines for %d strangers, at most %d", n, strangers, most)
	}
}

// lines counts what a logger writes.
type lines struct {
	mu sync.Mutex
	n  int
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n += bytes.Count(b, []byte("\n"))
	return len(b), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
