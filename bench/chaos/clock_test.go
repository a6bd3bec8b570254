package chaos

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"lamplight/tools/need"
)

// needOfJump is what need.Met says of a machine on which setClockOffset does not work.
const needOfJump = "Linux on amd64, whose vDSO the code knows, for %q"

// TestJump sets the time of day of a child process ahead and back. The time of day of this process must stay.
func TestJump(t *testing.T) {
	if os.Getenv("CHAOS_TELL_TIME") != "" {
		fmt.Println(time.Now().Unix())
		for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
			fmt.Println(time.Now().Unix())
		}
		os.Exit(0)
	}
	need.Met(t, canJump, needOfJump, clockJump)
	c := exec.Command(os.Args[0], "-test.run=^TestJump$")
	c.Env = append(os.Environ(), "CHAOS_TELL_TIME=1", "CHAOS_BINARY=none", "CHAOS_NATSD=none")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = c.Wait()
	}()
	ahead := func() time.Duration {
		var unix int64
		if _, err := fmt.Fscanf(out, "%d\n", &unix); err != nil {
			t.Fatal(err)
		}
		return time.Until(time.Unix(unix, 0)).Round(20 * time.Second)
	}
	if d := ahead(); d != 0 {
		t.Fatalf("before: %v ahead", d)
	}
	for _, by := range []time.Duration{time.Hour, -time.Hour, 0} {
		if err := setClockOffset(c.Process.Pid, by); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(in); err != nil {
			t.Fatal(err)
		}
		if d := ahead(); d != by {
			t.Errorf("after a jump by %v: %v ahead", by, d)
		}
	}
}
