package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"lamplight/bench/local"
)

const realm = "peers.invalid"

// startLamplight starts one node with a SIP edge in it, which authenticates nobody and takes PUBLISHes from loopback.
func startLamplight(binary, storage, dir string) (*server, error) {
	prefix, ports, err := local.Prefix(rand.New(rand.NewPCG(rand.Uint64(), 0)), 1)
	if err != nil {
		return nil, err
	}
	host := prefix + "1"
	address := local.At(host, ports.SIP)
	p, err := local.Launch("lamplight", filepath.Join(dir, "lamplight.log"), binary, "serve", "--data", filepath.Join(dir, "data"), "--drain-grace", "0", "--storage", storage,
		"--http", local.At(host, ports.HTTP), "--nats-listen", local.At(host, ports.NATS), "--gossip", local.At(host, ports.Gossip), "--notify-rate", "0",
		"--sip-udp", address, "--sip-auth", "none", "--trust", "127.0.0.0/8", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	s := &server{name: "Lamplight, --storage " + storage, address: address, group: p.PID(), alone: true, stop: func() { p.Signal(syscall.SIGTERM); _ = p.Drain(20 * time.Second) }}
	if err := p.Await(30 * time.Second); err != nil {
		s.stop()
		return nil, err
	}
	file := filepath.Join(dir, "accounts.json")
	if err := os.WriteFile(file, []byte(`{"accounts":[{"name":"peers","realm":"`+realm+`"}]}`), 0o600); err != nil {
		s.stop()
		return nil, err
	}
	if out, err := exec.Command(binary, "import", "--nats", "nats://"+local.At(host, ports.NATS), file).CombinedOutput(); err != nil {
		s.stop()
		return nil, fmt.Errorf("lamplight import: %w: %s", err, out)
	}
	return s, nil
}
