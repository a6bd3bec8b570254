// Package bench is the load generator behind `lamplight bench`. It loads a cluster over NATS, REST and SIP as switches, phones and
// API clients would, plays the edges that send the NOTIFYs or the phones that get them, measures latencies, and checks that each watcher was told the
// right state. cmd/lamplight/bench.go runs it, and so does bench/peers.
//
// run.go is one run, from the first node to the last check. check.go loads the accounts before it and judges the lamps after
// it; search.go looks for the highest rate. world.go makes the accounts, extensions and watchers, scenario.go the load on them,
// settings.go says how much. pace.go starts each arrival at its time, nats_sender.go sends documents and rest_sender.go sends
// HTTP requests; sip_sender.go plays phones (bench/phones) and a switch that publishes. edge.go takes the NOTIFYs, model.go knows what they should have said. measure.go keeps latencies, sample.go
// the CPU and memory of the nodes. result.go is what a run found; table.go, html.go and compare.go show it, and threshold.go
// judges it. nodes.go starts
// nodes through bench/local. The files that end in _test.go also hold the benchmarks of the hot paths beside their floors.
//
// The load is open loop: arrivals come when the schedule says, whether earlier ones were answered or not, and a latency is
// counted from the intended time. If the cluster or the generator falls behind, the latencies grow and the rate stays.
//
// The package drives nodes only from outside. Of the product it imports what any client may use (transport/client,
// transport/edge, cluster/subject; bench/phones also the reader of SIP messages), and cluster/directory, through which it loads its accounts.
package bench
