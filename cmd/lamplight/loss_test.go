package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// lose runs a node with the sample accounts and one lamp that is lit and watched, and stops it. With kill it ends by SIGKILL, once it
// has noted what it has seen of both stores.
func lose(t *testing.T, data string, kill bool, flags ...string) {
	t.Helper()
	p := serve(t, data, flags...)
	p.sample()
	p.subscribe("1001", subscription("c1"))
	if a := p.shell(strings.Replace(setLine, "%s", "1001", 1)); a.Status != "success" {
		t.Fatalf("set: %+v", a)
	}
	if kill {
		js, err := jetstream.New(p.conn)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node and both stores note what was seen", 60*time.Second, func() bool {
			ours, _ := os.ReadFile(filepath.Join(data, "marks.json"))
			_, err := last(js, directoryStream, "$KV.lamplight_directory.mark.journal")
			_, err2 := last(js, journalStream, "lamplight.journal.0.mark")
			return strings.Contains(string(ours), "KV_") && err == nil && err2 == nil
		})
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	} else if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

// last returns the last message of a subject.
func last(js jetstream.JetStream, stream, subject string) (*jetstream.RawStreamMsg, error) {
	s, err := js.Stream(context.Background(), stream)
	if err != nil {
		return nil, err
	}
	return s.GetLastMsgForSubject(context.Background(), subject)
}

// refused starts a node that must refuse to start, within a minute, with an error that holds all the words.
func refused(t *testing.T, data string, words []string, flags ...string) {
	t.Helper()
	p := start(t, data, flags...)
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		if err == nil || p.cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("the node ended with %v: %s", err, p.stderr.String())
		}
	case l := <-p.ready:
		if l.http != "" {
			t.Fatalf("the node serves without what was acknowledged: %s", p.stderr.String())
		}
		if err := <-done; err == nil {
			t.Fatal("the node ended with success")
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("the node neither serves nor ends: %s", p.stderr.String())
	}
	for _, w := range append(words, "--accept-loss") {
		if !strings.Contains(p.stderr.String(), w) {
			t.Errorf("the error does not hold %q: %s", w, p.stderr.String())
		}
	}
}

// listed returns the number of subscriptions that a node lists of the sample account.
func listed(t *testing.T, data string, flags ...string) int {
	t.Helper()
	p := serve(t, data, flags...)
	p.sample()
	n := len(p.get("/presence")["subscriptions"].(map[string]any))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	return n
}

const (
	directoryStream = "KV_lamplight_directory"
	journalStream   = "LAMPLIGHT_JOURNAL_0"
)

func streamDir(data, stream string) string {
	return filepath.Join(data, "nats", "jetstream", "$G", "streams", stream)
}

// A node does not start when a store shows less than was acknowledged, and says what is missing. It changes nothing: when the store
// is back, everything is there. With --accept-loss it starts.
func TestStoreLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		kill   bool
		marks  bool // the data directory's marks are kept
		keeps  int  // subscriptions that remain when the loss is accepted
	}{
		"directory after a clean stop":    {directoryStream, false, true, 1},
		"directory after a kill":          {directoryStream, true, true, 1},
		"directory, known by the journal": {directoryStream, true, false, 1},
		"journal after a clean stop":      {journalStream, false, true, 0},
		"journal, known by the directory": {journalStream, true, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, aside := t.TempDir(), filepath.Join(t.TempDir(), "aside")
			lose(t, data, c.kill)
			if err := os.Rename(streamDir(data, c.stream), aside); err != nil {
				t.Fatal(err)
			}
			if !c.marks {
				if err := os.Remove(filepath.Join(data, "marks.json")); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, data, []string{c.stream, "not there"})
			refused(t, data, []string{c.stream, "not there"})
			if _, err := os.Stat(streamDir(data, c.stream)); err == nil {
				t.Fatal("the node made the store anew")
			}
			if err := os.Rename(aside, streamDir(data, c.stream)); err != nil {
				t.Fatal(err)
			}
			if n := listed(t, data); n != 1 {
				t.Fatalf("%d subscriptions are listed after the store came back, want 1", n)
			}
			if err := os.RemoveAll(streamDir(data, c.stream)); err != nil {
				t.Fatal(err)
			}
			if n := listed(t, data, "--accept-loss"); n != c.keeps {
				t.Errorf("%d subscriptions are listed after the loss was accepted, want %d", n, c.keeps)
			}
			if n := listed(t, data); n != c.keeps {
				t.Errorf("%d subscriptions are listed at the start after that, want %d", n, c.keeps)
			}
		})
	}
}

// A directory that is put back from an older copy is refused.
func TestStoreOld(t *testing.T) {
	t.Parallel()
	data, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	lose(t, data, false)
	if out, err := exec.Command("cp", "-a", streamDir(data, directoryStream), old).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	p := serve(t, data)
	p.token = p.lamplight("token", "--account", account, "--data", data)
	if a := p.shell(`curl -s -X PUT -H "X-Auth-Token: {AUTH_TOKEN}" -d '{"data":{"name":"late","presence_id":"1099"}}' BASE/devices`); a.Status != "success" {
		t.Fatalf("%+v", a)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	if err := os.RemoveAll(streamDir(data, directoryStream)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, streamDir(data, directoryStream)); err != nil {
		t.Fatal(err)
	}
	refused(t, data, []string{directoryStream, "ends at sequence"})
}

// A node with a new data directory knows from the journal that the directory is gone from the user's own NATS server.
func TestStoreLostElsewhere(t *testing.T) {
	t.Parallel()
	s := externalNATS(t, t.TempDir(), -1)
	lose(t, t.TempDir(), true, "--nats", s.ClientURL())
	p := start(t, t.TempDir(), "--nats", s.ClientURL())
	p.await()
	js, err := jetstream.New(p.conn)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
	if err := js.DeleteStream(context.Background(), directoryStream); err != nil {
		t.Fatal(err)
	}
	refused(t, t.TempDir(), []string{directoryStream}, "--nats", s.ClientURL())
}

// A file of the journal with one flipped byte is found when the node starts, with and without NATS's index.
func TestBlockDamaged(t *testing.T) {
	t.Parallel()
	for name, index := range map[string]bool{"with an index": true, "without an index": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			lose(t, data, false)
			blocks, err := filepath.Glob(filepath.Join(streamDir(data, journalStream), "msgs", "*.blk"))
			if err != nil || len(blocks) == 0 {
				t.Fatal(err, blocks)
			}
			content, err := os.ReadFile(blocks[0])
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)/3] ^= 4
			if err := os.WriteFile(blocks[0], content, 0o600); err != nil {
				t.Fatal(err)
			}
			if !index {
				if err := os.Remove(filepath.Join(streamDir(data, journalStream), "msgs", "index.db")); err != nil {
					t.Fatal(err)
				}
			}
			refused(t, data, []string{blocks[0], "damaged"})
			serve(t, data, "--accept-loss")
		})
	}
}

// A block of the journal or of the directory that has lost something is refused after a clean stop too, when NATS has an index that
// says otherwise. Nothing is changed: when the block is back, everything is there.
func TestBlockLost(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]string{"directory": directoryStream, "journal": journalStream} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			lose(t, data, false)
			blocks, err := filepath.Glob(filepath.Join(streamDir(data, stream), "msgs", "*.blk"))
			if err != nil || len(blocks) != 1 {
				t.Fatal(err, blocks)
			}
			content, err := os.ReadFile(blocks[0])
			if err != nil {
				t.Fatal(err)
			}
			half := append([]byte(nil), content...)
			clear(half[len(half)/2:])
			last := append([]byte(nil), content...)
			last[len(last)-20] ^= 255
			for what, change := range map[string]func() error{
				"empty":               func() error { return os.Truncate(blocks[0], 0) },
				"half":                func() error { return os.Truncate(blocks[0], int64(len(content)/2)) },
				"without its end":     func() error { return os.Truncate(blocks[0], int64(len(content)-1)) },
				"gone":                func() error { return os.Remove(blocks[0]) },
				"half of it zeros":    func() error { return os.WriteFile(blocks[0], half, 0o600) },
				"its last message":    func() error { return os.WriteFile(blocks[0], last, 0o600) },
				"nothing but zeros":   func() error { return os.WriteFile(blocks[0], make([]byte, len(content)), 0o600) },
				"another file's text": func() error { return os.WriteFile(blocks[0], []byte("# a text\n"), 0o600) },
			} {
				if err := change(); err != nil {
					t.Fatal(err)
				}
				t.Log(what)
				refused(t, data, []string{stream, "acknowledged", "Nothing was changed"})
			}
			if err := os.WriteFile(blocks[0], content, 0o600); err != nil {
				t.Fatal(err)
			}
			if n := listed(t, data); n != 1 {
				t.Errorf("%d subscriptions are listed after the block came back, want 1", n)
			}
		})
	}
}
