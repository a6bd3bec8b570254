package bench_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain checks that nothing leaves a goroutine behind. It ignores those of fasthttp and of the NATS server: fasthttp's
// clock never ends, and its sweepers take up to 10 s to notice that their server has stopped or their client is idle. With
// serverData in the environment this is the child process of startChild.
func TestMain(m *testing.M) {
	if data := os.Getenv(serverData); data != "" {
		os.Exit(serveNATS(data))
	}
	if to := os.Getenv(floodFor); to != "" {
		os.Exit(runFlood(to))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*Client).mCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean")) // of fasthttp's default dialer
}
