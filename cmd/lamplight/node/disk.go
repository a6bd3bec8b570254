package node

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// A disk with less than one part in LowDisk free is low, and is not any more once one part in enoughDisk is free.
const (
	LowDisk    = 10
	enoughDisk = 8
)

// Disk returns how many bytes are free for this process on the disk of a directory, and how many it has; 0: not known.
func Disk(dir string) (free, size float64) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0
	}
	block := float64(s.Bsize)
	return float64(s.Bavail) * block, float64(s.Blocks) * block
}

// disk is Disk of the data directory.
func (n *Node) disk() (free, size float64) { return Disk(n.cfg.Data) }

// registerDisk registers the metrics of the disk of the embedded NATS server.
func (n *Node) registerDisk() {
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"disk_free_bytes", "Bytes that are free on the disk of the data directory. The embedded NATS server takes no writes on a full disk.", func() float64 { free, _ := n.disk(); return free }},
		{"disk_size_bytes", "Bytes of the disk of the data directory.", func() float64 { _, size := n.disk(); return size }},
		{"store_bytes", "Bytes that the embedded NATS server keeps in the data directory: the journal and the directory.", func() float64 { used, _ := n.server.Usage(); return float64(used) }},
		{"store_limit_bytes", "Bytes that the embedded NATS server may keep. It found them when it started: what it had kept, and nine tenths of what was free.", func() float64 { _, most := n.server.Usage(); return float64(most) }},
	} {
		n.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_" + g.name, Help: g.help}, g.value))
	}
}

// watchDisk logs when the disk of the embedded NATS server becomes low, and when it is not low any more. One goroutine calls it, again
// and again.
func (n *Node) watchDisk() {
	if n.server == nil {
		return
	}
	free, size := n.disk()
	percent := func() string { return fmt.Sprintf("%.1f", 100*free/size) }
	switch {
	case size == 0:
	case !n.diskLow && free < size/LowDisk:
		n.diskLow = true
		n.log.Warn("the disk of the data directory is nearly full; free space there: on a full disk changes are answered 503", "data", n.cfg.Data, "free_percent", percent(), "free_bytes", int64(free))
	case n.diskLow && free > size/enoughDisk:
		n.diskLow = false
		n.log.Info("the disk of the data directory has room again", "data", n.cfg.Data, "free_percent", percent(), "free_bytes", int64(free))
	}
}
