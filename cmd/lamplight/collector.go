package main

import (
	"cmp"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The garbage collector's defaults: docs/performance.md, "GOGC", has what they gain.
const (
	collectAt   = 200  // GOGC: percent that the heap may grow by before it is collected
	memoryShare = 0.75 // of the memory of the machine, or of the cgroup: GOMEMLIMIT, past which the collector works more
)

// tuneCollector has the garbage collector work less often while there is memory, and more when it gets short. What the environment says
// (GOGC, GOMEMLIMIT) stands. It logs what counts.
func tuneCollector(log *slog.Logger) {
	gogc := os.Getenv("GOGC")
	if gogc == "" {
		debug.SetGCPercent(collectAt)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		log.Warn("how much memory there is could not be found out, so the garbage collector has no limit; set GOMEMLIMIT", "err", err)
	}
	if limit == math.MaxInt64 {
		limit = 0
	}
	log.Info("the garbage collector runs when the heap has grown by gogc percent, and more often past the memory limit; GOGC and GOMEMLIMIT in the environment change them", "gogc", cmp.Or(gogc, strconv.Itoa(collectAt)), "memory_limit_mib", limit>>20)
}
