package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Settings say what a run does. Zero values are filled by Defaults.
type Settings struct {
	Scenario      string        `json:"scenario"`
	Through       string        `json:"through"`            // how changes go in: nats or rest
	Nodes         int           `json:"nodes"`              // started by the run; 0: a cluster that runs already
	Extensions    int           `json:"extensions"`         // in all accounts
	Subscriptions int           `json:"subscriptions"`      // of all watchers
	Smallest      int           `json:"account_min"`        // extensions of an account, at least
	Largest       int           `json:"account_max"`        // and at most
	Edges         int           `json:"edges"`              // who send the NOTIFYs
	Rate          float64       `json:"rate"`               // arrivals a second
	Storm         float64       `json:"storm"`              // SUBSCRIBE refreshes a second from the middle of the run on, until each watcher had one; 0: none
	Duration      time.Duration `json:"duration"`           // of the measured part
	Warmup        time.Duration `json:"warmup"`             // of the same load, not measured
	Ring          time.Duration `json:"ring"`               // from a call's start to its answer
	Talk          time.Duration `json:"talk"`               // and on to its end
	Connections   int           `json:"connections"`        // to NATS, and to HTTP
	KillEvery     time.Duration `json:"kill_every"`         // failover: from one kill -9 to the next
	DownFor       time.Duration `json:"down_for"`           // failover: how long a killed node stays away
	Seed          uint64        `json:"seed"`               // of all that is random
	NotifyRate    int           `json:"notify_rate"`        // of the nodes that the run starts; 0: no coalescing
	Storage       string        `json:"storage"`            // of the nodes that the run starts
	Sync          string        `json:"sync"`               // of the nodes that the run starts
	Replicas      int           `json:"replicas"`           // of the nodes that the run starts
	Objective     Objective     `json:"objective,omitzero"` // search for the highest rate that meets it
}

// Objective is a latency that a rate has to meet.
type Objective struct {
	Operation string        `json:"operation"` // "told", or one that the scenario sends
	Quantile  float64       `json:"quantile"`  // 0.99
	Within    time.Duration `json:"within"`
}

func (o Objective) String() string {
	return fmt.Sprintf("%s p%g<%v", o.Operation, o.Quantile*100, o.Within)
}

// Scenarios are the names that Run knows.
var Scenarios = []string{"subscribe", "blf", "fanout", "rest", "failover"}

// Defaults fills what was left out.
func (s *Settings) Defaults() {
	set(&s.Through, "nats")
	set(&s.Connections, 4)
	set(&s.Edges, 4)
	set(&s.Duration, 30*time.Second)
	set(&s.Ring, 2*time.Second)
	set(&s.Talk, 4*time.Second)
	set(&s.Seed, 1)
	set(&s.Storage, "file")
	set(&s.Sync, "1s")
	set(&s.Extensions, 10_000)
	set(&s.Smallest, 10)
	set(&s.Largest, 5_000)
	switch s.Scenario {
	case "subscribe":
		set(&s.Rate, 2_000)
		set(&s.Subscriptions, s.Extensions)
	case "blf":
		set(&s.Rate, 100)
		set(&s.Subscriptions, 20*s.Extensions)
	case "fanout":
		s.Extensions = 1
		set(&s.Rate, 50)
		set(&s.Subscriptions, 1_000)
	case "rest":
		s.Through = "rest"
		set(&s.Rate, 1_000)
		set(&s.Subscriptions, s.Extensions)
	case "failover":
		set(&s.Rate, 50)
		set(&s.Subscriptions, 20*s.Extensions)
		set(&s.KillEvery, 15*time.Second)
		set(&s.DownFor, 5*time.Second)
	}
	set(&s.Replicas, max(s.Nodes, 1))
	s.Largest = min(s.Largest, max(s.Extensions, 1))
	s.Smallest = min(s.Smallest, s.Largest)
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ErrSettings marks settings that make no run.
var ErrSettings = errors.New("settings")

// Check says what is wrong with them.
func (s *Settings) Check() error {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrSettings}, a...)...)
	}
	switch {
	case !slices.Contains(Scenarios, s.Scenario):
		return wrong("%q is no scenario: one of %v", s.Scenario, Scenarios)
	case s.Through != "nats" && s.Through != "rest":
		return wrong("through %q: nats or rest", s.Through)
	case s.Nodes != 0 && s.Nodes != 1 && s.Nodes != 3:
		return wrong("%d nodes: a run starts 1 or 3", s.Nodes)
	case s.Replicas < 1 || s.Replicas > max(s.Nodes, 1):
		return wrong("%d replicas on %d nodes", s.Replicas, max(s.Nodes, 1))
	case s.Scenario == "failover" && s.Replicas == 1:
		return wrong("failover needs replicas: what only a killed node has is out of reach until it is back")
	case s.Scenario == "failover" && s.Nodes != 3:
		return wrong("failover kills nodes, and so it starts its own: --nodes 3")
	case s.Extensions < 1 || s.Extensions > 5_000_000 || s.Subscriptions < 1 || s.Subscriptions > 20_000_000:
		return wrong("%d extensions and %d subscriptions: 1 to 5,000,000 and 1 to 20,000,000", s.Extensions, s.Subscriptions)
	case s.Scenario == "fanout" && s.Subscriptions > 10_000:
		return wrong("%d watchers: one extension has at most 10,000", s.Subscriptions)
	case s.Rate <= 0 || s.Rate > 1e6 || s.Storm < 0 || s.Storm > 1e6:
		return wrong("a rate must be above 0 and at most a million a second")
	case s.Duration < time.Second || s.Duration > 24*time.Hour || s.Warmup < 0 || s.Warmup > time.Hour:
		return wrong("a run lasts 1 s to 24 h, its warm-up at most 1 h")
	case s.Edges < 1 || s.Edges > 1000 || s.Connections < 1 || s.Connections > 1000:
		return wrong("1 to 1000 edges and connections")
	case s.Smallest < 1 || s.Largest < s.Smallest:
		return wrong("accounts of %d to %d extensions", s.Smallest, s.Largest)
	case s.Ring < 0 || s.Talk < 0 || s.Ring+s.Talk > time.Hour:
		return wrong("a call rings and talks 0 s to 1 h")
	case s.Objective != Objective{} && (s.Objective.Quantile <= 0 || s.Objective.Quantile > 1 || s.Objective.Within <= 0):
		return wrong("objective %v", s.Objective)
	}
	return nil
}
