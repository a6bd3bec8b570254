package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// The states that systemd is told: sd_notify(3).
const (
	systemdReady    = "READY=1"
	systemdStopping = "STOPPING=1"
	systemdAlive    = "WATCHDOG=1"
)

// feedWatchdog tells the service manager that this process is alive, as often as its WatchdogSec demands, while alive returns true and
// until ctx ends. Without a watchdog it returns at once.
func feedWatchdog(ctx context.Context, alive func() bool) {
	within, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || within <= 0 {
		return
	}
	t := time.NewTicker(time.Duration(within) * time.Microsecond / 3)
	defer t.Stop()
	for {
		if alive() {
			tellSystemd(systemdAlive)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

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
