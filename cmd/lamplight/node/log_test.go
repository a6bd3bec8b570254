package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"lamplight/cmd/lamplight/node/nodetest"
)

// transcript is what a node logs.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

// says waits until a line holds all of the words.
func (w *transcript) says(t *testing.T, words ...string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		text := w.all.String()
		w.mu.Unlock()
		for line := range strings.Lines(text) {
			found := true
			for _, word := range words {
				found = found && strings.Contains(line, word)
			}
			if found {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no line has %q:\n%s", words, text)
		}
	}
}

// The log says who joins and leaves, and which shards are taken over, and why.
func TestLogOfMembersAndTakeovers(t *testing.T) {
	url := nodetest.NATS(t)
	var log transcript
	c := nodetest.On(url, "a", t.TempDir())
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	a := nodetest.Start(t, c)
	log.says(t, "this node has taken shards over", "shards=1024", "no node held them before")
	c = nodetest.On(url, "b", t.TempDir())
	c.Join = []string{a.Addr("gossip")}
	b := nodetest.Start(t, c)
	log.says(t, "a node is a member of the cluster now", "member=b")
	for end := time.Now().Add(30 * time.Second); b.Journal().OpenShards() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("b gets no shards")
		}
	}
	if err := b.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	log.says(t, "a node has left the cluster", "member=b")
	log.says(t, "this node has taken shards over", "they were handed over by b")
}
