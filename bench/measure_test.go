package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lamplight/actors"
	"lamplight/cluster/natsd"
)

// serverData is the environment variable that makes the test binary a child process with only a NATS server; its value is the
// data directory.
const serverData = "LAMPLIGHT_BENCH_SERVER"

// heap is what is allocated on this process's heap after two collections, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// cpu is the CPU time that the process has used so far. On a busy machine it says more than wall time.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serveNATS is the child process. It prints the URL of its NATS server, and then its heap for every line that it reads.
func serveNATS(data string) int {
	s := natsd.New(natsd.Config{Listen: "127.0.0.1:0", Data: data, Sync: time.Second, Name: "bench", Log: slog.New(slog.DiscardHandler)})
	if err := s.Start(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	defer func() { _ = s.Stop(context.Background()) }()
	fmt.Println(s.URL())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(heap())
	}
	return 0
}

// child is a NATS server in a process of its own, so that its heap does not count as ours.
type child struct {
	in  io.Writer
	out *bufio.Reader
	url string
}

func startChild(t testing.TB) *child {
	t.Helper()
	p := exec.Command(os.Args[0])
	p.Env = append(os.Environ(), serverData+"="+t.TempDir())
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = p.Wait() })
	c := &child{in: in, out: bufio.NewReader(out)}
	if c.url = c.line(t); !strings.HasPrefix(c.url, "nats://") {
		t.Fatal(c.url)
	}
	return c
}

func (c *child) line(t testing.TB) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func (c *child) heap(t testing.TB) int64 {
	t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(c.line(t), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// subscribe adds one more subscription to each of count extensions.
func (n *node) subscribe(t testing.TB, count int, call string) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2000)
	for i := range count {
		slots <- struct{}{}
		wg.Add(1)
		n.Router().Go(actors.Request{To: addressOf(i), Message: subscribeEvent(i, call)}, func(a actors.Answer) {
			if a.Err != nil {
				t.Errorf("subscribe: %v", a.Err)
			}
			<-slots
			wg.Done()
		})
	}
	wg.Wait()
}

func onlyToMeasure(t *testing.T) {
	if os.Getenv("LAMPLIGHT_MEASURE") == "" {
		t.Skip("this measures and tests nothing: `make measure` runs it") //nolint:forbidigo // it is not skipped because the machine lacks something
	}
}

// TestMemory measures the heap that an extension with one subscription takes, and each further subscription, and then an
// extension with two subscriptions that was loaded from the journal. The NATS server runs in another process.
func TestMemory(t *testing.T) {
	onlyToMeasure(t)
	count := int64(extensions())
	server := startChild(t)
	t.Run("made", func(t *testing.T) {
		n := startOn(t, server.url)
		ours, theirs := heap(), server.heap(t)
		for call, what := range []string{"an extension with one subscription", "a further subscription"} {
			n.subscribe(t, int(count), strconv.Itoa(call))
			nowOurs, nowTheirs := heap(), server.heap(t)
			t.Logf("%s: %d B of our heap, %d B of the NATS server's, at %d extensions", what, (nowOurs-ours)/count, (nowTheirs-theirs)/count, count)
			ours, theirs = nowOurs, nowTheirs
		}
		runtime.KeepAlive(n)
	})
	t.Run("loaded", func(t *testing.T) {
		before := heap()
		n := startOn(t, server.url)
		t.Logf("after a restart, an extension with two subscriptions: %d B of our heap", (heap()-before)/count)
		runtime.KeepAlive(n)
	})
}

// TestStart measures the time until a node with an embedded server is ready again. A new owner notifies again what changed in
// the 10 s before the takeover; the records are older than that. LAMPLIGHT_MEASURE=long also measures a million records.
func TestStart(t *testing.T) {
	onlyToMeasure(t)
	counts := []int{extensions()}
	if os.Getenv("LAMPLIGHT_MEASURE") == "long" {
		counts = append(counts, 1_000_000)
	}
	for _, count := range counts {
		data := t.TempDir()
		t.Run("fill", func(t *testing.T) {
			start(t, data).subscribe(t, count, "c")
			time.Sleep(11 * time.Second)
		})
		t.Run("start", func(t *testing.T) {
			before := cpu()
			n := start(t, data)
			t.Logf("ready after %v with %d records; that took %v of CPU, the embedded server's with it", n.started.Round(time.Millisecond), count, (cpu() - before).Round(time.Millisecond))
		})
	}
}
