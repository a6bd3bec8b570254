package bench

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// measured is a part with 1,000 rings of 1 to 1,000 ms within 10 s, one of which failed.
func measured(t *testing.T) Part {
	t.Helper()
	begun := time.Now()
	m := newMeter(begun)
	r := m.recorder("ring")
	for i := 1; i <= 1000; i++ {
		at := begun.Add(time.Duration(i) * 9 * time.Millisecond)
		r.record(at, at.Add(time.Duration(i)*time.Millisecond))
	}
	r.fail()
	return Part{Seconds: 18, Window: 10, Offered: 1010, Blocked: 9, Operations: m.operations(10 * time.Second)}
}

func TestConditions(t *testing.T) {
	for text, want := range map[string]bool{"ring:p99>100ms": true, "ring:p99>2s": false, "ring:p75>700ms": true, "ring:p75>800ms": false, "ring:p50<100ms": false, "ring:max>999ms": true,
		"ring:mean>400ms": true, "ring:mean>600ms": false, "ring:failed>0": true, "ring:failed>1": false, "ring:repeated>0": false, "ring:rate<80": false, "ring:rate<95": true,
		"dropped>8": true, "dropped>9": false, "told:p99>1h": true, "told:failed>5": true} {
		c, err := ReadCondition("blf", text)
		if err != nil {
			t.Error(err)
			continue
		}
		r := &Result{Load: measured(t)}
		err = r.Judge([]Condition{c})
		if met := errors.Is(err, ErrThreshold); met != want || r.Outcomes[0].Met != want || met && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, %+v", text, err, r.Outcomes)
		}
	}
	for _, text := range []string{"", "told", "told:p99", "told:p0>1s", "told:p101>1s", "told:p99>often", "told:p99>-1s", "refresh:p99>1s", "told:best>1s", "p99>1s", "dropped>many", "told:dropped>1"} {
		if _, err := ReadCondition("blf", text); !errors.Is(err, ErrSettings) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A rate counts over the time in which the operations came, and not over that in which the last calls ended. A cluster that falls
// behind has a lower rate than it was offered.
func TestRates(t *testing.T) {
	p := measured(t)
	if o := p.operation("ring"); p.rate(o) < 89 || p.rate(o) > 92 || p.offered(o) != 100.1 { // the last one ended 1 s late
		t.Errorf("achieved %v, offered %v", p.rate(o), p.offered(o))
	}
	begun := time.Now()
	m := newMeter(begun)
	for i := range 200 { // the ends of calls, which come 6 s after their begin
		at := begun.Add(6*time.Second + time.Duration(i)*10*time.Millisecond)
		m.recorder("hangup").record(at, at.Add(time.Millisecond))
	}
	p = Part{Seconds: 8.1, Window: 2, Operations: m.operations(2 * time.Second)}
	if rate := p.rate(&p.Operations[0]); rate < 99 || rate > 101 {
		t.Errorf("100 a second count as %v", rate)
	}
	if rate := p.rate(&Operation{Count: 81}); rate != 10 {
		t.Errorf("an older result: %v", rate)
	}
}

// The histogram has every latency once, and the curve rises to the last.
func TestCurveAndHistogram(t *testing.T) {
	p := measured(t)
	o := p.operation("ring")
	total, bound := int64(0), int64(0)
	for _, b := range o.Histogram {
		if b.UpTo <= bound {
			t.Errorf("a bar up to %d follows one up to %d", b.UpTo, bound)
		}
		total, bound = total+b.Count, b.UpTo
	}
	if total != o.Count || bound < 1_000_000 {
		t.Errorf("%d of %d latencies, up to %d", total, o.Count, bound)
	}
	for i := 1; i < len(o.Curve); i++ {
		if o.Curve[i].Of <= o.Curve[i-1].Of || o.Curve[i].US < o.Curve[i-1].US {
			t.Errorf("the curve falls: %v", o.Curve)
		}
	}
	if last := o.Curve[len(o.Curve)-1]; last.Of < 0.999 || last.US < 990_000 {
		t.Errorf("the curve ends at %+v", last)
	}
}

// The report shows what was dropped in red, offered beside achieved rates, the command, the conditions, and both new plots.
func TestReport(t *testing.T) {
	r := &Result{Version: "1.2.3", Commit: "abcdef", Command: "lamplight bench blf --rate 101", Settings: Settings{Scenario: "blf"}, Load: measured(t), Ramp: Part{Seconds: 1}}
	c, err := ReadCondition("blf", "ring:p99>100ms")
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Judge([]Condition{c})
	var page, table strings.Builder
	if err := errors.Join(r.html(&page), r.Print(&table)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<p class="dropped">9 of 1010 arrivals were dropped (0.9 %)`, "offered 101.0 calls a second, achieved 9", "<code>lamplight bench blf --rate 101</code>", "version 1.2.3 abcdef",
		"crossed: ring:p99&gt;100ms", "Latency by percentile", ">p99.9<", "Latencies of ring, how many", `<rect class="bar"`, `<td class="bad">1</tr>`, "p.dropped, td.bad { color: var(--bad)"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the report has no %s", want)
		}
	}
	for _, want := range []string{"offered/s", "achieved/s", "lamplight 1.2.3 abcdef\nlamplight bench blf --rate 101\n", "9 of 1010 arrivals were dropped", "CROSSED ring:p99>100ms"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %s:\n%s", want, table.String())
		}
	}
}

// Ticks are round numbers, and there are neither too few nor too many.
func TestTicks(t *testing.T) {
	for _, high := range []float64{0.1, 0.37, 1, 1.05, 3, 7.77, 10, 99, 101, 12345} {
		ticks := evenTicks(high, 5)
		if len(ticks) < 3 || len(ticks) > 7 || ticks[len(ticks)-1] < high*0.999 {
			t.Errorf("up to %v: %v", high, ticks)
		}
	}
	for _, c := range []struct{ low, high float64 }{{1, 1}, {3, 4}, {120, 8000}, {7, 5e7}, {1000, 1000}} {
		a := logAxis(c.low, c.high, nil)
		if len(a.ticks) < 2 || len(a.ticks) > 10 || a.low > c.low || a.high < c.high*0.999 || a.at(c.low) < 0 || a.at(c.high) > 1 {
			t.Errorf("%v to %v: %+v", c.low, c.high, a)
		}
	}
}
