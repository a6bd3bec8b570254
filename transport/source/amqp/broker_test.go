package amqp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"lamplight/tools/need"
)

// rabbit is Debian's script that runs RabbitMQ in the foreground, as whoever starts it.
const rabbit = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// broker is a RabbitMQ of the tests, with ports and a folder of its own.
type broker struct {
	dir  string
	port int
	env  []string
	epmd *exec.Cmd
	cmd  *exec.Cmd
}

// the broker that the tests of the package share.
var shared struct {
	once sync.Once
	b    *broker
	err  error
}

// theBroker returns the broker of the package's tests, which is started by the first of them and stopped by TestMain.
func theBroker(t testing.TB) *broker {
	t.Helper()
	_, err := os.Stat(rabbit)
	need.Met(t, err == nil, "%s (Debian: rabbitmq-server)", rabbit)
	shared.once.Do(func() { shared.b, shared.err = newBroker() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.b
}

// freePort returns a port of the loopback address that nobody uses.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func newBroker() (*broker, error) {
	dir, err := os.MkdirTemp("", "lamplight-rabbitmq")
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir}
	var ports [3]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return b, err
		}
	}
	b.port = ports[0]
	plugins := filepath.Join(dir, "plugins")
	if err := os.WriteFile(plugins, []byte("[]."), 0o600); err != nil {
		return b, err
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return b, err
	}
	b.epmd = exec.Command(epmd, "-port", fmt.Sprint(ports[1]), "-address", "127.0.0.1")
	if err := b.epmd.Start(); err != nil {
		return b, err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // without it, RabbitMQ starts one that stays
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1]))
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			return b, err
		}
	}
	b.env = append(os.Environ(), "HOME="+dir, "RABBITMQ_NODENAME=lamplight@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", fmt.Sprintf("RABBITMQ_NODE_PORT=%d", ports[0]),
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[2]), "RABBITMQ_MNESIA_BASE="+dir+"/mnesia", "RABBITMQ_LOG_BASE="+dir+"/log", "ERL_EPMD_ADDRESS=127.0.0.1",
		fmt.Sprintf("ERL_EPMD_PORT=%d", ports[1]), "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins, "RABBITMQ_CONFIG_FILE="+dir+"/none", "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_PID_FILE="+dir+"/pid", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none")
	return b, b.start()
}

// start starts RabbitMQ and waits until it takes connections.
func (b *broker) start() error {
	var out bytes.Buffer
	b.cmd = exec.Command(rabbit)
	b.cmd.Env, b.cmd.Stdout, b.cmd.Stderr = b.env, &out, &out
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var c *amqp091.Connection
		if c, err = amqp091.Dial(b.url()); err == nil {
			return c.Close()
		}
	}
	b.stop()
	return fmt.Errorf("RabbitMQ does not start: %w: %s", err, out.String())
}

// stop ends RabbitMQ with SIGTERM, and with SIGKILL when it does not end.
func (b *broker) stop() {
	ended := make(chan struct{})
	go func() { _ = b.cmd.Wait(); close(ended) }()
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
	}
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	<-ended
}

// kill ends RabbitMQ with SIGKILL.
func (b *broker) kill() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
}

// end stops RabbitMQ for good.
func (b *broker) end() {
	if b == nil {
		return
	}
	if b.cmd != nil {
		b.stop()
	}
	if b.epmd != nil {
		_ = b.epmd.Process.Kill()
		_ = b.epmd.Wait()
	}
	_ = os.RemoveAll(b.dir)
}

func (b *broker) url() string { return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", b.port) }

// ctl runs rabbitmqctl.
func (b *broker) ctl(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmqctl", args...)
	cmd.Env = b.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("rabbitmqctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestMain stops the broker when the tests have ended. The test's own binary runs as a bridge when LAMPLIGHT_TEST_BRIDGE says for which broker.
func TestMain(m *testing.M) {
	if url := os.Getenv("LAMPLIGHT_TEST_BRIDGE"); url != "" {
		if err := bridgeProcess(context.Background(), url, os.Getenv("LAMPLIGHT_TEST_NATS"), os.Getenv("LAMPLIGHT_TEST_QUEUE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if shared.b != nil {
		shared.b.end()
	}
	os.Exit(code)
}
