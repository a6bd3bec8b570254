package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"lamplight/bench/local"
)

// Each machine has an address for each kind of traffic, so that a fault can cut one kind and leave the others.
const (
	planeGossip = 1 + iota
	planeNATS
	planeHTTP
)

func planeAddress(plane, machine int) string { return fmt.Sprintf("10.88.%d.%d", plane, machine) }

// switchAddress is the last byte of the driver's own addresses, on the bridge that joins the machines.
const switchAddress = 254

// enterHub makes the network namespace of this process the switch between four machines, each a namespace of its own. The
// process must have been started in new network and mount namespaces (unshare), so that all of this ends with it.
func enterHub() (layout, error) {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return layout{}, err
	}
	lines := []string{"mount -t tmpfs none /run/netns", "ip link set lo up", "ip link add hub type bridge", "ip link set hub up"}
	for plane := planeGossip; plane <= planeHTTP; plane++ {
		lines = append(lines, "ip addr add "+planeAddress(plane, switchAddress)+"/24 dev hub")
	}
	for m := 1; m <= members+1; m++ {
		lines = append(lines, fmt.Sprintf("ip netns add m%d", m), fmt.Sprintf("ip link add v%d type veth peer name eth0 netns m%d", m, m),
			fmt.Sprintf("ip link set v%d master hub up", m), fmt.Sprintf("ip -n m%d link set lo up", m), fmt.Sprintf("ip -n m%d link set eth0 up", m))
		for plane := planeGossip; plane <= planeHTTP; plane++ {
			lines = append(lines, fmt.Sprintf("ip -n m%d addr add %s/24 dev eth0", m, planeAddress(plane, m)))
		}
	}
	for _, l := range lines {
		if err := command(l); err != nil {
			return layout{}, err
		}
	}
	on := func(plane int) func(int) string { return func(m int) string { return planeAddress(plane, m) } }
	return layout{gossip: on(planeGossip), nats: on(planeNATS), http: on(planeHTTP), ports: local.DefaultPorts,
		inside: func(m int) []string { return []string{"ip", "netns", "exec", fmt.Sprintf("m%d", m)} }}, nil
}

// command runs a command line without quotes.
func command(line string) error {
	part := strings.Fields(line)
	if out, err := exec.Command(part[0], part[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// blackhole adds or deletes (what) a route that drops all packets of one plane from one machine to another.
func blackhole(what string, plane, from, to int) error {
	return command(fmt.Sprintf("ip -n m%d route %s blackhole %s/32", from, what, planeAddress(plane, to)))
}

// partition makes a fault that cuts a machine from the others on some planes: what it sends, what it hears, or both.
func partition(name string, sends, hears bool, planes ...int) fault {
	return fault{name: name, exclusive: true, run: func(_ *run, machine int, hold time.Duration) error {
		all := func(what string) (err error) {
			for _, plane := range planes {
				for other := 1; other <= members; other++ {
					if other == machine {
						continue
					}
					if sends {
						err = errors.Join(err, blackhole(what, plane, machine, other))
					}
					if hears {
						err = errors.Join(err, blackhole(what, plane, other, machine))
					}
				}
			}
			return err
		}
		if err := all("add"); err != nil {
			return err
		}
		time.Sleep(hold + 2*time.Second) // long enough that the others notice
		return all("del")
	}}
}

var networkFaults = []fault{
	partition("a machine cut off, both ways", true, true, planeGossip, planeNATS),
	partition("a machine cut off, what it sends", true, false, planeGossip, planeNATS),
	partition("a machine cut off, what it hears", false, true, planeGossip, planeNATS),
	partition("gossip cut, both ways", true, true, planeGossip),
	partition("gossip cut, one way", true, false, planeGossip),
	partition("NATS cut, both ways", true, true, planeNATS),
	partition("NATS cut, one way", true, false, planeNATS),
}
