package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lamplight/cluster/status"
	"lamplight/cmd/lamplight/node"
)

const (
	fewDescriptors  = 4096      // below it a busy node refuses connections
	leastDescriptor = 512       // below it the node's own parts run out of them
	nodeMemory      = 256 << 20 // bytes that a node needs besides --edge-memory before it holds extensions
	leastDisk       = 64 << 20  // bytes that the embedded NATS server must be able to write

	slowSync     = 50 * time.Millisecond // a sync of the disk that takes longer is slow: an SSD needs a few ms
	stalledSync  = time.Second           // one that takes longer makes the journal miss its heartbeats
	clockApart   = 500 * time.Millisecond
	clockTooFar  = 5 * time.Second
	syncs        = 10
	syncsAtMost  = 3 * time.Second // how long the syncs may take together
	lowestCgroup = "/sys/fs/cgroup"
)

// checkClock asks the kernel whether a time service keeps its clock.
func (d *doctor) checkClock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	d.findings = append(d.findings, clockFinding(state, t.Status, t.Esterror, err))
}

// clockFinding says what an answer of adjtimex(2) means. apart is the estimated error in µs.
func clockFinding(state int, status int32, apart int64, err error) finding {
	const do = "run a time service, such as chrony or systemd-timesyncd, on this machine or the one that this container runs on"
	switch {
	case err != nil:
		return finding{"clock", warning, fmt.Sprintf("the kernel does not tell whether its clock is right: %v", err), do}
	case state == unix.TIME_ERROR || status&unix.STA_UNSYNC != 0:
		return finding{"clock", warning, "no time service keeps the kernel's clock; times in logs and answers, and the ends of tokens, may be wrong", do}
	}
	return finding{"clock", fine, fmt.Sprintf("a time service keeps the kernel's clock, with an estimated error of %v", time.Duration(apart)*time.Microsecond), ""}
}

// clocksApart compares the clocks of nodes, which were asked and had all answered between two times of this machine's clock. It can't
// say more than by how much two clocks differ at least.
func clocksApart(asked, answered time.Time, all []status.Status) (found []finding) {
	for _, s := range all {
		var apart time.Duration
		switch {
		case s.Time.IsZero():
			continue
		case s.Time.Before(asked):
			apart = asked.Sub(s.Time)
		case s.Time.After(answered):
			apart = s.Time.Sub(answered)
		}
		f := finding{"clock", fine, fmt.Sprintf("the clock of the node %s is not seen to differ from this machine's", s.Node), ""}
		if apart > clockApart {
			f = finding{"clock", warning, fmt.Sprintf("the clock of the node %s differs from this machine's by %v at least", s.Node, apart.Round(time.Millisecond)),
				"see which of the two machines has the right time, and run a time service on both"}
		}
		if apart > clockTooFar {
			f.Verdict = wrong // tokens of one node are expired, or not good yet, for the other
		}
		found = append(found, f)
	}
	return found
}

// checkDescriptors looks at how many file descriptors the running node, or else this process, may open.
func (d *doctor) checkDescriptors() {
	n, whose := node.Descriptors(), "a process of this user"
	if p, err := d.proc.Proc(d.node); d.node != 0 && err == nil {
		if l, err := p.Limits(); err == nil {
			n, whose = int(min(l.OpenFiles, math.MaxInt32)), "the node"
		}
	}
	const do = "raise it: LimitNOFILE=65536 in the systemd unit, or ulimit -n"
	switch {
	case n < leastDescriptor:
		d.note("limits", wrong, do, "%s may open %d file descriptors; a node needs %d at least", whose, n, leastDescriptor)
	case n < fewDescriptors:
		d.note("limits", warning, do, "%s may open %d file descriptors, of which HTTP gets half and the clients of NATS a quarter", whose, n)
	default:
		d.note("limits", fine, "", "%s may open %d file descriptors", whose, n)
	}
}

// checkMemory looks at how much memory the running node, or else this process, may have.
func (d *doctor) checkMemory() {
	var total uint64
	if m, err := d.proc.Meminfo(); err == nil && m.MemTotalBytes != nil {
		total = *m.MemTotalBytes
	}
	pid := d.node
	if pid == 0 {
		pid = os.Getpid()
	}
	path := ""
	if p, err := d.proc.Proc(pid); err == nil {
		groups, _ := p.Cgroups()
		for _, g := range groups {
			if g.HierarchyID == 0 {
				path = g.Path
			}
		}
	}
	d.findings = append(d.findings, memoryFinding(total, cgroupLimit(lowestCgroup, path), int64(d.EdgeMemory)<<20))
}

// cgroupLimit returns the lowest memory limit of a cgroup (version 2) and those above it, in bytes; 0: there is none.
func cgroupLimit(root, path string) (lowest uint64) {
	for at := filepath.Join("/", path); ; at = filepath.Dir(at) {
		text, err := os.ReadFile(filepath.Join(root, at, "memory.max"))
		if n, e := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && e == nil && (lowest == 0 || n < lowest) {
			lowest = n
		}
		if at == "/" {
			return lowest
		}
	}
}

// memoryFinding compares the memory of the machine and the limit of the cgroup (0: not known, none) with what a node needs.
func memoryFinding(total, limit uint64, edges int64) finding {
	have, what := total, "the machine has %s of memory"
	if limit > 0 && (limit < total || total == 0) {
		have, what = limit, "the cgroup may have %s of memory"
	}
	if have == 0 {
		return finding{"limits", warning, "the amount of memory is not known", "see that /proc can be read"}
	}
	found := fmt.Sprintf(what, mib(have))
	if need := uint64(edges + nodeMemory); have < need {
		return finding{"limits", warning, fmt.Sprintf("%s; a node with this --edge-memory needs %s before it holds extensions", found, mib(need)),
			"give it more memory, or lower --edge-memory; docs/scaling.md says what extensions need"}
	}
	return finding{"limits", fine, found, ""}
}

// mib returns an amount of memory in MiB.
func mib(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

// checkDisk looks at the disk of the data directory, or of the directory above it that there is.
func (d *doctor) checkDisk() {
	dir, err := filepath.Abs(d.Data)
	if err != nil {
		d.note("disk", wrong, "give a directory with --data", "%s", err)
		return
	}
	for _, err := os.Stat(dir); os.IsNotExist(err) && filepath.Dir(dir) != dir; _, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	free, size := node.Disk(dir)
	d.findings = append(d.findings, freeFinding(dir, free, size))
	if d.Nats != "embedded" || d.Storage == "memory" {
		return // the data directory holds a few files only
	}
	d.findings = append(d.findings, kindFinding(dir, d.fileSystem(dir)))
	took, err := timeSyncs(dir)
	d.findings = append(d.findings, syncFinding(dir, took, err))
}

// freeFinding says whether a disk has room.
func freeFinding(dir string, free, size float64) finding {
	found := fmt.Sprintf("%s of %s are free on the disk of %s", mib(uint64(free)), mib(uint64(size)), dir)
	const do = "free space, or give a larger disk; on a full one changes are answered 503"
	switch {
	case size == 0:
		return finding{"disk", warning, "the disk of " + dir + " does not tell its size", "see that it is mounted"}
	case free < leastDisk:
		return finding{"disk", wrong, found, do}
	case free < size/node.LowDisk:
		return finding{"disk", warning, found, do}
	}
	return finding{"disk", fine, found, ""}
}

// fileSystem returns the kind of the file system that a directory is on, as mount(8) names it; "": not known.
func (d *doctor) fileSystem(dir string) (kind string) {
	p, err := d.proc.Self()
	if err != nil {
		return ""
	}
	mounts, _ := p.MountInfo()
	longest := -1
	for _, m := range mounts { // of two on one place the later one is seen
		at := strings.TrimSuffix(m.MountPoint, "/")
		if (dir == at || strings.HasPrefix(dir, at+"/")) && len(at) >= longest {
			longest, kind = len(at), m.FSType
		}
	}
	return kind
}

// kindFinding says whether a kind of file system keeps a journal.
func kindFinding(dir, kind string) finding {
	name, _, _ := strings.Cut(kind, ".")
	switch {
	case kind == "":
		return finding{"disk", warning, "the kind of the file system of " + dir + " is not known", "see that /proc can be read"}
	case slices.Contains([]string{"tmpfs", "ramfs"}, name):
		return finding{"disk", warning, fmt.Sprintf("%s is on %s, in memory: a restart of the machine loses the journal", dir, kind), "give a directory on a disk with --data"}
	case name == "overlay":
		return finding{"disk", warning, fmt.Sprintf("%s is on %s, which a container loses when it is made anew", dir, kind), "mount a volume there"}
	case slices.Contains([]string{"nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "ceph", "glusterfs"}, name):
		return finding{"disk", warning, fmt.Sprintf("%s is on %s, over a network, whose outages and delays the journal feels", dir, kind), "give a directory on a local disk with --data; the copies are on the other nodes"}
	}
	return finding{"disk", fine, fmt.Sprintf("%s is on %s", dir, kind), ""}
}

// timeSyncs writes a small file in a directory, syncs it some times, removes it, and returns how long the middle sync took.
func timeSyncs(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".lamplight-doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	var took []time.Duration
	for begun := time.Now(); len(took) < syncs && (len(took) == 0 || time.Since(begun) < syncsAtMost); {
		at := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// syncFinding says whether a disk is fast enough.
func syncFinding(dir string, took time.Duration, err error) finding {
	if err != nil {
		return finding{"disk", wrong, fmt.Sprintf("%s can't be written: %v", dir, err), "see that the user of the node may write there, or give another --data"}
	}
	f := finding{"disk", fine, fmt.Sprintf("a write to %s is on the disk after %v", dir, took.Round(10*time.Microsecond)), ""}
	const do = "use a faster disk, best an SSD that nothing else keeps busy"
	switch {
	case took > stalledSync:
		f.Verdict, f.Do = wrong, do
	case took > slowSync:
		f.Verdict, f.Do = warning, do+"; with --sync always each change waits for it"
	}
	return f
}
