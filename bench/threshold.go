package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Condition is what a run must not meet, such as told:p99>100ms. ReadCondition reads its text.
type Condition struct {
	Text      string
	operation string // "": the whole load
	what      string // pN, max, mean, rate, failed, repeated or dropped
	quantile  float64
	above     bool    // the value must not be above the limit; else not below it
	limit     float64 // in µs for latencies
}

// Outcome is what became of a Condition.
type Outcome struct {
	Condition string `json:"condition"`
	Found     string `json:"found"`
	Met       bool   `json:"met"` // the run fails
}

// ErrThreshold marks a run that met a Condition.
var ErrThreshold = errors.New("a threshold was crossed")

// conditionForm is how a Condition is written.
const conditionForm = "OPERATION:pN>DURATION, OPERATION:max>DURATION, OPERATION:mean>DURATION, OPERATION:rate<N, OPERATION:failed>N, OPERATION:repeated>N or dropped>N, such as told:p99>100ms"

// ReadCondition reads a Condition of a scenario. Both > and < may stand in each. The error is ErrSettings.
func ReadCondition(scenario, text string) (c Condition, err error) {
	wrong := func(reason string) (Condition, error) {
		return c, fmt.Errorf("%w: the condition %q %s; it must be %s", ErrSettings, text, reason, conditionForm)
	}
	c.Text = text
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return wrong("has no > and no <")
	}
	name, limit := strings.TrimSpace(text[:at]), strings.TrimSpace(text[at+1:])
	c.above = text[at] == '>'
	var named bool
	if c.operation, c.what, named = strings.Cut(name, ":"); !named {
		c.operation, c.what = "", name
	}
	if named && !slices.Contains(operationsOf[scenario], c.operation) {
		return wrong(fmt.Sprintf("names the operation %q; those of %s are %s", c.operation, scenario, strings.Join(operationsOf[scenario], ", ")))
	}
	latency := true
	switch {
	case named && (c.what == "max" || c.what == "mean"):
	case named && strings.HasPrefix(c.what, "p"):
		n, err := strconv.ParseFloat(c.what[1:], 64)
		if err != nil || n <= 0 || n > 100 {
			return wrong(fmt.Sprintf("has the percentile %q", c.what))
		}
		c.what, c.quantile = "p", n/100
	case named && slices.Contains([]string{"rate", "failed", "repeated"}, c.what), !named && c.what == "dropped":
		latency = false
	default:
		return wrong(fmt.Sprintf("has no value %q", name))
	}
	if latency {
		d, e := time.ParseDuration(limit)
		c.limit, err = float64(d.Nanoseconds())/1e3, e
	} else {
		c.limit, err = strconv.ParseFloat(limit, 64)
	}
	if err != nil || c.limit < 0 {
		return wrong(fmt.Sprintf("has the limit %q", limit))
	}
	return c, nil
}

// operationsOf are the operations that the load of a scenario may have.
var operationsOf = map[string][]string{
	"subscribe": {"refresh", stormed},
	"blf":       {"ring", "answer", "hangup", "told", stormed},
	"fanout":    {"change", "told", stormed},
	"rest":      {"read", "list", "set", "reset", "told", stormed},
	"failover":  {"ring", "answer", "hangup", "told", stormed},
}

// firstOperations are those with which the arrivals of a scenario begin.
var firstOperations = map[string][]string{"subscribe": {"refresh"}, "blf": {"ring"}, "fanout": {"change"}, "rest": {"read", "list", "set", "reset"}, "failover": {"ring"}}

// Judge compares the load with conditions and keeps the outcomes in the result. It returns an ErrThreshold that names the conditions
// that were met. An operation of which nothing was measured meets every condition: nobody can tell that it kept the limit.
func (r *Result) Judge(all []Condition) error {
	var met []string
	for _, c := range all {
		o := r.judge(c)
		r.Outcomes = append(r.Outcomes, o)
		if o.Met {
			met = append(met, fmt.Sprintf("%s (%s)", o.Condition, o.Found))
		}
	}
	if len(met) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrThreshold, strings.Join(met, ", "))
}

func (r *Result) judge(c Condition) Outcome {
	p := &r.Load
	value, found := float64(p.Blocked), fmt.Sprint(p.Blocked)
	if c.operation != "" {
		o := p.operation(c.operation)
		if o == nil || o.Count == 0 && c.what != "failed" && c.what != "repeated" && c.what != "rate" {
			return Outcome{c.Text, "nothing was measured", true}
		}
		switch c.what {
		case "rate":
			value = p.rate(o)
			found = fmt.Sprintf("%.1f", value)
		case "failed":
			value, found = float64(o.Failed), fmt.Sprint(o.Failed)
		case "repeated":
			value, found = float64(o.Repeated), fmt.Sprint(o.Repeated)
		default:
			value = o.latency(c)
			found = roundLatency(int64(value)).String()
		}
	}
	return Outcome{c.Text, found, c.above && value > c.limit || !c.above && value < c.limit}
}

// latency returns the latency of a condition in µs.
func (o *Operation) latency(c Condition) float64 {
	switch c.what {
	case "max":
		return float64(o.Max)
	case "mean":
		return o.Mean
	}
	if us := o.quantile(c.quantile); us > 0 {
		return float64(us)
	}
	for _, q := range o.Curve { // the next one that is kept
		if q.Of >= c.quantile {
			return float64(q.US)
		}
	}
	return float64(o.Max)
}
