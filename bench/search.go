package bench

import (
	"context"
	"fmt"
	"time"
)

// searchRatio ends a search: the lowest rate that missed the objective is at most this many times the highest one that met it.
const searchRatio = 1.1

// maxBlockedShare is the share of arrivals that may be left out because they find no free extension. Above it the cluster was
// not offered the rate of the step, so the step does not count as met.
const maxBlockedShare = 0.05

// search looks for the highest rate that meets the objective. It doubles the rate until one misses, and then tries the middle
// between the highest rate that met it and the lowest one that missed it. The result's load is that of the highest rate that met it.
func (r *run) search(ctx context.Context) error {
	r.progress.Phase("searching", 0)
	met, missed := 0.0, 0.0
	for rate := r.Rate; missed == 0 || met == 0 || missed/met > searchRatio; {
		step, part, err := r.tryRate(ctx, rate)
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
			return fmt.Errorf("not even 1 of the %s a second meets the objective %v: allow a longer latency", r.unit(), r.Objective)
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

// tryRate drives one rate and says whether it met the objective.
func (r *run) tryRate(ctx context.Context, rate float64) (Step, Part, error) {
	var part Part
	meter, err := r.drive(ctx, rate, max(r.Warmup, time.Second), r.Duration, &part)
	if err != nil {
		return Step{}, part, err
	}
	r.endPart(&part, meter, r.Duration)
	step := Step{Rate: rate}
	o := part.operation(r.Objective.Operation)
	if o == nil || o.Count == 0 {
		return step, part, fmt.Errorf("%w: scenario %s measures no operation %q; the table of a run without --search lists its operations", ErrSettings, r.Scenario, r.Objective.Operation)
	}
	step.Latency = meter.recorder(r.Objective.Operation).quantile(r.Objective.Quantile).Microseconds()
	step.Achieved = part.rate(o)
	_, stuck, _ := r.model.behind()
	switch {
	case o.Failed > 0:
		step.Why = fmt.Sprintf("%d requests failed", o.Failed)
	case stuck > 0:
		step.Why = fmt.Sprintf("%d watchers were not told the last state %v after the last arrival", stuck, settleTimeout)
	case float64(part.Blocked) > maxBlockedShare*rate*r.Duration.Seconds():
		step.Why = fmt.Sprintf("%d arrivals found no extension without a call: use more --extensions", part.Blocked)
	case step.Latency > r.Objective.Within.Microseconds():
		step.Why = fmt.Sprintf("the latency was %v", time.Duration(step.Latency)*time.Microsecond)
	default:
		step.Met = true
	}
	r.progress.At(len(r.result.Steps)+1, fmt.Sprintf("%.0f %s/s: %v %v; ", rate, r.unit(), time.Duration(step.Latency)*time.Microsecond, step.Met))
	return step, part, nil
}
