package loglevel

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// The level of one part changes for loggers that were made before, and for no other part.
func TestLevelOfOnePart(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelInfo))
	journal, other := log.With("part", "journal"), log.With("part", "no part of ours")
	said := func() (all string) {
		b.Reset()
		log.Debug("node")
		journal.With("x", 1).WithGroup("g").Debug("journal")
		other.Debug("other")
		for _, name := range []string{"node", "journal", "other"} {
			if strings.Contains(b.String(), "msg="+name) {
				all += name + " "
			}
		}
		return all
	}
	levels := Of(log)
	if got := said(); got != "" {
		t.Errorf("at first: %q", got)
	}
	if err := levels.Set("journal", slog.LevelDebug); err != nil || said() != "journal " || levels.All()["journal"] != "debug" || levels.All()["sip"] != "info" {
		t.Errorf("debug of the journal: %v, %q, %v", err, b.String(), levels.All())
	}
	if err := levels.Set("", slog.LevelDebug); err != nil || said() != "node journal other " {
		t.Errorf("debug of all: %v, %q", err, b.String())
	}
	if err := levels.Set("", slog.LevelError); err != nil || said() != "" || log.Enabled(t.Context(), slog.LevelWarn) {
		t.Errorf("error of all: %v, %q", err, b.String())
	}
	if err := levels.Set("nothing", slog.LevelDebug); err == nil || !strings.Contains(err.Error(), `"nothing"`) || !strings.Contains(err.Error(), "journal") {
		t.Errorf("an unknown part: %v", err)
	}
	for _, text := range []string{"", "INFO", "info+2", "fatal"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is a level", text)
		}
	}
	if Of(slog.New(slog.DiscardHandler)) != nil {
		t.Error("another handler has levels")
	}
}
