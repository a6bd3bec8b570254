package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"lamplight/cluster/backup"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
	"lamplight/cluster/subject"
)

// A backup into a directory is named by its time, and leaves as many of its kind as are to stay.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	dir := t.TempDir()
	for _, name := range []string{"lamplight-20200101T030000Z.backup", "lamplight-20200102T030000Z.backup", "lamplight-20200103T030000Z.backup", "lamplight-notes.backup", "lamplight-20200101T030000Z.backup.part-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := p.lamplight("backup", "create", "--dir", dir, "--keep", "2", "--nats", p.nats)
	p.lamplight("backup", "verify", made)
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	want := []string{"lamplight-20200101T030000Z.backup.part-1", "lamplight-20200103T030000Z.backup", filepath.Base(made), "lamplight-notes.backup"}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if !slices.Equal(left, want) || !scheduled.MatchString(filepath.Base(made)) {
		t.Errorf("left are %v, want %v", left, want)
	}
	fails(t, "give one of them", "backup", filepath.Join(dir, "x"), "--dir", dir, "--nats", p.nats)
	fails(t, "no such file", "backup", "--dir", filepath.Join(dir, "none"), "--nats", p.nats)
	if out, err := exec.Command(binary, "backup", "create", "--dir", dir, "--nats", "nats://127.0.0.1:1").CombinedOutput(); err == nil {
		t.Errorf("a backup of nothing: %s", out)
	}
	if now, _ := filepath.Glob(filepath.Join(dir, "*")); len(now) != len(want) {
		t.Errorf("a backup that failed changed the directory: %v", now)
	}
}

// restore runs `lamplight restore`, again and again until it succeeds: NATS may not be up yet.
func restore(t *testing.T, args ...string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command(binary, append([]string{"restore"}, args...)...).CombinedOutput()
		if err == nil {
			return string(out)
		}
		if time.Now().After(end) {
			t.Fatalf("restore: %v: %s", err, out)
		}
	}
}

// A standalone node grows into a cluster of three: its data are saved while it serves, and loaded into three nodes that wait. The
// cluster has everything that was acknowledged before the backup. Calls that had ended stay ended, and Sequences are above the
// earlier ones.
func TestGrowIntoCluster(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	edge := p.edge("edge1")
	p.subscribe("1001", subscription("c1"))
	before := p.next(edge).Sequence
	for i := range 200 {
		doc := subscription(fmt.Sprintf("many-%d", i))
		doc["User"], doc["Server-ID"] = fmt.Sprintf("%d@%s", 5000+i, realm), "edge2"
		p.subscribe(fmt.Sprint(5000+i), doc)
	}
	p.set("1003", "early")
	call := map[string]any{"From": "1004@" + realm, "To": "1002@" + realm, "Call-ID": "ended", "Direction": "recipient", "State": "terminated"}
	p.send(subject.DialogUpdate(realm, "ended"), "dialog_update", call)
	file := filepath.Join(t.TempDir(), "lamplight.backup")
	p.lamplight("backup", file, "--nats", p.nats)
	if _, talk, code := command("restore", file, "--nats", p.nats); code != 1 || !strings.Contains(talk, "node box serves") || strings.Contains(talk, "again") {
		t.Errorf("exit %d: %s", code, talk)
	}
	if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", i, err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()

	nodes := three(t, "--await-restore")
	t.Logf("%s", restore(t, file, "--nats", nodes[1].nats))
	for _, n := range nodes {
		n.await()
		n.token = p.token // its key's public half is in the backup
	}
	list := nodes[2].get("/presence?summary=true")["subscriptions"].(map[string]any)
	for i := range 200 {
		if list[fmt.Sprint(5000+i)] == nil {
			t.Fatalf("the subscription to %d is lost", 5000+i)
		}
	}
	if m := nodes[0].get("/presence/1003"); m["state"] != "early" {
		t.Errorf("the manual state is lost: %v", m)
	}
	call["State"] = "confirmed"
	nodes[0].send(subject.DialogUpdate(realm, "ended"), "dialog_update", call)
	if m := nodes[1].get("/presence/1004"); m["state"] != "terminated" {
		t.Errorf("late news revived a call: %v", m)
	}
	edge = nodes[0].edge("edge1")
	nodes[1].send(subject.DialogUpdate(realm, "k9"), "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": "early"})
	for n := nodes[0].next(edge); n.State != "early"; n = nodes[0].next(edge) {
		if n.Sequence <= before {
			t.Fatalf("Sequence went from %d back to %d", before, n.Sequence)
		}
	}
	again := filepath.Join(t.TempDir(), "again.backup")
	nodes[0].lamplight("backup", again, "--nats", nodes[2].nats)
	fails(t, "serves with this NATS", "restore", again, "--nats", nodes[0].nats)
}

// After a restore that was interrupted no node serves, and the restore can be run again. A file that is not whole is refused
// before anything is written.
func TestRestoreInterrupted(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	p.subscribe("1001", subscription("c1"))
	dir := t.TempDir()
	file := filepath.Join(dir, "lamplight.backup")
	p.lamplight("backup", file, "--nats", p.nats)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	server := externalNATS(t, t.TempDir(), -1).ClientURL()
	cut := filepath.Join(dir, "cut")
	if err := os.WriteFile(cut, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(dir, "damaged")
	if err := os.WriteFile(damaged, append(append(bytes.Clone(whole[:len(whole)/2]), whole[len(whole)/2]^1), whole[len(whole)/2+1:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	out := p.lamplight("backup", "verify", file)
	for _, want := range []string{file + " is whole: saved 20", "65 claims", "1 subscriptions", "1 accounts"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	fails(t, "cut off", "backup", "verify", cut)
	fails(t, "damaged", "backup", "verify", damaged)
	fails(t, "this is not a backup of Lamplight", "backup", "verify", "../../README.md")
	fails(t, "cut off", "restore", cut, "--nats", server)
	fails(t, "this is not a backup of Lamplight", "restore", "../../README.md", "--nats", server)
	fails(t, "there is no journal", "backup", filepath.Join(dir, "none"), "--nats", server)

	interrupt(t, server, file)
	fails(t, "run lamplight restore again", "serve", "--nats", server, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0")
	fails(t, "run lamplight restore again", "backup", filepath.Join(dir, "half"), "--nats", server)
	if _, err := os.Stat(filepath.Join(dir, "half")); err == nil {
		t.Error("a backup of half a journal was written")
	}
	waits := start(t, t.TempDir(), "--nats", server, "--await-restore")
	interrupt(t, server, file)
	restore(t, file, "--nats", server, "--streams", "3")
	waits.await()
	waits.token = p.token
	if list := waits.get("/presence?summary=true")["subscriptions"].(map[string]any); list["1001"] == nil {
		t.Errorf("the subscription is lost: %v", list)
	}
	fails(t, "node box serves", "restore", file, "--nats", server)
}

// interrupt begins a restore and breaks it off in the middle.
func interrupt(t *testing.T, server, file string) {
	t.Helper()
	conn, err := nats.Connect(server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := journal.BeginRestore(ctx, journal.Config{Conn: conn, Streams: 2})
	if err == nil {
		err = directory.PrepareRestore(ctx, directory.Config{Conn: conn}, journal.MadeByKey, r.ID())
	}
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	n := 0
	_, err = backup.Read(f, func(e backup.Entry) error {
		if n++; n > 40 {
			return enough
		}
		if e.Part == backup.Journal {
			return r.Put(e)
		}
		m, err := directory.RestoreMessage(directory.Config{}, e)
		if err != nil {
			return err
		}
		return r.Publish(m)
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the restore was not interrupted: %v", err)
	}
	if err := conn.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// terminalOf returns a terminal to which a command can write.
func terminalOf(t *testing.T) *os.File {
	t.Helper()
	main, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = main.Close() })
	n, err := unix.IoctlGetInt(int(main.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(main.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal
}

// A backup is not written to a terminal, replaces a file only with --force, and never replaces what is no plain file.
func TestBackupReplacesNothing(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	p.sample()
	c := exec.Command(binary, "backup", "--nats", p.nats)
	var stderr strings.Builder
	c.Stdout, c.Stderr = terminalOf(t), &stderr
	if err := c.Run(); c.ProcessState.ExitCode() != 2 || !strings.Contains(stderr.String(), "not written to a terminal") {
		t.Errorf("to a terminal: %v: %s", err, stderr.String())
	}
	file, pipe := filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "pipe")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, file+" exists already", "backup", file, "--nats", p.nats)
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file that was there: %q %v", b, err)
	}
	p.lamplight("backup", "--force", file, "--nats", p.nats)
	if b, err := os.ReadFile(file); err != nil || string(b) == "precious" {
		t.Errorf("--force replaced nothing: %v", err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, "is not a plain file", "backup", "--force", pipe, "--nats", p.nats)
	if left, _ := filepath.Glob(filepath.Dir(file) + "/*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
