package bench_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// No goroutine is left behind by what was closed, fasthttp's own apart: its clock is for ever,
// and a sweeper takes up to 10 s to see that its server is gone, or its client idle.
func TestMain(m *testing.M) {
	if data := os.Getenv(serverData); data != "" {
		os.Exit(serve(data))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*Client).mCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean")) // of its default dialer
}
