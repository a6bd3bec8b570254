// Package chaos proves that a cluster loses nothing. Generators drive the built binary, as real processes, over REST and NATS
// through random nodes, while faults happen to it. A checker then compares what was acknowledged with what is there.
// docs/reliability.md says what is promised and gives the figures.
//
// cluster.go starts and ends nodes and NATS servers, through bench/local. network.go puts machines into network namespaces,
// clock.go changes one process's time of day. world.go makes extensions and phones, client.go makes one request and says what
// its answer means, generator.go has the workers that make the requests, edge.go the edges that take the NOTIFYs, sip.go the SIP
// edges and the phones behind them. faults.go says what goes wrong and when, run.go carries it out, history.go keeps what happened. checker.go and linear.go judge it,
// replay.go repeats the history on one node alone, report.go counts. natsd is a NATS server in a process of its own.
//
// The package looks at nodes only from outside. Of the product it imports only what any client may use: transport/client,
// transport/edge, transport/sip/phone and cluster/subject.
//
// A run has a seed: the schedule of faults and each worker's choices follow from it. The moments at which things happen do
// not, because processes are real.
package chaos
