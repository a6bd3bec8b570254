// Package local starts and ends programs on this machine, each by its own pid, on addresses of their own. The load
// benchmark and the chaos suite use it.
package local

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is one program that was started; it is ended by its pid only, at the latest with the driver.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   *os.File
	ready chan struct{} // closed once it said that it is
	ended chan struct{} // closed once it was waited for
}

// Launch starts a program whose lines go to the end of a file. It is ready when a line says so.
func Launch(name, file string, argv ...string) (*Process, error) {
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, log: log, ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stderr = log
	p.cmd.Env = slices.DeleteFunc(os.Environ(), foreign)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.follow(out)
	return p, nil
}

// foreign says that a variable is a setting of other nodes; how much a program says may be set for all.
func foreign(variable string) bool {
	return strings.HasPrefix(variable, "LAMPLIGHT_") && !strings.HasPrefix(variable, "LAMPLIGHT_LOG_")
}

func (p *Process) follow(out io.Reader) {
	said := false
	for s := bufio.NewScanner(out); s.Scan(); {
		_, _ = fmt.Fprintln(p.log, s.Text())
		if !said && strings.Contains(s.Text(), "is ready") {
			said = true
			close(p.ready)
		}
	}
	_ = p.cmd.Wait()
	_ = p.log.Close()
	close(p.ended)
}

// PID is the process's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits until the process is ready.
func (p *Process) Await(within time.Duration) error {
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended: %v; see %s", p.name, p.cmd.ProcessState, p.log.Name())
	case <-time.After(within):
		return fmt.Errorf("%s is not ready after %v; see %s", p.name, within, p.log.Name())
	}
}

// Signal sends it one.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Running says that it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Kill ends it as a machine's end would.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Drain asks it to end, and says if it did not do so well.
func (p *Process) Drain(within time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s: exit %d after SIGTERM; see %s", p.name, code, p.log.Name())
		}
		return nil
	case <-time.After(within):
		p.Signal(syscall.SIGQUIT) // its goroutines into the log
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			p.Kill()
		}
		return fmt.Errorf("%s does not end within %v of SIGTERM; see %s", p.name, within, p.log.Name())
	}
}
