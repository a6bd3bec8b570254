package main

import (
	"net"
	"os"
)

// The states that systemd is told: sd_notify(3).
const (
	systemdReady    = "READY=1"
	systemdStopping = "STOPPING=1"
)

// tellSystemd tells the service manager the state of this process, if a service manager started it. It ignores errors: the node
// works without systemd.
func tellSystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}
