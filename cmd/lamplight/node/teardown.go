package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// part is the life of every part of a node. Its constructor starts nothing. Each method is called at most once.
type part interface {
	// Start returns when the part works, or an error when it cannot. It waits until ctx ends at the longest.
	Start(ctx context.Context) error
	// Stop stops the part. It is called also when Start failed. When ctx ends it waits no longer.
	Stop(ctx context.Context) error
}

// teardown holds the steps that stop a node, in the order in which its parts started.
type teardown []step

// step is one of them.
type step struct {
	name string
	stop func(context.Context) error
}

// add adds a step, which run will do before all steps that were added earlier.
func (t *teardown) add(name string, stop func(context.Context) error) {
	*t = append(*t, step{name, stop})
}

// start starts a part and adds the step that stops it.
func (t *teardown) start(ctx context.Context, name string, p part) error {
	t.add(name, p.Stop)
	return p.Start(ctx)
}

// longStop is how long a step may take before run logs how long it took.
const longStop = time.Second

// run does all steps, the last that was added first. It logs a step that fails and goes on.
func (t *teardown) run(ctx context.Context, log *slog.Logger) error {
	var failed []error
	for i := len(*t) - 1; i >= 0; i-- {
		s := (*t)[i]
		begun := time.Now()
		err := s.stop(ctx)
		if took := time.Since(begun); took > longStop {
			log.Info("a part of the node took long to stop", "part", s.name, "took", took.Round(time.Millisecond))
		}
		if err != nil {
			log.Warn("a part of the node did not stop cleanly; the node stops all the same, and what is acknowledged is kept", "part", s.name, "err", err)
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	*t = nil
	return errors.Join(failed...)
}
