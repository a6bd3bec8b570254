// Package shadowtest runs `lamplight shadow` as a process, for tests.
package shadowtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Comparison is a running `lamplight shadow`.
type Comparison struct {
	t     testing.TB
	cmd   *exec.Cmd
	ended chan error // of the process

	mu     sync.Mutex
	stderr bytes.Buffer
	found  []Found
	sums   []map[string]any
}

// Found is a difference that the command reports.
type Found struct {
	ID        int
	Kind      string
	Extension string
	Watcher   string
	Lamplight struct{ State string }
	Running   struct{ State string } `json:"running_system"`
	Cause     string
	Because   string
	Events    struct {
		Lamplight []struct{ What string }
		Running   []struct{ What string } `json:"running_system"`
	}
	Over bool `json:"-"` // it was over later
}

// Start runs the built command, with short times and further flags. It ends with the test.
func Start(t testing.TB, binary string, flags ...string) *Comparison {
	t.Helper()
	c := &Comparison{t: t, ended: make(chan error, 1)}
	c.cmd = exec.Command(binary, append([]string{"shadow", "--http", "127.0.0.1:0", "-o", "json", "--grace", "2500ms", "--every", "300ms", "--interval", "200ms"}, flags...)...)
	c.cmd.Stderr = writer{c}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			c.take(lines.Bytes())
		}
		c.ended <- c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-read
		if t.Failed() {
			t.Log(c.Log())
		}
	})
	return c
}

// Binary returns the path of the command.
func (c *Comparison) Binary() string { return c.cmd.Path }

// writer takes what the command writes to stderr.
type writer struct{ c *Comparison }

func (w writer) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.stderr.Write(p)
}

// take takes a line of the output.
func (c *Comparison) take(text []byte) {
	var line struct {
		Found, Over *Found
		Summary     map[string]any
	}
	if err := json.Unmarshal(text, &line); err != nil {
		c.t.Errorf("%v: %s", err, text)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case line.Found != nil:
		c.found = append(c.found, *line.Found)
	case line.Over != nil:
		for i := range c.found {
			if c.found[i].ID == line.Over.ID {
				c.found[i].Over = true
			}
		}
	default:
		c.sums = append(c.sums, line.Summary)
	}
}

// Log returns what the command wrote to stderr.
func (c *Comparison) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stderr.String()
}

// HTTP returns where the command listens, once it has said so.
func (c *Comparison) HTTP() string {
	m := regexp.MustCompile(`http listening on (\S+)`).FindStringSubmatch(c.Log())
	if m == nil {
		c.t.Fatal("the command has not said where it listens")
	}
	return m[1]
}

// All returns the differences of an extension's user so far; "": of all.
func (c *Comparison) All(user string) (all []Found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.found {
		if user == "" || strings.HasPrefix(f.Extension, user+"@") {
			all = append(all, f)
		}
	}
	return all
}

// Names waits until the command names the cause of a difference of an extension, with evidence that matches a pattern.
func (c *Comparison) Names(user, cause, evidence string) Found {
	c.t.Helper()
	pattern := regexp.MustCompile(evidence)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		all := c.All(user)
		for _, f := range all {
			if f.Cause == cause && pattern.MatchString(f.Because) {
				return f
			}
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: %q with %q is not named; there are %+v", user, cause, evidence, all)
		}
	}
}

// Sum returns a number of the newest summary, by its path; -1: there is no summary.
func (c *Comparison) Sum(path ...string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sums) == 0 {
		return -1
	}
	var v any = c.sums[len(c.sums)-1]
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	n, _ := v.(float64)
	return n
}

// Await waits until the number of the newest summary at a path is at least n.
func (c *Comparison) Await(n float64, path ...string) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); c.Sum(path...) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%v is %v and not %v", path, c.Sum(path...), n)
		}
	}
}

// Stop interrupts the command, which must end well.
func (c *Comparison) Stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-c.ended:
		if err != nil {
			c.t.Fatalf("%v: %s", err, c.Log())
		}
	case <-time.After(20 * time.Second):
		c.t.Fatal("the command does not end")
	}
}
