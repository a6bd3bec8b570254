package natsd

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/marks"
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

// noted writes marks that say up to which sequence the stream of filled has acknowledged messages.
func noted(t *testing.T, dir string, sequence uint64) {
	t.Helper()
	created, _, err := describe(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := (marks.Marks{"JOURNAL_0": {Created: created, Sequence: sequence}}).Save(dir); err != nil {
		t.Fatal(err)
	}
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
	noted(t, dir, 12_000)
	index := filepath.Join(filepath.Dir(first), indexFile)
	indexed, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { b[at] ^= 1; return b } }
	cut := func(to int) func([]byte) []byte { return func(b []byte) []byte { return b[:to] } }
	zero := func(from int) func([]byte) []byte { return func(b []byte) []byte { clear(b[from:]); return b } }
	remove := func([]byte) []byte { return nil }
	border := func(file string) int { // where a message begins near the middle
		at := 0
		for at < size(file)/2 {
			at += int(binary.LittleEndian.Uint32(pristine[file][at:]) &^ hasHeaders)
		}
		return at
	}
	for name, c := range map[string]struct {
		file    string
		change  func([]byte) []byte
		refused bool
	}{
		"as it was":                         {first, cut(size(first)), false},
		"a byte of a message":               {first, flip(size(first) / 2), true},
		"the first byte":                    {first, flip(0), true},
		"a byte of the newest block":        {last, flip(size(last) / 2), true},
		"the end of an older block":         {first, cut(size(first) - 20), true},
		"the last message cut off":          {last, cut(size(last) - 20), true},
		"a byte of the last message":        {last, flip(size(last) - 20), true},
		"the last checksum":                 {last, flip(size(last) - 1), true},
		"half of the newest block":          {last, cut(border(last)), true},
		"half of the newest block is zeros": {last, zero(border(last)), true},
		"the newest block is zeros":         {last, zero(0), true},
		"an empty newest block":             {last, cut(0), true},
		"no newest block":                   {last, remove, true},
		"half of an older block":            {first, cut(border(first)), true},
		"an empty older block":              {first, cut(0), true},
		"no older block":                    {first, remove, true},
	} {
		t.Run(name, func(t *testing.T) {
			changed := c.change(append([]byte(nil), pristine[c.file]...))
			if err := os.WriteFile(c.file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if changed == nil {
				if err := os.Remove(c.file); err != nil {
					t.Fatal(err)
				}
			}
			defer func() { _ = os.WriteFile(c.file, pristine[c.file], 0o600) }()
			s := newServer(Config{Data: dir})
			err := s.verify()
			if (err != nil) != c.refused {
				t.Fatalf("refused: %v, want %v", err, c.refused)
			}
			if now, _ := os.ReadFile(index); string(now) != string(indexed) {
				t.Error("the index was changed")
			}
			if !c.refused {
				return
			}
			if err := s.Start(context.Background()); err == nil {
				_ = s.Stop(context.Background())
				t.Fatal("the server started on a damaged block")
			} else if !strings.Contains(err.Error(), c.file) && !strings.Contains(err.Error(), "JOURNAL_0 ends at sequence") || !strings.Contains(err.Error(), "--accept-loss") {
				t.Errorf("the error names neither the file nor a way out: %v", err)
			}
			if now, _ := os.ReadFile(c.file); string(now) != string(changed) {
				t.Error("the damaged block was changed")
			}
		})
	}
}

// What was not acknowledged may be missing at the end of the newest block: a server that was killed was writing it, or a power
// cut took it. NATS then shows what the blocks hold, whatever its index says, and takes new messages.
func TestTornEnd(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"cut in the last message":      func(b []byte) []byte { return b[:len(b)-20] },
		"a byte of the last message":   func(b []byte) []byte { b[len(b)-20] ^= 1; return b },
		"the end is zeros":             func(b []byte) []byte { clear(b[len(b)-5000:]); return b },
		"cut behind several messages":  func(b []byte) []byte { return b[:len(b)-5000] },
		"the beginning of one message": func(b []byte) []byte { return append(b, b[:100]...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			noted(t, dir, 11_900)
			blocks, err := blocksOf(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0", "msgs"))
			if err != nil || len(blocks) < 2 {
				t.Fatalf("%d blocks: %v", len(blocks), err)
			}
			last := blocks[len(blocks)-1]
			data, err := os.ReadFile(last.file)
			if err != nil {
				t.Fatal(err)
			}
			data = change(data)
			if err := os.WriteFile(last.file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			want := checkBlock(data, "JOURNAL_0", last.index, nil).last
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
			stream, err := js.Stream(t.Context(), "JOURNAL_0")
			if err != nil {
				t.Fatal(err)
			}
			if got := stream.CachedInfo().State.LastSeq; got != want {
				t.Errorf("the stream ends at sequence %d, and its blocks at %d", got, want)
			}
			if _, err := js.Publish(t.Context(), "journal.1", []byte("new")); err != nil {
				t.Error(err)
			}
			if err := s.Trouble(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A stream whose messages were all removed, or have expired, is whole.
func TestVerifyEmptied(t *testing.T) {
	dir := filled(t)
	s := started(t, Config{Data: dir})
	conn, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "JOURNAL_0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // holes
		if err := stream.DeleteMsg(t.Context(), uint64(5000+i*10)); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() {
		t.Helper()
		conn.Close()
		if err := s.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		noted(t, dir, 12_000)
		s = started(t, Config{Data: dir})
		if conn, err = nats.Connect(s.URL()); err != nil {
			t.Fatal(err)
		}
		if js, err = jetstream.New(conn); err != nil {
			t.Fatal(err)
		}
		if stream, err = js.Stream(t.Context(), "JOURNAL_0"); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	restart()
	if state := stream.CachedInfo().State; state.LastSeq != 12_000 || state.Msgs != 0 {
		t.Errorf("%+v", state)
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
	if !s.Lost() {
		t.Error("the server does not say that something was lost")
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
	natsLog{s.cfg.Log, &s.suspect, &s.said}.Warnf("JetStream resource limits exceeded for account: %q", "A")
	if said := s.Said(); s.suspect.Load() != nil || !strings.Contains(said, "limits exceeded") {
		t.Errorf("the server said %q", said)
	}
	natsLog{s.cfg.Log, &s.suspect, &s.said}.Errorf("JetStream critical write error: %v", "no space left on device")
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

// A server whose files were damaged while it ran can't go on: it is not started again and again.
func TestRestartOnDamage(t *testing.T) {
	dir := filled(t)
	failed := make(chan error, 1)
	s := started(t, Config{Data: dir, Failed: func(err error) { failed <- err }})
	blocks, err := blocksOf(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "JOURNAL_0", "msgs"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(blocks[0].file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blocks[0].file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	natsLog{s.cfg.Log, &s.suspect, &s.said}.Errorf("JetStream stream critical write error: malformed or corrupt message")
	select {
	case err := <-failed:
		if !strings.Contains(err.Error(), blocks[0].file) {
			t.Errorf("the error does not name the file: %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Fatalf("the server goes on: %v", s.Trouble())
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
