// Package bench is the load generator behind `lamplight bench`: it drives a cluster through the doors that its users
// have (NATS documents and REST), plays the edges that send the NOTIFYs, measures, and checks what it saw.
//
// run.go is one run from the first node to the last check. world.go says who exists, scenario.go what happens to them;
// pace.go lets it happen on schedule, news.go sends it as NATS documents and web.go as REST requests. edge.go hears the
// NOTIFYs, model.go knows what they should have said. measure.go keeps latencies, sample.go what the nodes used for it;
// result.go is what comes out, with table.go, html.go and compare.go to read it. nodes.go starts nodes of its own
// (bench/local); bench/gaps is what any edge has to count.
//
// Load is open loop: arrivals come when the schedule says, whether earlier ones were answered or not, and a latency runs
// from the intended time. A system or a generator that falls behind shows in the figures and doesn't slow the schedule.
//
// Nothing here is imported by the product. The package knows the product by its documents, and the directory's import.
package bench
