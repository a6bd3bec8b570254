package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/go-json-experiment/json"
	"github.com/prometheus/procfs"

	"lamplight/cmd/lamplight/node"
)

type doctorCommand struct {
	Serve   serveWord `arg:"" optional:"" help:"The word serve, so that a machine can be examined for a command line of serve as it is."`
	Output  string    `short:"o" enum:"table,json" default:"table" help:"How the result is printed: table or json."`
	Timeout span      `default:"2s" help:"How long the answer to each question to another machine may take."`
	serveFlags
}

// A verdict says how good what doctor found is.
type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warning" // the node works, and something is not as it should be
	wrong   verdict = "wrong"   // the node does not start or does not work
)

// finding is what doctor found.
type finding struct {
	Check   string  `json:"check"` // configuration, node, ports, clock, limits, disk, nats, gossip or keys
	Verdict verdict `json:"verdict"`
	Found   string  `json:"found"`
	Do      string  `json:"do,omitzero"` // what the operator should do; "" with the verdict ok
}

// doctor examines a machine for one node. One goroutine uses it.
type doctor struct {
	*serveFlags
	config   node.Config
	file     string // the configuration file; "": none was given
	within   time.Duration
	proc     procfs.FS
	sockets  map[string]int // by "socket:[inode]": the process that has it open; of the processes that this user may look at
	node     int            // the process of the node that runs with these flags; 0: none is seen
	locks    bool           // that process has the data directory
	findings []finding
}

// Run implements doctor. It fails when something is wrong.
func (c *doctorCommand) Run(out io.Writer, file *kong.ConfigFlag) error {
	d := &doctor{serveFlags: &c.serveFlags, within: time.Duration(c.Timeout)}
	if *file != "" {
		d.file = kong.ExpandPath(string(*file))
	}
	if err := d.examine(); err != nil {
		return err
	}
	var err error
	if c.Output == "json" {
		err = printJSON(out, d.findings)
	} else {
		err = printFindings(out, d.findings)
	}
	bad := 0
	for _, f := range d.findings {
		if f.Verdict == wrong {
			bad++
		}
	}
	if err == nil && bad > 0 {
		err = fmt.Errorf("%d findings are wrong", bad)
	}
	return err
}

// printFindings prints each finding as a line.
func printFindings(out io.Writer, all []finding) error {
	var err error
	for _, f := range all {
		line := f.Found
		if f.Do != "" {
			line += ": " + f.Do
		}
		_, e := fmt.Fprintf(out, "%-7s  %-13s  %s\n", f.Verdict, f.Check, line)
		err = errors.Join(err, e)
	}
	return err
}

// note adds a finding.
func (d *doctor) note(check string, v verdict, do, format string, a ...any) {
	d.findings = append(d.findings, finding{check, v, strings.TrimSpace(fmt.Sprintf(format, a...)), do})
}

// examine makes all checks. Those that need a good configuration are left out without one.
func (d *doctor) examine() error {
	config, _, err := d.settings(slog.New(slog.DiscardHandler)) // what may pass is looked at below, one by one
	d.config = config
	if err := d.look(); err != nil {
		return err
	}
	if err == nil {
		d.note("configuration", fine, "", "serve takes these flags, variables and files")
		d.checkReachable()
	} else {
		d.note("configuration", wrong, "mend it; lamplight check-config says when it is good", "%s", strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
	}
	if d.node != 0 {
		d.note("node", fine, "", "the node runs as process %d", d.node)
	} else {
		d.note("node", fine, "", "no node is seen that runs with these flags")
	}
	if err == nil {
		d.checkPorts()
	}
	d.checkClock()
	d.checkDescriptors()
	d.checkMemory()
	d.checkDisk()
	if err == nil {
		d.checkNATS()
		d.checkGossip()
	}
	d.checkKeys()
	return nil
}

// checkReachable looks the own name up.
func (d *doctor) checkReachable() {
	if err := d.lookUp(); err != nil {
		d.note("configuration", wrong, "give a name that can be looked up, or an address, with --advertise", "%s", err)
	}
}

// look looks at the processes of the machine, and finds the node.
func (d *doctor) look() (err error) {
	if d.proc, err = procfs.NewDefaultFS(); err != nil {
		return err
	}
	d.sockets = d.openSockets()
	d.findNode()
	return nil
}

// nodeName asks the node that was found for its name; "": it does not listen on --http, or does not say.
func (d *doctor) nodeName() string {
	if pid, _ := d.holder(node.Port{Network: "tcp", Address: d.HTTP}); pid != d.node {
		return ""
	}
	_, answer, err := askReady(d.HTTP, d.HTTPTLSCert, d.within)
	var a struct {
		Node string `json:"node"` // lamplight@ and the name
	}
	if err != nil || json.Unmarshal(answer, &a) != nil {
		return ""
	}
	name, ours := strings.CutPrefix(a.Node, "lamplight@")
	if !ours {
		return ""
	}
	return fmt.Sprintf("the node %.64q", name)
}

// openSockets returns which process has which socket open.
func (d *doctor) openSockets() map[string]int {
	of := map[string]int{}
	all, _ := d.proc.AllProcs() // without /proc no holder is found
	for _, p := range all {
		targets, _ := p.FileDescriptorTargets()
		for _, t := range targets {
			if strings.HasPrefix(t, "socket:") {
				of[t] = p.PID
			}
		}
	}
	return of
}

// findNode finds the process of a node that runs with the data directory or the HTTP port of the flags.
func (d *doctor) findNode() {
	if dir, err := filepath.EvalSymlinks(d.Data); err == nil {
		dir, _ = filepath.Abs(dir)
		all, _ := d.proc.AllProcs()
		for _, p := range all {
			targets, _ := p.FileDescriptorTargets()
			for _, t := range targets {
				if t == filepath.Join(dir, "lock") && p.PID != os.Getpid() {
					d.node, d.locks = p.PID, true
				}
			}
		}
	}
	if pid, _ := d.holder(node.Port{Network: "tcp", Address: d.HTTP}); d.node == 0 && pid != os.Getpid() && strings.HasPrefix(d.nameOf(pid), "lamplight") {
		d.node = pid
	}
}

// nameOf returns the name of a process; "": not known.
func (d *doctor) nameOf(pid int) string {
	if pid == 0 {
		return ""
	}
	p, err := d.proc.Proc(pid)
	if err != nil {
		return ""
	}
	name, _ := p.Comm()
	return name
}

// The states of a socket that takes what comes to its port, as the kernel numbers them.
const (
	tcpListens = 10
	udpOpen    = 7
)

// holder returns the process that uses a port, 0 if this user can't see which, and whether a socket uses it at all.
func (d *doctor) holder(p node.Port) (pid int, used bool) {
	a, err := net.ResolveTCPAddr("tcp", p.Address)
	if err != nil || a.Port == 0 {
		return 0, false
	}
	look := func(local net.IP, port, state, want, inode uint64) {
		same := a.IP == nil || a.IP.IsUnspecified() || local.IsUnspecified() || local.Equal(a.IP)
		if int(port) == a.Port && state == want && same {
			used = true
			if found := d.sockets[fmt.Sprintf("socket:[%d]", inode)]; found != 0 {
				pid = found
			}
		}
	}
	if p.Network == "udp" {
		four, _ := d.proc.NetUDP()
		six, _ := d.proc.NetUDP6()
		for _, s := range append(four, six...) {
			look(s.LocalAddr, s.LocalPort, s.St, udpOpen, s.Inode)
		}
		return pid, used
	}
	four, _ := d.proc.NetTCP() //nolint:staticcheck // netlink is faster with many sockets, and would be one more library for a few reads
	six, _ := d.proc.NetTCP6() //nolint:staticcheck // as above
	for _, s := range append(four, six...) {
		look(s.LocalAddr, s.LocalPort, s.St, tcpListens, s.Inode)
	}
	return pid, used
}

// checkPorts says which ports are free, and who has the others.
func (d *doctor) checkPorts() {
	for _, p := range d.config.Ports() {
		passing, never := p.Try()
		pid, _ := d.holder(p)
		what := fmt.Sprintf("%s %s (%s)", p.Flag, p.Address, p.Network)
		switch {
		case never != nil:
			d.note("ports", wrong, "", "%s", never)
		case passing == nil:
			d.note("ports", fine, "", "%s is free", what)
		case pid != 0 && pid == d.node:
			d.note("ports", fine, "", "%s is held by the node itself", what)
		case pid != 0:
			d.note("ports", wrong, "stop that one, or give another port with "+p.Flag, "%s is held by %s, process %d", what, d.nameOf(pid), pid)
		case strings.Contains(passing.Error(), "in use"):
			d.note("ports", warning, "run lamplight doctor as root, or as the user of the node, to see which", "%s is held by a process that this user can't see", what)
		default:
			d.note("ports", wrong, "see that the host can be looked up and is one of this machine", "%s", passing)
		}
	}
}
