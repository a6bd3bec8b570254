// Package local starts programs on this machine, on loopback addresses of their own, and ends each by its process ID. The load
// generator (bench) and the chaos tests use it; it knows nothing of what the programs do.
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

// Process is one program that was started. The kernel kills it when the process that started it dies. Its methods may be called
// from any goroutine.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   *os.File
	ready chan struct{} // closed when a line of its output says that it is ready
	ended chan struct{} // closed when it has ended
}

// Launch starts a program and appends its output to a file. The program counts as ready when a line on its standard output has
// "is ready".
func Launch(name, file string, argv ...string) (*Process, error) {
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, log: log, ready: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stderr = log
	p.cmd.Env = slices.DeleteFunc(os.Environ(), nodeSetting)
	// The program has a process group of its own: a Ctrl-C in the terminal would reach it besides the SIGTERM of Drain, and a second
	// signal ends a node at once.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
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

// nodeSetting says whether an environment variable is a setting of a node. The program does not inherit it, because each node has
// flags of its own. The level and format of the log are inherited.
func nodeSetting(variable string) bool {
	return strings.HasPrefix(variable, "LAMPLIGHT_") && !strings.HasPrefix(variable, "LAMPLIGHT_LOG_")
}

// follow copies the output to the log, and waits for the end.
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

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits until the process is ready.
func (p *Process) Await(within time.Duration) error {
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended before it was ready: %v; see its log %s", p.name, p.cmd.ProcessState, p.log.Name())
	case <-time.After(within):
		return fmt.Errorf("%s is not ready after %v; see its log %s", p.name, within, p.log.Name())
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Running says whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL, and returns when it has ended.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Drain ends the process with SIGTERM. It returns an error if the process exits with another code than 0, or does not end in time;
// then its goroutines are in the log and it is killed.
func (p *Process) Drain(within time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s exited with %d after SIGTERM; see its log %s", p.name, code, p.log.Name())
		}
		return nil
	case <-time.After(within):
		p.Signal(syscall.SIGQUIT) // Go then writes its goroutines to the log
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			p.Kill()
		}
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed; see its log %s", p.name, within, p.log.Name())
	}
}
