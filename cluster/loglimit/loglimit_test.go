package loglimit

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// transcript is what a logger wrote, from whatever goroutine.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

// lines returns the lines since it was last called.
func lines(w *transcript) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.all.Reset()
	return strings.FieldsFunc(w.all.String(), func(r rune) bool { return r == '\n' })
}

func logger(b *transcript) *slog.Logger {
	return Limit(slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
}

// A flood is its first line at once, and then one line in 10 seconds that says how many were left out.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b transcript
		log := logger(&b)
		for i := range 110_000 {
			log.Warn(fmt.Sprintf("a stray packet from 127.0.0.1:%d", i), "peer", i)
		}
		if got := lines(&b); len(got) != 1 || !strings.Contains(got[0], "peer=0") {
			t.Fatalf("at once: %q", got)
		}
		time.Sleep(usual + time.Second)
		synctest.Wait()
		if got := lines(&b); len(got) != 1 || !strings.Contains(got[0], "peer=109999 left_out=109998") {
			t.Fatalf("after 10 s: %q", got)
		}
		log.Warn("a stray packet from 127.0.0.1:1", "peer", 1)
		if got := lines(&b); len(got) != 0 {
			t.Fatalf("too soon: %q", got)
		}
		time.Sleep(usual + time.Second)
		synctest.Wait()
		if got := lines(&b); len(got) != 1 || strings.Contains(got[0], "left_out") {
			t.Fatalf("a single one: %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if log.Warn("a stray packet from x1"); len(lines(&b)) != 1 {
			t.Fatal("after an hour, the first line is not written at once")
		}
	})
}

// Other kinds are written at once meanwhile: another message, level or err, also from a logger that was derived.
func TestKindsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b transcript
		log := logger(&b)
		for range 5 {
			log.Warn("a peer is refused", "err", errors.New("its prefix is \"x\""))
			log.Warn("a peer is refused", "err", errors.New("its name is too long"))
			log.With("part", "gossip").Warn("a peer is refused", "err", errors.New("its prefix is \"y\""))
			log.WithGroup("g").Error("a peer is refused", "err", errors.New("its prefix is \"x\""))
			log.Info("a node joined")
		}
		if got := lines(&b); len(got) != 4 {
			t.Fatalf("%q", got)
		}
		time.Sleep(usual + time.Second)
		synctest.Wait()
		if got := lines(&b); len(got) != 4 || !strings.Contains(strings.Join(got, "\n"), "left_out=8") {
			t.Fatalf("later: %q", got)
		}
	})
}

// An outside party that chooses the words cannot make more kinds than there may be.
func TestKindsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b transcript
		log := logger(&b)
		word := func(i int) string {
			return strings.NewReplacer("0", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j").Replace(fmt.Sprint(i))
		}
		for i := range 10_000 {
			log.Warn("refused: " + word(i))
		}
		if got := lines(&b); len(got) != maxKinds+1 {
			t.Fatalf("%d lines", len(got))
		}
		time.Sleep(2 * usual)
		synctest.Wait()
		_ = lines(&b)
		if log.Error("this was not said yet"); len(lines(&b)) != 1 {
			t.Fatal("kinds of which nothing is held are not forgotten")
		}
	})
}
