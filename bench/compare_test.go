package bench

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makeResult makes a result whose p99 latencies are within 10 % of p99 µs.
func makeResult(seed uint64, p99 float64) *Result {
	random := rand.New(rand.NewPCG(seed, seed))
	r := &Result{Format: 1, Settings: Settings{Scenario: "blf"}, Commit: "abcdef"}
	o := Operation{Name: "ring", Quantiles: []Quantile{{0.5, int64(p99 / 3)}, {0.99, int64(p99)}}}
	for i := range 20 {
		v := int64(p99 * (0.9 + 0.2*random.Float64()))
		o.Series = append(o.Series, Point{At: float64(i), Count: 100 + int64(random.IntN(10)), P50: v / 3, P99: v, P999: v, Max: v})
		o.Count += 100
	}
	r.Load = Part{Seconds: 20, Operations: []Operation{o}, Samples: []Sample{{Nodes: []Usage{{Name: "http://a", CPU: 1}}}}}
	return r
}

func TestCompareTellsChangeFromNoise(t *testing.T) {
	row := func(a, b *Result) string {
		var out bytes.Buffer
		if err := Compare(&out, a, b); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "p99") {
				return line
			}
		}
		t.Fatalf("the comparison has no p99 line: %s", out.String())
		return ""
	}
	if line := row(makeResult(1, 3000), makeResult(2, 3000)); !strings.Contains(line, "noise") {
		t.Errorf("two runs of the same system: %s", line)
	}
	if line := row(makeResult(1, 3000), makeResult(2, 4500)); !strings.Contains(line, "p=0.0") || !strings.Contains(line, "+50.0 %") {
		t.Errorf("latencies half as long again: %s", line)
	}
	if err := Compare(&bytes.Buffer{}, makeResult(1, 1), &Result{Settings: Settings{Scenario: "rest"}}); !errors.Is(err, ErrSettings) {
		t.Errorf("a result of another scenario: %v", err)
	}
}

func TestResultIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	want := makeResult(3, 700)
	if err := want.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Settings{})); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, text := range []string{"", "[]", `{"format":2}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); err == nil {
			t.Errorf("Load takes %q for a result", text)
		}
	}
}
