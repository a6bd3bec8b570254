package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// filled returns a data directory in which a standalone server has written a stream of several blocks, with messages with
// headers, replaced messages and messages that have expired.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s := started(t, Config{Data: dir})
	conn, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "JOURNAL_0", Subjects: []string{"journal.>"}, MaxMsgsPerSubject: 1, AllowMsgTTL: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12_000 { // 12 MB, where a block of such a stream has 4 or 8 MB
		m := &nats.Msg{Subject: fmt.Sprintf("journal.%d", i%11_000), Data: []byte(strings.Repeat("x", 1000)), Header: nats.Header{}}
		if i%2 == 0 {
			m.Header.Set("Nats-TTL", "3600")
		}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(30*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// started starts a server on a free port.
func started(t *testing.T, c Config) *Server {
	t.Helper()
	s := newServer(c)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func newServer(c Config) *Server {
	c.Listen, c.Sync, c.Name, c.Log = "127.0.0.1:0", time.Second, "n", slog.New(slog.DiscardHandler)
	return New(c)
}

// The blocks that a real NATS server writes are accepted as they are. One flipped byte anywhere is found before the server
// starts, and the files stay as they are; the end of the newest block may be cut off in a message.
func TestVerify(t *testing.T) {
	dir := filled(t)
	blocks, err := blocksOf(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0", "msgs"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("%d blocks: %v", len(blocks), err)
	}
	first, last := blocks[0].file, blocks[len(blocks)-1].file
	pristine := map[string][]byte{}
	for _, b := range blocks {
		if pristine[b.file], err = os.ReadFile(b.file); err != nil {
			t.Fatal(err)
		}
	}
	size := func(file string) int { return len(pristine[file]) }
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { b[at] ^= 1; return b } }
	cut := func(to int) func([]byte) []byte { return func(b []byte) []byte { return b[:to] } }
	for name, c := range map[string]struct {
		file    string
		change  func([]byte) []byte
		refused bool
	}{
		"as it was":                            {first, cut(size(first)), false},
		"a byte of a message":                  {first, flip(size(first) / 2), true},
		"the first byte":                       {first, flip(0), true},
		"a byte of the newest block":           {last, flip(size(last) / 2), true},
		"the end of an older block":            {first, cut(size(first) - 20), true},
		"a message that was not written whole": {last, cut(size(last) - 20), false},
		"an empty newest block":                {last, cut(0), false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := c.change(append([]byte(nil), pristine[c.file]...))
			if err := os.WriteFile(c.file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.WriteFile(c.file, pristine[c.file], 0o600) }()
			s := newServer(Config{Data: dir})
			err := s.verify()
			if (err != nil) != c.refused {
				t.Fatalf("refused: %v, want %v", err, c.refused)
			}
			if !c.refused {
				return
			}
			if err := s.Start(context.Background()); err == nil {
				_ = s.Stop(context.Background())
				t.Fatal("the server started on a damaged block")
			} else if !strings.Contains(err.Error(), c.file) || !strings.Contains(err.Error(), "--accept-loss") {
				t.Errorf("the error names neither the file nor a way out: %v", err)
			}
			if now, _ := os.ReadFile(c.file); string(now) != string(changed) {
				t.Error("the damaged block was changed")
			}
		})
	}
}

// With AcceptLoss the server starts on a damaged block, without the damaged part.
func TestAcceptLoss(t *testing.T) {
	dir := filled(t)
	blocks, err := blocksOf(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0", "msgs"))
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(blocks[0].file)
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blocks[0].file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := started(t, Config{Data: dir, AcceptLoss: true})
	if err := s.Trouble(); err != nil {
		t.Error(err)
	}
}

// A server whose data directory is deleted says so.
func TestDirectoryDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	failed := make(chan error, 1)
	started(t, Config{Data: dir, Failed: func(err error) { failed <- err }})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("the error does not name the directory: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody noticed that the directory is gone")
	}
}

// A server whose storage failed is started again on the same address, and takes writes again.
func TestRestart(t *testing.T) {
	s := started(t, Config{Data: t.TempDir()})
	conn, err := nats.Connect(s.URL(), nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	before := s.nats.Load()
	natsLog{s.cfg.Log, &s.suspect, new(atomic.Pointer[string])}.Errorf("JetStream critical write error: %v", "no space left on device")
	deadline := time.Now().Add(20 * time.Second)
	for s.nats.Load() == before || s.Trouble() != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the server was not started again: %v", s.Trouble())
		}
		time.Sleep(10 * time.Millisecond)
	}
	for {
		if _, err = js.Publish(t.Context(), "s", nil); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A server that can't open the files of a stream does not start: without the stream it would look as if there were none.
func TestStreamThatCannotBeOpened(t *testing.T) {
	dir := filled(t)
	stream := filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0")
	if err := os.WriteFile(filepath.Join(stream, "meta.sum"), []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(Config{Data: dir, AcceptLoss: true})
	if err := s.Start(context.Background()); err == nil {
		_ = s.Stop(context.Background())
		t.Fatal("the server started without the stream")
	}
	if blocks, err := blocksOf(filepath.Join(stream, "msgs")); err != nil || len(blocks) < 2 {
		t.Errorf("%d blocks are left: %v", len(blocks), err)
	}
}
