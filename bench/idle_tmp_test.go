package bench_test

import (


	"testing"
	"time"
)

func TestIdleTmp(t *testing.T) {
	n := start(t, t.TempDir())
	n.subscribe(t, 1000, "c")
	time.Sleep(11 * time.Second)
	before := cpu()
	time.Sleep(10 * time.Second)
	t.Logf("idle: %v a second", (cpu()-before)/10)


	time.Sleep(5 * time.Second)


}
