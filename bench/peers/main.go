// Command peers measures Kamailio's presence server (Debian's packages kamailio and kamailio-presence-modules, in memory mode) and
// Lamplight with the same work and the same phones (bench/phones), one after the other on this machine. Both speak SIP over UDP without
// authentication, and are told of calls by PUBLISH. The CPU is that of the servers, without the phones'. It is that of all threads, so it
// has the kernel's part of sending, which on loopback has the receiver's too.
//
// With --storage file, what Lamplight answers is durable; Kamailio keeps all in memory.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	binary := flag.String("lamplight", "bin/lamplight", "the built lamplight program")
	rounds := flag.Int("rounds", 1, "how often each server is measured")
	w := work{}
	flag.IntVar(&w.subscriptions, "subscriptions", 20_000, "how many subscriptions to make, twenty for each extension")
	flag.IntVar(&w.inFlight, "in-flight", 256, "how many SUBSCRIBEs wait for their answer at a time")
	flag.IntVar(&w.watchers, "watchers", 100, "how many watchers the extension has whose NOTIFYs are counted")
	flag.IntVar(&w.changes, "changes", 300, "how often that extension changes")
	flag.IntVar(&w.manyWatchers, "many-watchers", 1000, "how many watchers the extension has whose last one is waited for")
	flag.IntVar(&w.manyChanges, "many-changes", 40, "how often that extension changes")
	flag.DurationVar(&w.settle, "settle", 40*time.Second, "how long after the subscriptions memory is measured again")
	flag.Parse()
	if err := run(*binary, *rounds, w); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(binary string, rounds int, w work) error {
	fmt.Println(processor())
	fmt.Printf("%-34s %12s %10s %12s %10s %14s %28s\n", "", "SUBSCRIBE/s", "CPU each", "NOTIFY/s", "CPU each", "last of many", "MB resting, full, settled")
	for range rounds {
		var first *figures
		for _, start := range []func(dir string) (*server, error){startKamailio,
			func(dir string) (*server, error) { return startLamplight(binary, "memory", dir) },
			func(dir string) (*server, error) { return startLamplight(binary, "file", dir) }} {
			f, err := one(start, w)
			if err != nil {
				return err
			}
			f.print()
			if first == nil {
				first = &f
				continue
			}
			fmt.Printf("%34s %11.2fx %10.2f %11.2fx %10.2f %14.2f\n", "of Kamailio", f.subscribes/first.subscribes, ratio(f.subscribe, first.subscribe),
				f.notifies/first.notifies, ratio(f.notify, first.notify), ratio(f.last, first.last))
		}
	}
	return nil
}

// one starts a server, measures it and stops it.
func one(start func(dir string) (*server, error), w work) (figures, error) {
	dir, err := os.MkdirTemp("", "lamplight-peers-")
	if err != nil {
		return figures{}, err
	}
	defer os.RemoveAll(dir)
	s, err := start(dir)
	if err != nil {
		return figures{}, err
	}
	defer s.stop()
	f, err := s.measure(w)
	if err != nil {
		return f, fmt.Errorf("%s: %w", s.name, err)
	}
	return f, nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func (f *figures) print() {
	fmt.Printf("%-34s %12.0f %10v %12.0f %10v %14v %28s\n", f.name, f.subscribes, f.subscribe.Round(100*time.Nanosecond), f.notifies, f.notify.Round(10*time.Nanosecond),
		f.last.Round(10*time.Microsecond), fmt.Sprintf("%d, %d, %d", f.resting/1e6, f.full/1e6, f.settle/1e6))
}

// processor names the CPU.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(b) {
		if name, value, _ := strings.Cut(string(line), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "an unknown CPU"
}
