// Command peers measures Kamailio's presence server (Debian's packages kamailio and kamailio-presence-modules, in memory
// mode) and Lamplight with the same work, one after the other on this machine. It makes subscriptions as fast as they are
// accepted, then changes an extension with many watchers. It prints the CPU that the servers used, without their clients'.
//
// The work is not quite the same. Kamailio sends SIP over UDP to each phone, and Lamplight sends NATS messages to edges, one for
// many watchers. With --storage file, Lamplight's subscriptions are durable; Kamailio's are in memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"lamplight/bench"
)

func main() {
	binary := flag.String("lamplight", "bin/lamplight", "the built lamplight program")
	subscriptions := flag.Int("subscriptions", 20_000, "how many subscriptions to make, twenty for each extension")
	watchers := flag.Int("watchers", 100, "how many watchers the extension that changes has")
	changes := flag.Int("changes", 200, "how often that extension changes")
	flag.Parse()
	if err := run(*binary, *subscriptions, *watchers, *changes); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(binary string, subscriptions, watchers, changes int) error {
	fmt.Printf("%-34s %14s %14s %14s %14s\n", "", "SUBSCRIBE/s", "CPU each", "NOTIFY/s", "CPU each")
	k, err := startKamailio()
	if err != nil {
		return err
	}
	err = k.measure(subscriptions, watchers, changes)
	k.close()
	if err != nil {
		return fmt.Errorf("kamailio: %w", err)
	}
	for _, storage := range []string{"memory", "file"} {
		if err := lamplight(binary, storage, subscriptions, watchers, changes); err != nil {
			return err
		}
	}
	return nil
}

// printRow prints the figures of one server.
func printRow(name string, subscribes, notifies float64, subscribe, notify time.Duration) {
	fmt.Printf("%-34s %14.0f %14v %14.0f %14v\n", name, subscribes, subscribe.Round(100*time.Nanosecond), notifies, notify.Round(10*time.Nanosecond))
}

// noProgress shows no progress.
type noProgress struct{}

func (noProgress) Phase(string, int) {}
func (noProgress) At(int, string)    {}
func (noProgress) Done()             {}

// lamplight measures Lamplight with one node and prints its row. The changes come at 100 a second.
func lamplight(binary, storage string, subscriptions, watchers, changes int) error {
	s := bench.Settings{Scenario: "blf", Nodes: 1, Extensions: subscriptions / 20, Subscriptions: subscriptions, Rate: 1, Duration: time.Second, Storage: storage}
	s.Defaults()
	a, err := bench.Run(context.Background(), s, "", binary, nil, noProgress{})
	if err != nil {
		return err
	}
	s = bench.Settings{Scenario: "fanout", Nodes: 1, Subscriptions: watchers, Rate: 100, Duration: time.Duration(changes) * time.Second / 100, Storage: storage}
	s.Defaults()
	b, err := bench.Run(context.Background(), s, "", binary, nil, noProgress{})
	if err != nil {
		return err
	}
	told := 0.0
	for _, o := range b.Load.Operations {
		if o.Name == "told" {
			told = float64(o.Count) * float64(watchers)
		}
	}
	printRow("Lamplight, --storage "+storage, float64(subscriptions)/a.Ramp.Seconds, told/b.Load.Seconds, cpuEach(&a.Ramp, float64(subscriptions)), cpuEach(&b.Load, told))
	return nil
}

// cpuEach is the CPU time of the nodes for each of n things that happened in a part.
func cpuEach(p *bench.Part, n float64) time.Duration {
	cores := 0.0
	for _, s := range p.Samples {
		for _, u := range s.Nodes {
			cores += u.CPU
		}
	}
	return time.Duration(cores / float64(max(len(p.Samples), 1)) * p.Seconds / n * float64(time.Second))
}
