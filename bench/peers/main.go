// Command peers measures Kamailio's presence server (Debian's packages kamailio and kamailio-presence-modules, in memory
// mode) and Lamplight with the same work, one after the other on this machine: subscriptions made as fast as they are
// accepted, then changes of an extension with many watchers. CPU is what the servers used, their clients apart.
//
// Kamailio speaks SIP over UDP with the phones; Lamplight's NOTIFYs go to edges over NATS, one message for many
// watchers, and its subscriptions are durable. The SIP edge will make the two alike.
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
	binary := flag.String("lamplight", "bin/lamplight", "the program")
	subscriptions := flag.Int("subscriptions", 20_000, "how many, twenty to an extension")
	watchers := flag.Int("watchers", 100, "of the extension that changes")
	changes := flag.Int("changes", 200, "of it")
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

func row(name string, subscribes, notifies float64, subscribe, notify time.Duration) {
	fmt.Printf("%-34s %14.0f %14v %14.0f %14v\n", name, subscribes, subscribe.Round(100*time.Nanosecond), notifies, notify.Round(10*time.Nanosecond))
}

type silent struct{}

func (silent) Phase(string, int) {}
func (silent) At(int, string)    {}
func (silent) Done()             {}

// lamplight does the same with one node of its own. Changes come at a rate well above what Kamailio does, so that the
// CPU of a NOTIFY is that of a busy node.
func lamplight(binary, storage string, subscriptions, watchers, changes int) error {
	s := bench.Settings{Scenario: "blf", Nodes: 1, Extensions: subscriptions / 20, Subscriptions: subscriptions, Rate: 1, Duration: time.Second, Storage: storage}
	s.Defaults()
	a, err := bench.Run(context.Background(), s, "", binary, nil, silent{})
	if err != nil {
		return err
	}
	s = bench.Settings{Scenario: "fanout", Nodes: 1, Subscriptions: watchers, Rate: 100, Duration: time.Duration(changes) * time.Second / 100, Storage: storage}
	s.Defaults()
	b, err := bench.Run(context.Background(), s, "", binary, nil, silent{})
	if err != nil {
		return err
	}
	told := 0.0
	for _, o := range b.Load.Operations {
		if o.Name == "told" {
			told = float64(o.Count) * float64(watchers)
		}
	}
	row("Lamplight, --storage "+storage, float64(subscriptions)/a.Ramp.Seconds, told/b.Load.Seconds, each(&a.Ramp, float64(subscriptions)), each(&b.Load, told))
	return nil
}

// each is the nodes' CPU for one of n things that happened in a part.
func each(p *bench.Part, n float64) time.Duration {
	cores := 0.0
	for _, s := range p.Samples {
		for _, u := range s.Nodes {
			cores += u.CPU
		}
	}
	return time.Duration(cores / float64(max(len(p.Samples), 1)) * p.Seconds / n * float64(time.Second))
}
