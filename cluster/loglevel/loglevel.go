// Package loglevel is the handler of a process's log, whose level can be changed for each part of the process while it runs
// (docs/contract/nats.md, "Log levels"). A logger belongs to the part that its attribute part names, and to Node without one.
// A logger of this package, and its Levels, may be used from any goroutine. The package knows nothing of what is logged.
package loglevel

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Node is the part of loggers that name none, or one that is not among Parts.
const Node = "node"

// Parts are the parts whose level can be changed.
var Parts = []string{"actors", "bridge", "documents", "fan-out", "gossip", "http", "journal", "nats", Node, "router", "sip"}

// Levels are the levels of all parts.
type Levels struct{ of map[string]*slog.LevelVar } // the map does not change

// New returns a handler that passes lines of a part's level and above to next, which must take lines of all levels. All parts begin
// with the same level.
func New(next slog.Handler, level slog.Level) slog.Handler {
	all := &Levels{map[string]*slog.LevelVar{}}
	for _, part := range Parts {
		all.of[part] = &slog.LevelVar{}
		all.of[part].Set(level)
	}
	return &handler{next, all, all.of[Node]}
}

// Of returns the Levels of a logger; nil: its handler is not one of New.
func Of(log *slog.Logger) *Levels {
	if h, ok := log.Handler().(*handler); ok {
		return h.all
	}
	return nil
}

// Parse reads a level: debug, info, warn or error.
func Parse(text string) (slog.Level, error) {
	names := []string{"debug", "info", "warn", "error"}
	if !slices.Contains(names, text) {
		return 0, fmt.Errorf("level is %.40q; it must be one of %s", text, strings.Join(names, ", "))
	}
	var l slog.Level
	return l, l.UnmarshalText([]byte(text))
}

// Set sets the level of a part, or with the part "" that of all parts.
func (l *Levels) Set(part string, level slog.Level) error {
	if part != "" && l.of[part] == nil {
		return fmt.Errorf("part is %.40q; it must be one of %s", part, strings.Join(Parts, ", "))
	}
	for name, v := range l.of {
		if part == "" || name == part {
			v.Set(level)
		}
	}
	return nil
}

// All returns the level of each part.
func (l *Levels) All() map[string]string {
	all := map[string]string{}
	for name, v := range l.of {
		all[name] = strings.ToLower(v.Level().String())
	}
	return all
}

// handler is the slog.Handler of one part.
type handler struct {
	next  slog.Handler
	all   *Levels
	level *slog.LevelVar
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	level := h.level
	for _, a := range attrs {
		if a.Key == "part" {
			if level = h.all.of[a.Value.String()]; level == nil {
				level = h.all.of[Node]
			}
		}
	}
	return &handler{h.next.WithAttrs(attrs), h.all, level}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(name), h.all, h.level}
}

// Change is the document that asks nodes for their levels, or changes them.
type Change struct {
	Node  string `json:"node,omitzero"`  // the only node that is to answer; "": all do
	Part  string `json:"part,omitzero"`  // "": all parts
	Level string `json:"level,omitzero"` // "": nothing is changed
}

// Answer is what a node answers.
type Answer struct {
	Schema int               `json:"schema"` // 1
	Node   string            `json:"node"`
	Levels map[string]string `json:"levels"`         // by part
	Error  string            `json:"error,omitzero"` // why nothing was changed
}
