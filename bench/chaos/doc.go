// Package chaos proves that a cluster loses nothing: generators drive the built binary, as real processes, through
// random nodes over REST and NATS while faults happen to it, and a checker compares what was acknowledged with what is
// there afterwards. docs/reliability.md says what is promised and how it went.
//
// process.go and cluster.go start and end processes, each by its own pid; network.go puts machines into network
// namespaces; clock.go sets one process's time of day. world.go is what exists, client.go one request and what its
// answer means, generator.go who makes them, edge.go who is told. faults.go says what goes wrong and when, run.go lets
// it happen, history.go keeps what happened, checker.go and linear.go judge it, replay.go lets one node alone live
// through the same, report.go counts. The package knows the product only by its documents: it imports none of it.
//
// A run is a seed: the schedule of faults and each worker's choices come from it. When things happen does not: processes
// are real.
package chaos
