package main

import (
	"regexp"
	"strconv"
	"testing"
)

// A node says at its start what its garbage collector may use: a part of the machine's memory, or what the environment says.
func TestCollector(t *testing.T) {
	t.Parallel()
	said := regexp.MustCompile(`gogc=(\w+) memory_limit_mib=(\d+)`)
	for _, c := range []struct {
		env         []string
		gogc        string
		least, most int
	}{
		{[]string{"env", "-u", "GOGC", "-u", "GOMEMLIMIT"}, "200", 1, 1 << 30},
		{[]string{"env", "GOGC=150", "GOMEMLIMIT=300MiB"}, "150", 300, 300},
	} {
		p := startWith(t, c.env, t.TempDir())
		p.await()
		m := said.FindStringSubmatch(p.stderr.String())
		if m == nil {
			t.Fatalf("with %v the log says nothing:\n%s", c.env, p.stderr.String())
		}
		if limit, _ := strconv.Atoi(m[2]); m[1] != c.gogc || limit < c.least || limit > c.most {
			t.Errorf("with %v: %s", c.env, m[0])
		}
	}
}
