package bench

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// binary builds the program once and gives its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lamplight-bench-test-") // all tests share it, so it is in no test's TempDir; it stays behind
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "lamplight")
	build := exec.Command("go", "build", "-o", file, "lamplight/cmd/lamplight")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return file, nil
})

// noProgress shows no progress.
type noProgress struct{}

func (noProgress) Phase(string, int) {}
func (noProgress) At(int, string)    {}
func (noProgress) Done()             {}

func build(t *testing.T) string {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// runScenario runs settings, with their defaults, and fails the test unless every lamp is right.
func runScenario(t *testing.T, s Settings, target *Target) *Result {
	t.Helper()
	s.Defaults()
	r, err := Run(t.Context(), s, "test", build(t), target, noProgress{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Verdict.Right() {
		t.Error(r.Verdict.text())
	}
	return r
}

// TestScenarios runs every scenario against real nodes. Each must measure its operations and find every lamp right. How fast the
// nodes are does not matter.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		Settings
		want []string
	}{
		{Settings{Scenario: "subscribe", Nodes: 1, Extensions: 300, Rate: 300, Duration: 2 * time.Second}, []string{"refresh"}},
		{Settings{Scenario: "blf", Nodes: 1, Extensions: 100, Rate: 30, Storm: 2000, Ring: 300 * time.Millisecond, Talk: 300 * time.Millisecond, Duration: 2 * time.Second, NotifyRate: 5}, []string{"ring", "answer", "hangup", "told", "storm"}},
		{Settings{Scenario: "blf", Through: "rest", Nodes: 1, Extensions: 100, Rate: 30, Ring: 300 * time.Millisecond, Talk: 300 * time.Millisecond, Duration: 2 * time.Second}, []string{"ring", "answer", "hangup", "told"}},
		{Settings{Scenario: "fanout", Nodes: 3, Rate: 50, Duration: 2 * time.Second}, []string{"change", "told"}},
		{Settings{Scenario: "subscribe", Via: "sip", Nodes: 1, Extensions: 300, Rate: 300, Duration: 2 * time.Second, Password: "secret"}, []string{"refresh"}},
		{Settings{Scenario: "blf", Via: "sip", Through: "sip", Nodes: 1, Extensions: 100, Rate: 30, Storm: 2000, Ring: 300 * time.Millisecond, Talk: 300 * time.Millisecond, Duration: 2 * time.Second, NotifyRate: 5}, []string{"ring", "answer", "hangup", "told", "storm"}},
		{Settings{Scenario: "fanout", Via: "sip", Through: "sip", Transport: "tcp", Nodes: 3, Rate: 50, Duration: 2 * time.Second}, []string{"change", "told"}},
		{Settings{Scenario: "rest", Nodes: 1, Extensions: 300, Rate: 300, Duration: 2 * time.Second}, []string{"read", "set", "told"}},
		{Settings{Scenario: "failover", Nodes: 3, Extensions: 50, Rate: 20, Ring: 300 * time.Millisecond, Talk: 300 * time.Millisecond, Duration: 6 * time.Second, KillEvery: 6 * time.Second, DownFor: time.Second}, []string{"ring", "told"}},
	} {
		t.Run(c.Scenario+" via "+c.Via+" through "+c.Through, func(t *testing.T) {
			r := runScenario(t, c.Settings, nil)
			if o := r.Ramp.operation("subscribe"); o == nil || o.Count != int64(r.Settings.Subscriptions) {
				t.Errorf("the ramp: %+v", o)
			}
			for _, name := range c.want {
				if o := r.Load.operation(name); o == nil || o.Count == 0 || o.quantile(0.99) == 0 || len(o.Series) == 0 {
					t.Errorf("%s: %+v", name, o)
				}
			}
			if c.Scenario == "failover" && len(r.Load.Events) < 3 {
				t.Errorf("events: %+v", r.Load.Events)
			}
			if len(r.Ramp.Samples) == 0 || !slices.ContainsFunc(r.Load.Samples, func(s Sample) bool { return s.Nodes[0].RSS > 0 }) { // a busy node may miss one
				t.Errorf("samples: %+v", r.Load.Samples)
			}
			var page, table bytes.Buffer
			if err := errors.Join(r.html(&page), r.Print(&table)); err != nil {
				t.Fatal(err)
			}
			if strings.Count(page.String(), "<svg") < 3+len(r.Load.Operations) || strings.Contains(page.String(), "src=") || strings.Contains(page.String(), "href=") {
				t.Errorf("the report: %.300s", page.String())
			}
			for _, name := range c.want {
				if !strings.Contains(table.String(), name) {
					t.Errorf("the table shows no %s:\n%s", name, table.String())
				}
			}
		})
	}
}

// TestSearch checks that a search ends, and that its load is that of the highest rate that met the objective.
func TestSearch(t *testing.T) {
	r := runScenario(t, Settings{Scenario: "subscribe", Nodes: 1, Extensions: 100, Rate: 16_000, Duration: time.Second, Storage: "memory",
		Objective: Objective{"refresh", 0.5, 40 * time.Millisecond}}, nil)
	if best := r.highest(); best == 0 || best == 1_024_000 || r.Load.operation("refresh") == nil {
		t.Errorf("%+v", r.Steps)
	}
}

// TestSearchNeedsExtensions checks that a rate at which most calls find no free extension does not count as met, however short
// the latencies of the others are.
func TestSearchNeedsExtensions(t *testing.T) {
	r := runScenario(t, Settings{Scenario: "blf", Nodes: 1, Extensions: 20, Subscriptions: 20, Rate: 90, Ring: 300 * time.Millisecond, Talk: 300 * time.Millisecond, Duration: time.Second, Storage: "memory",
		Objective: Objective{"told", 0.5, time.Second}}, nil)
	last := r.Steps[len(r.Steps)-1]
	for _, s := range r.Steps {
		if !s.Met {
			last = s
		}
	}
	if r.highest() > 100 || !strings.Contains(last.Why, "use more --extensions") {
		t.Errorf("%+v", r.Steps)
	}
}

// TestTarget checks that a run drives a cluster that runs already, and leaves nothing of itself there.
func TestTarget(t *testing.T) {
	s := Settings{Scenario: "subscribe", Nodes: 1, Extensions: 50, Rate: 100, Duration: time.Second}
	s.Defaults()
	p, err := startNodes(build(t), &s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(true); err != nil {
			t.Error(err)
		}
	}()
	s.Nodes = 0
	connect := func(name string) (*nats.Conn, error) { return nats.Connect(p.nats[0], nats.Name(name)) }
	runScenario(t, s, &Target{HTTP: p.http, Connect: connect})
	out, err := exec.Command(build(t), "cluster", "--nats", p.nats[0], "-o", "json").Output()
	if err != nil || !strings.Contains(string(out), `"subscriptions":0`) && !strings.Contains(string(out), `"subscriptions": 0`) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, s := range map[string]Settings{
		"scenario": {Scenario: "x"}, "through": {Scenario: "blf", Through: "x"}, "via": {Scenario: "blf", Via: "x"}, "transport": {Scenario: "blf", Transport: "tls"}, "no phones": {Scenario: "rest", Via: "sip"},
		"password": {Scenario: "blf", Password: "x"}, "flows": {Scenario: "blf", Flows: -1}, "nodes": {Scenario: "blf", Nodes: 2}, "failover": {Scenario: "failover", Nodes: 1},
		"extensions": {Scenario: "blf", Extensions: -1}, "watchers": {Scenario: "fanout", Subscriptions: 10_001}, "rate": {Scenario: "blf", Rate: -1},
		"duration": {Scenario: "blf", Duration: time.Millisecond}, "edges": {Scenario: "blf", Edges: -1}, "accounts": {Scenario: "blf", Smallest: -1},
		"ring": {Scenario: "blf", Ring: -1}, "objective": {Scenario: "blf", Objective: Objective{"told", 2, time.Second}},
	} {
		s.Defaults()
		if err := s.Check(); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
