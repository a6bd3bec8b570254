package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Settings say what a run does. Defaults fills in zero values.
type Settings struct {
	Scenario      string        `json:"scenario"`
	Through       string        `json:"through"`       // how changes go in: "nats", "rest" or "sip"
	Via           string        `json:"via"`           // how watchers subscribe and are told: "nats" or "sip"
	Transport     string        `json:"transport"`     // of SIP: "udp" or "tcp"
	Flows         int           `json:"flows"`         // SIP sockets or connections to each edge
	Password      string        `json:"-"`             // with which the phones authenticate; "": they do not
	Nodes         int           `json:"nodes"`         // that the run starts; 0: it drives a cluster that runs already
	Extensions    int           `json:"extensions"`    // in all accounts
	Subscriptions int           `json:"subscriptions"` // of all watchers together
	Smallest      int           `json:"account_min"`   // extensions of the smallest account
	Largest       int           `json:"account_max"`   // extensions of the largest account
	Edges         int           `json:"edges"`         // that the watchers are behind
	Rate          float64       `json:"rate"`          // arrivals a second
	Storm         float64       `json:"storm"`         // refreshes a second from the middle of the load on, until each watcher had one; 0: no storm
	Duration      time.Duration `json:"duration"`      // of the measured load
	Warmup        time.Duration `json:"warmup"`        // of the same load before it, not measured
	Ring          time.Duration `json:"ring"`          // from a call's start to its answer
	Talk          time.Duration `json:"talk"`          // from its answer to its end
	Connections   int           `json:"connections"`   // to NATS, and eight times as many to HTTP
	KillEvery     time.Duration `json:"kill_every"`    // failover: from one kill -9 to the next
	DownFor       time.Duration `json:"down_for"`      // failover: from the kill of a node to its start
	Seed          uint64        `json:"seed"`          // of the random numbers
	NotifyRate    int           `json:"notify_rate"`   // of the nodes that the run starts: NOTIFYs of changes a second to one watcher; 0: no bound
	Storage       string        `json:"storage"`       // of the nodes that the run starts
	Sync          string        `json:"sync"`          // of the nodes that the run starts
	Replicas      int           `json:"replicas"`      // of the nodes that the run starts
	tls           [2]string     // the files of the certificate and the key of the edges; with "tls" as Transport, which only tests have
	Objective     Objective     `json:"objective,omitzero"` // if set, search for the highest rate that meets it
}

// Objective is a latency that an operation must keep at a rate.
type Objective struct {
	Operation string        `json:"operation"` // one of the scenario's, or "told"
	Quantile  float64       `json:"quantile"`  // such as 0.99
	Within    time.Duration `json:"within"`
}

func (o Objective) String() string {
	return fmt.Sprintf("%s p%g<%v", o.Operation, o.Quantile*100, o.Within)
}

// Scenarios are the names of the scenarios.
var Scenarios = []string{"subscribe", "blf", "fanout", "rest", "failover"}

// Defaults fills in what was left out, with the defaults of the scenario.
func (s *Settings) Defaults() {
	setDefault(&s.Through, "nats")
	setDefault(&s.Via, "nats")
	setDefault(&s.Transport, "udp")
	setDefault(&s.Flows, map[string]int{"udp": 8, "tcp": 256}[s.Transport])
	setDefault(&s.Connections, 4)
	setDefault(&s.Edges, 4)
	setDefault(&s.Duration, 30*time.Second)
	setDefault(&s.Ring, 2*time.Second)
	setDefault(&s.Talk, 4*time.Second)
	setDefault(&s.Seed, 1)
	setDefault(&s.Storage, "file")
	setDefault(&s.Sync, "1s")
	setDefault(&s.Extensions, 10_000)
	setDefault(&s.Smallest, 10)
	setDefault(&s.Largest, 5_000)
	switch s.Scenario {
	case "subscribe":
		setDefault(&s.Rate, 2_000)
		setDefault(&s.Subscriptions, s.Extensions)
	case "blf":
		setDefault(&s.Rate, 100)
		setDefault(&s.Subscriptions, 20*s.Extensions)
	case "fanout":
		s.Extensions = 1
		setDefault(&s.Rate, 50)
		setDefault(&s.Subscriptions, 1_000)
	case "rest":
		s.Through = "rest"
		setDefault(&s.Rate, 1_000)
		setDefault(&s.Subscriptions, s.Extensions)
	case "failover":
		setDefault(&s.Rate, 50)
		setDefault(&s.Subscriptions, 20*s.Extensions)
		setDefault(&s.KillEvery, 15*time.Second)
		setDefault(&s.DownFor, 5*time.Second)
	}
	setDefault(&s.Replicas, max(s.Nodes, 1))
	s.Largest = min(s.Largest, max(s.Extensions, 1))
	s.Smallest = min(s.Smallest, s.Largest)
}

// setDefault gives a field a value if it has none.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ErrSettings marks settings with which no run is possible.
var ErrSettings = errors.New("wrong settings")

// sip says whether the run needs SIP edges.
func (s *Settings) sip() bool { return s.Via == "sip" || s.Through == "sip" }

// Check returns an ErrSettings that says what is wrong with the settings, or nil.
func (s *Settings) Check() error {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrSettings}, a...)...)
	}
	switch {
	case !slices.Contains(Scenarios, s.Scenario):
		return wrong("%q is no scenario; the scenarios are %v", s.Scenario, Scenarios)
	case s.Through != "nats" && s.Through != "rest" && s.Through != "sip":
		return wrong("--through is %q; it must be nats, rest or sip", s.Through)
	case s.Via != "nats" && s.Via != "sip" || s.Transport != "udp" && s.Transport != "tcp":
		return wrong("--via is %q and --transport %q; the first must be nats or sip, the second udp or tcp", s.Via, s.Transport)
	case s.sip() && (s.Scenario == "rest" || s.Scenario == "failover"):
		return wrong("the scenario %s has no phones: --via sip and --through sip are for subscribe, blf and fanout", s.Scenario)
	case s.Password != "" && s.Via != "sip":
		return wrong("--password is for phones: give --via sip too")
	case s.Flows < 1 || s.Flows > 10_000:
		return wrong("--flows is %d; it must be 1 to 10,000", s.Flows)
	case s.Nodes != 0 && s.Nodes != 1 && s.Nodes != 3:
		return wrong("--nodes is %d; a run starts 1 or 3 nodes", s.Nodes)
	case s.Replicas < 1 || s.Replicas > max(s.Nodes, 1):
		return wrong("--replicas is %d; it must be 1 to %d, the number of nodes", s.Replicas, max(s.Nodes, 1))
	case s.Scenario == "failover" && s.Replicas == 1:
		return wrong("failover needs --replicas above 1: with 1, nobody can reach what only the killed node has")
	case s.Scenario == "failover" && s.Nodes != 3:
		return wrong("--nodes is %d; failover kills nodes, so it starts 3 of its own", s.Nodes)
	case s.Extensions < 1 || s.Extensions > 5_000_000 || s.Subscriptions < 1 || s.Subscriptions > 20_000_000:
		return wrong("--extensions is %d and --subscriptions %d; they must be 1 to 5,000,000 and 1 to 20,000,000", s.Extensions, s.Subscriptions)
	case s.Scenario == "fanout" && s.Subscriptions > 10_000:
		return wrong("--subscriptions is %d; the one extension of fanout has at most 10,000 watchers", s.Subscriptions)
	case s.Rate <= 0 || s.Rate > 1e6 || s.Storm < 0 || s.Storm > 1e6:
		return wrong("--rate is %v and --storm %v; a rate is above 0 and at most 1,000,000 a second, a storm may also be 0", s.Rate, s.Storm)
	case s.Duration < time.Second || s.Duration > 24*time.Hour || s.Warmup < 0 || s.Warmup > time.Hour:
		return wrong("--duration is %v and --warmup %v; a run lasts 1 s to 24 h, its warm-up at most 1 h", s.Duration, s.Warmup)
	case s.Edges < 1 || s.Edges > 1000 || s.Connections < 1 || s.Connections > 1000:
		return wrong("--edges is %d and --connections %d; each must be 1 to 1,000", s.Edges, s.Connections)
	case s.Smallest < 1 || s.Largest < s.Smallest:
		return wrong("--account-min is %d and --account-max %d; the first must be at least 1, and the second not below the first", s.Smallest, s.Largest)
	case s.Ring < 0 || s.Talk < 0 || s.Ring+s.Talk > time.Hour:
		return wrong("--ring is %v and --talk %v; neither may be below 0, and together they last at most 1 h", s.Ring, s.Talk)
	case s.Objective != Objective{} && (s.Objective.Quantile <= 0 || s.Objective.Quantile > 1 || s.Objective.Within <= 0):
		return wrong("the objective is %v; its quantile must be above p0 and at most p100, its latency above 0", s.Objective)
	}
	return nil
}
