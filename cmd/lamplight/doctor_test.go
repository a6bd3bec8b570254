package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"lamplight/cluster/gossip"
	"lamplight/cluster/status"
	"lamplight/tools/need"
)

// Each finding names what was found, and what to do unless it is good.
func TestFindings(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	node := func(at time.Time) finding {
		return clocksApart(now, now.Add(time.Second), []status.Status{{Node: "b", Time: at}})[0]
	}
	stream := func(change func(*jetstream.StreamInfo)) finding {
		s := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "J", Replicas: 3}, Cluster: &jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Current: true}, {Name: "c", Current: true}}}}
		change(s)
		return streamFinding(s, true)
	}
	certificate := func(key any, from, to time.Duration) finding {
		return certificateFinding("--http-tls-cert x", &x509.Certificate{PublicKey: key, NotBefore: now.Add(from), NotAfter: now.Add(to)}, now)
	}
	weak := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	strong := &ecdsa.PublicKey{Curve: elliptic.P256()}
	short := &ecdsa.PublicKey{Curve: elliptic.P224()}
	const day = 24 * time.Hour
	configured := func(text string, mode os.FileMode) finding {
		path := filepath.Join(t.TempDir(), "lamplight.yaml")
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return append(configFindings(path), finding{})[0]
	}
	for _, c := range []struct {
		got  finding
		want verdict
		says string
	}{
		{clockFinding(0, 0, 1200, nil), fine, "1.2ms"},
		{clockFinding(unix.TIME_ERROR, 0, 0, nil), warning, "no time service"},
		{clockFinding(0, unix.STA_UNSYNC, 0, nil), warning, "no time service"},
		{clockFinding(0, 0, 0, unix.EPERM), warning, "not permitted"},
		{node(now.Add(-400 * time.Millisecond)), fine, "node b"},
		{node(now.Add(time.Second)), fine, "node b"},
		{node(now.Add(-2 * time.Second)), warning, "by 2s at least"},
		{node(now.Add(4 * time.Second)), warning, "by 3s at least"},
		{node(now.Add(-time.Minute)), wrong, "by 1m0s at least"},
		{memoryFinding(8<<30, 0, 256<<20), fine, "the machine has 8192 MiB"},
		{memoryFinding(8<<30, 1<<30, 256<<20), fine, "the cgroup may have 1024 MiB"},
		{memoryFinding(8<<30, 300<<20, 256<<20), warning, "needs 512 MiB"},
		{memoryFinding(0, 0, 256<<20), warning, "not known"},
		{freeFinding("/d", 50<<30, 100<<30), fine, "51200 MiB of 102400 MiB"},
		{freeFinding("/d", 5<<30, 100<<30), warning, "5120 MiB of"},
		{freeFinding("/d", 1<<20, 100<<20), wrong, "1 MiB of"},
		{freeFinding("/d", 0, 0), warning, "does not tell"},
		{kindFinding("/d", "ext4"), fine, "/d is on ext4"},
		{kindFinding("/d", "xfs"), fine, "xfs"},
		{kindFinding("/d", "tmpfs"), warning, "in memory"},
		{kindFinding("/d", "overlay"), warning, "a container loses"},
		{kindFinding("/d", "nfs4"), warning, "over a network"},
		{kindFinding("/d", "fuse.sshfs"), warning, "over a network"},
		{kindFinding("/d", ""), warning, "not known"},
		{syncFinding("/d", 2*time.Millisecond, nil), fine, "after 2ms"},
		{syncFinding("/d", 80*time.Millisecond, nil), warning, "80ms"},
		{syncFinding("/d", 2*time.Second, nil), wrong, "2s"},
		{syncFinding("/d", 0, unix.EROFS), wrong, "read-only"},
		{stream(func(*jetstream.StreamInfo) {}), fine, "3 copies"},
		{stream(func(s *jetstream.StreamInfo) { s.Cluster.Leader = "" }), wrong, "no leader"},
		{stream(func(s *jetstream.StreamInfo) { s.Cluster.Replicas[1].Offline = true }), warning, "no copy answers on c"},
		{stream(func(s *jetstream.StreamInfo) { s.Cluster.Replicas[0].Current = false }), warning, "behind are b"},
		{stream(func(s *jetstream.StreamInfo) { s.Config.Replicas, s.Cluster.Replicas = 1, nil }), warning, "1 copies"},
		{peerFinding("b:1", gossip.Answer{Members: []gossip.Member{{Name: "b"}, {Name: "c"}}}, nil), fine, "sees b, c"},
		{peerFinding("b:1", gossip.Answer{}, errors.New("no such host")), wrong, "no such host"},
		{peerFinding("b:1", gossip.Answer{Stream: fmt.Errorf("%w: connection refused", gossip.ErrNoConnection)}, nil), warning, "nobody listens"},
		{peerFinding("b:1", gossip.Answer{Stream: fmt.Errorf("%w: i/o timeout", gossip.ErrNoConnection)}, nil), wrong, "can't be reached"},
		{peerFinding("b:1", gossip.Answer{Stream: gossip.ErrOtherKey}, nil), wrong, "another --gossip-key"},
		{peerFinding("b:1", gossip.Answer{Stream: gossip.ErrNoGossip}, nil), wrong, "is no node"},
		{peerFinding("b:1", gossip.Answer{Packet: gossip.ErrNoPacket}, nil), wrong, "no UDP packet"},
		{certificate(strong, -day, 90*day), fine, "good until 2027-02-26"},
		{certificate(strong, -day, 20*day), warning, "ends at 2026-12-18"},
		{certificate(strong, -day, -time.Hour), wrong, "ended at"},
		{certificate(strong, time.Hour, 90*day), wrong, "good only from"},
		{certificate(weak, -day, 90*day), wrong, "RSA key of 1024 bits"},
		{certificate(short, -day, 90*day), wrong, "224 bits"},
		{configured("nats: nats://node:secret@n-1:4222\n", 0o644), warning, "every user of this machine can use --config"},
		{configured("backup: {nats: \"nats://n-1,nats://node:secret@n-2\"}\n", 0o604), warning, "has a password"},
		{configured("nats: nats://node:secret@n-1:4222\n", 0o640), fine, "only for its owner and group"},
		{configured("#nats: nats://node:secret@n-1:4222\nnats: nats://n-1:4222\nnode: a@b\n", 0o644), "", ""},
	} {
		if c.want == "" && c.got == (finding{}) {
			continue
		}
		if c.got.Verdict != c.want || !strings.Contains(c.got.Found, c.says) || (c.got.Do == "") != (c.want == fine) {
			t.Errorf("%+v, want %s and %q", c.got, c.want, c.says)
		}
	}
	if found := clocksApart(now, now, []status.Status{{Node: "older"}}); len(found) != 0 {
		t.Errorf("a node that tells no time: %v", found)
	}
	for release, is := range map[string]bool{"2.11.9": true, "1.99.0": true, "2.12.0": false, "3.0.0": false, "odd": false} {
		if old(release) != is {
			t.Errorf("release %s", release)
		}
	}
}

// The lowest limit of a cgroup and those above it counts.
func TestCgroupLimit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for path, text := range map[string]string{"memory.max": "max\n", "a/memory.max": "1000\n", "a/b/memory.max": "5000\n"} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o700)
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a, none := cgroupLimit(root, "/a/b"), cgroupLimit(root, "/"); a != 1000 || none != 0 {
		t.Errorf("%d and %d", a, none)
	}
}

// diagnose runs doctor and returns what it found. The exit code must fit.
func diagnose(t *testing.T, args ...string) (found []finding) {
	t.Helper()
	c := exec.Command(binary, append([]string{"doctor", "-o", "json"}, args...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if e := json.Unmarshal(out, &found); e != nil {
		t.Fatalf("doctor %v: %v, %v: %s%s", args, err, e, out, stderr.String())
	}
	bad := 0
	for _, f := range found {
		if f.Verdict == wrong {
			bad++
		}
	}
	if code := c.ProcessState.ExitCode(); (code == 1) != (bad > 0) || code > 1 {
		t.Errorf("doctor %v: exit %d with %d wrong findings: %s", args, code, bad, stderr.String())
	}
	return found
}

// nothingWrong wants no wrong finding, but one that the machine's disk is slow.
func nothingWrong(t *testing.T, found []finding) {
	t.Helper()
	for _, f := range found {
		if f.Verdict == wrong && !strings.Contains(f.Found, "a write to") {
			t.Errorf("%+v", f)
		}
	}
}

// has wants a finding, with any verdict if v is "".
func has(t *testing.T, found []finding, check string, v verdict, says string) {
	t.Helper()
	for _, f := range found {
		if f.Check == check && (v == "" || f.Verdict == v) && strings.Contains(f.Found, says) {
			return
		}
	}
	t.Errorf("no %s of %s that says %q in %+v", v, check, says, found)
}

// Before a node is started, doctor names what keeps it from starting or working.
func TestDoctorBeforeStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free := []string{"--data", filepath.Join(dir, "new"), "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--gossip", "127.0.0.1:0"}
	with := func(more ...string) []string { return append(append([]string{}, free...), more...) }
	found := diagnose(t, free...)
	nothingWrong(t, found)
	has(t, found, "configuration", fine, "serve takes")
	has(t, found, "node", fine, "no node")
	has(t, found, "ports", fine, "--http 127.0.0.1:0 (tcp) is free")
	has(t, found, "disk", "", "a write to")
	has(t, found, "nats", fine, "starts with the node")
	has(t, found, "gossip", fine, "joins no other")
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("doctor made the data directory")
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	found = diagnose(t, with("--nats-listen", taken.Addr().String())...)
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	has(t, found, "ports", wrong, fmt.Sprintf("--nats-listen %s (tcp) is held by %s, process %d", taken.Addr(), bytes.TrimSpace(name), os.Getpid()))
	found = diagnose(t, with("--http", "192.0.2.1:80")...)
	has(t, found, "configuration", wrong, "--http 192.0.2.1:80")
	found = diagnose(t, with("--gossip", "0.0.0.0:0")...)
	has(t, found, "configuration", wrong, "--gossip-key")
	found = diagnose(t, with("--advertise", "no.such.host.invalid")...)
	has(t, found, "configuration", wrong, "no.such.host.invalid")

	key := filepath.Join(dir, "gossip.key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{1}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	found = diagnose(t, with("--gossip-key", key)...)
	has(t, found, "keys", wrong, "only 1 different bytes")
	has(t, found, "keys", fine, "--gossip-key "+key)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	found = diagnose(t, with("--gossip-key", key)...)
	has(t, found, "keys", wrong, "every user of this machine can use --gossip-key")

	conf := filepath.Join(dir, "lamplight.yaml")
	if err := errors.Join(os.WriteFile(conf, []byte("nats: nats://node:secret@127.0.0.1:1\n"), 0o600), os.Chmod(conf, 0o644)); err != nil {
		t.Fatal(err)
	}
	has(t, diagnose(t, with("--config", conf)...), "keys", warning, "every user of this machine can use --config "+conf)

	cert, private := newAuthority(t, "ours").issue("node")
	found = diagnose(t, with("--http-tls-cert", cert, "--http-tls-key", private)...)
	has(t, found, "keys", warning, "ends at") // it is good for an hour

	found = diagnose(t, with("--nats", "nats://127.0.0.1:1,nats://127.0.0.1:2")...)
	has(t, found, "nats", wrong, "127.0.0.1:1")
	has(t, found, "nats", wrong, "127.0.0.1:2")

	prlimit, err := exec.LookPath("prlimit")
	need.Met(t, err == nil, "prlimit (Debian: util-linux)")
	for n, want := range map[string]verdict{"300": wrong, "1024": warning} {
		c := exec.Command(prlimit, append([]string{"--nofile=" + n, binary, "doctor", "-o", "json"}, free...)...)
		out, _ := c.Output()
		if err := json.Unmarshal(out, &found); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		has(t, found, "limits", want, "may open "+n)
	}
}

// Beside a running node doctor says that the node holds its ports, and how its NATS server and the other nodes are.
func TestDoctorBesideNode(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	_, rest, _ := strings.Cut(p.stdout.String(), "gossip listening on ")
	gossip, _, _ := strings.Cut(rest, "\n")
	listen := []string{"--http", strings.TrimPrefix(p.http, "http://"), "--nats-listen", strings.TrimPrefix(p.nats, "nats://"), "--gossip", gossip, "--data", p.data, "--node", "box"}
	found := diagnose(t, listen...)
	nothingWrong(t, found)
	has(t, found, "node", fine, fmt.Sprintf("process %d", p.cmd.Process.Pid))
	for i, port := range []string{"--http", "--nats-listen", "--gossip"} {
		has(t, found, "ports", fine, fmt.Sprintf("%s %s (tcp) is held by the node itself", port, listen[2*i+1]))
	}
	has(t, found, "limits", fine, "the node may open")
	has(t, found, "nats", fine, "answers, with the release "+server.VERSION)
	has(t, found, "nats", fine, "the stream LAMPLIGHT_JOURNAL_0")
	has(t, found, "clock", fine, "the clock of the node box")

	other := []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--node", "b", "--nats", p.nats, "--join", gossip}
	found = diagnose(t, other...)
	has(t, found, "gossip", fine, "with the same key, and sees box")
	key := filepath.Join(t.TempDir(), "gossip.key")
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	if err := os.WriteFile(key, random, 0o600); err != nil {
		t.Fatal(err)
	}
	found = diagnose(t, append(other, "--gossip-key", key)...)
	has(t, found, "gossip", wrong, "another --gossip-key")

	plain, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	plain.Start()
	t.Cleanup(func() { plain.Shutdown(); plain.WaitForShutdown() })
	if !plain.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS did not start")
	}
	found = diagnose(t, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--nats", plain.ClientURL())
	has(t, found, "nats", wrong, "JetStream is off")
}

// A file of certificates that holds none, or a broken one, is wrong.
func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for text, want := range map[string][]verdict{string(block): {fine}, string(block) + string(block): {fine, fine}, "": {wrong},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})): {wrong}} {
		file := filepath.Join(dir, "c.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found := certificateFindings("--sip-tls-ca", file, time.Now())
		if len(found) != len(want) {
			t.Fatalf("%q: %+v", text, found)
		}
		for i, f := range found {
			if f.Verdict != want[i] {
				t.Errorf("%q: %+v", text, f)
			}
		}
	}
	if found := certificateFindings("--sip-tls-ca", filepath.Join(dir, "none"), time.Now()); len(found) != 1 || found[0].Verdict != wrong {
		t.Errorf("no file: %+v", found)
	}
}
