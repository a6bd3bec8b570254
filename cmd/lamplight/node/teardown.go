package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// part is what every part of a node is like: its constructor starts nothing, Start returns when the part works or cannot,
// and Stop is called once, also for a part whose Start failed.
type part interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// teardown is what has to be done to take a node down, in the order in which it came up.
type teardown []step

type step struct {
	name string
	stop func(context.Context) error
}

// add notes a step. It is done before all that were added earlier.
func (t *teardown) add(name string, stop func(context.Context) error) {
	*t = append(*t, step{name, stop})
}

// start starts a part and notes how to stop it.
func (t *teardown) start(ctx context.Context, name string, p part) error {
	t.add(name, p.Stop)
	return p.Start(ctx)
}

// run does all steps, the last one first. A step that fails is logged and does not keep the others from being done.
func (t *teardown) run(ctx context.Context, log *slog.Logger) error {
	var failed []error
	for i := len(*t) - 1; i >= 0; i-- {
		s := (*t)[i]
		if err := s.stop(ctx); err != nil {
			log.Warn("a part of the node did not stop cleanly", "part", s.name, "err", err)
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	*t = nil
	return errors.Join(failed...)
}
