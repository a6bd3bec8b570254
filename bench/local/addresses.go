package local

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Prefix finds a prefix of loopback addresses, such as "127.70.3.", for so many machines. Machine n, from 1 on, has the address
// that ends in n. Nobody listens there on any of the ports of a node and its NATS server.
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
	return "", fmt.Errorf("100 random prefixes of loopback addresses were tried, and a port of each is in use")
}
