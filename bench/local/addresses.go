package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Prefix finds a part of loopback (127.x.y.) in which nobody listens on the default ports of so many machines, which
// count from 1: each has an address of its own there, which no other run uses.
func Prefix(r *rand.Rand, machines int) (string, error) {
	for range 100 {
		prefix := fmt.Sprintf("127.%d.%d.", 64+r.IntN(128), r.IntN(256))
		free := true
		for machine := 1; machine <= machines; machine++ {
			for _, port := range []string{":4222", ":6222", ":7946", ":8000"} {
				l, err := net.Listen("tcp", fmt.Sprint(prefix, machine, port))
				if err != nil {
					free = false
					continue
				}
				_ = l.Close()
			}
		}
		if free {
			return prefix, nil
		}
	}
	return "", fmt.Errorf("no addresses are free on loopback")
}
