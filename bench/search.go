package bench

import (
	"context"
	"fmt"
	"time"
)

// closeEnough is where a search ends: the highest rate that met the objective and the lowest that didn't are this near.
const closeEnough = 1.1

// leftOut is which part of the arrivals may find no free extension: past it the rate is not what was offered.
const leftOut = 0.05

// search looks for the highest rate that meets the objective: it doubles until one doesn't, then halves the distance.
// The load of the result is that of the highest.
func (r *run) search(ctx context.Context) error {
	r.progress.Phase("searching", 0)
	met, missed := 0.0, 0.0
	for rate := r.Rate; missed == 0 || met == 0 || missed/met > closeEnough; {
		step, part, err := r.try(ctx, rate)
		if err != nil {
			return err
		}
		r.result.Steps = append(r.result.Steps, step)
		if step.Met {
			met, r.result.Load = rate, part
		} else {
			missed = rate
		}
		switch {
		case met == 0 && rate < 1:
			return fmt.Errorf("not even one of the %s a second meets %v", r.unit(), r.Objective)
		case met == 0:
			rate /= 2
		case missed == 0 && rate*2 > 1e6:
			return nil
		case missed == 0:
			rate *= 2
		default:
			rate = (met + missed) / 2
		}
	}
	return nil
}

// try drives one rate.
func (r *run) try(ctx context.Context, rate float64) (Step, Part, error) {
	var part Part
	meter, err := r.drive(ctx, rate, max(r.Warmup, time.Second), r.Duration, &part)
	if err != nil {
		return Step{}, part, err
	}
	r.finish(&part, meter)
	step := Step{Rate: rate}
	o := part.operation(r.Objective.Operation)
	if o == nil || o.Count == 0 {
		return step, part, fmt.Errorf("%w: nothing was measured as %q in scenario %s", ErrSettings, r.Objective.Operation, r.Scenario)
	}
	step.Latency = meter.of(r.Objective.Operation).quantile(r.Objective.Quantile).Microseconds()
	step.Achieved = float64(o.Count) / r.Duration.Seconds()
	_, stuck, _ := r.model.behind()
	switch {
	case o.Failed > 0:
		step.Why = fmt.Sprintf("%d failed", o.Failed)
	case stuck > 0:
		step.Why = fmt.Sprintf("%d watchers were still behind %v later", stuck, settling)
	case float64(part.Blocked) > leftOut*rate*r.Duration.Seconds():
		step.Why = fmt.Sprintf("%d arrivals found every extension busy: use more --extensions", part.Blocked)
	case step.Latency > r.Objective.Within.Microseconds():
		step.Why = fmt.Sprintf("%v", time.Duration(step.Latency)*time.Microsecond)
	default:
		step.Met = true
	}
	r.progress.At(len(r.result.Steps)+1, fmt.Sprintf("%.0f %s/s: %v %v; ", rate, r.unit(), time.Duration(step.Latency)*time.Microsecond, step.Met))
	return step, part, nil
}
