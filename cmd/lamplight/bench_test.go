package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A load that meets a condition of --fail-if ends with 3, and a condition that makes no sense is told before the run.
func TestFailIf(t *testing.T) {
	t.Parallel()
	c := exec.Command(binary, "bench", "subscribe", "--extensions", "20", "--rate", "50", "--duration", "1s", "--fail-if", "refresh:p50>1us", "--fail-if", "refresh:failed>0")
	out, _ := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "CROSSED refresh:p50>1us") || !strings.Contains(string(out), "kept refresh:failed>0") {
		t.Errorf("exit %d: %s", c.ProcessState.ExitCode(), out)
	}
	if _, talk, code := command("bench", "subscribe", "--fail-if", "told:p99>1s"); code != 2 || !strings.Contains(talk, `names the operation "told"`) {
		t.Errorf("exit %d: %s", code, talk)
	}
}

// The command in a report has no passwords, and can be pasted into a shell.
func TestRedactedCommand(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"lamplight bench blf --nats 'nats://***@a:4222'":                          {"/usr/bin/lamplight", "bench", "blf", "--nats", "nats://u:s3cret@a:4222"},
		"lamplight bench blf '--nats=nats://***@a:4222,nats://***@b:4222'":        {"lamplight", "bench", "blf", "--nats=nats://u:s3cret@a:4222,nats://u:s3cret@b:4222"},
		"lamplight bench blf --nats '***@a:4222'":                                 {"lamplight", "bench", "blf", "--nats", "u:s3cret@a:4222"},
		"lamplight bench blf --target 'http://***@a:8000' --fail-if 'ring:p9>1s'": {"lamplight", "bench", "blf", "--target", "http://u:s3cret@a:8000", "--fail-if", "ring:p9>1s"},
		"lamplight bench blf --html me@home.html":                                 {"lamplight", "bench", "blf", "--html", "me@home.html"},
	} {
		if got := redactedCommand(args); got != want {
			t.Errorf("%q gives %s, want %s", args, got, want)
		}
	}
}
