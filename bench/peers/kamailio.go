package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// config is Kamailio's configuration; %[1]s is its address.
const config = `#!KAMAILIO
debug=0
log_stderror=yes
children=2
auto_aliases=no
disable_tcp=yes
listen=udp:%[1]s
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "presence.so"
loadmodule "presence_dialoginfo.so"
modparam("presence", "subs_db_mode", 0)
modparam("presence", "publ_cache", 2)
modparam("presence", "server_address", "sip:%[1]s")
modparam("presence", "max_expires", 7200)
modparam("presence", "subs_htable_size", 17)
request_route {
	if (!t_newtran()) { sl_reply_error(); exit; }
	if (method == "SUBSCRIBE") { handle_subscribe(); t_release(); exit; }
	if (method == "PUBLISH") { handle_publish(); t_release(); exit; }
	t_reply("404", "Not here");
}
`

// kamailio is the server, and the one socket that all phones share.
type kamailio struct {
	cmd      *exec.Cmd
	dir      string
	address  *net.UDPAddr
	phones   *net.UDPConn
	accepted atomic.Int64
	notified atomic.Int64
	slots    chan struct{}
}

func startKamailio() (*kamailio, error) {
	program, err := exec.LookPath("kamailio")
	if err != nil {
		program = "/usr/sbin/kamailio"
	}
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("the program kamailio is not installed; on Debian: apt-get install kamailio kamailio-presence-modules")
	}
	dir, err := os.MkdirTemp("", "lamplight-peers-")
	if err != nil {
		return nil, err
	}
	k := &kamailio{dir: dir, slots: make(chan struct{}, 64)}
	if k.phones, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err == nil {
		_ = k.phones.SetReadBuffer(8 << 20)
		var free *net.UDPConn
		if free, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err == nil {
			k.address = free.LocalAddr().(*net.UDPAddr)
			err = free.Close()
		}
	}
	file := filepath.Join(dir, "kamailio.cfg")
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(nil, config, k.address), 0o600)
	}
	if err == nil {
		k.cmd = exec.Command(program, "-DD", "-E", "-f", file, "-m", "1024", "-M", "32", "-Y", dir)
		k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		err = k.cmd.Start()
	}
	if err != nil {
		k.close()
		return nil, err
	}
	go k.receive()
	return k, nil
}

func (k *kamailio) close() {
	if k.cmd != nil && k.cmd.Process != nil {
		_ = syscall.Kill(-k.cmd.Process.Pid, syscall.SIGTERM) // its own group: the server and its children
		_ = k.cmd.Wait()
	}
	if k.phones != nil {
		_ = k.phones.Close()
	}
	_ = os.RemoveAll(k.dir)
}

// receive counts answers and NOTIFYs, and answers the NOTIFYs.
func (k *kamailio) receive() {
	b := make([]byte, 64<<10)
	for {
		n, from, err := k.phones.ReadFromUDP(b)
		if err != nil {
			return
		}
		m := b[:n]
		switch {
		case bytes.HasPrefix(m, []byte("SIP/2.0 2")):
			k.accepted.Add(1)
			<-k.slots
		case bytes.HasPrefix(m, []byte("NOTIFY ")):
			k.notified.Add(1)
			_, _ = k.phones.WriteToUDP(okResponse(m), from)
		}
	}
}

// okResponse is the 200 OK to a request.
func okResponse(request []byte) []byte {
	a := []byte("SIP/2.0 200 OK\r\n")
	for line := range bytes.Lines(request) {
		for _, h := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:"} {
			if bytes.HasPrefix(line, []byte(h)) {
				a = append(a, line...)
			}
		}
	}
	return append(a, "Content-Length: 0\r\n\r\n"...)
}

// send sends a request of a phone. It waits while 64 requests have no answer.
func (k *kamailio) send(method, user, id string, headers, body string) error {
	k.slots <- struct{}{}
	at := k.phones.LocalAddr()
	m := fmt.Sprintf("%s sip:%s@peers.invalid SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bK%s\r\nFrom: <sip:w%s@peers.invalid>;tag=f%s\r\nTo: <sip:%s@peers.invalid>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\nContact: <sip:w%s@%v>\r\nEvent: dialog\r\nExpires: 3600\r\n%sContent-Length: %d\r\n\r\n%s",
		method, user, at, id, id, id, user, id, method, id, at, headers, len(body), body)
	_, err := k.phones.WriteToUDP([]byte(m), k.address)
	return err
}

// waitForCount waits until a counter reaches n. Nobody sends a lost datagram again, so it fails when the counter stands still for
// 3 s.
func waitForCount(count *atomic.Int64, n int64) error {
	for last, since := int64(-1), time.Now(); ; time.Sleep(2 * time.Millisecond) {
		now := count.Load()
		if now >= n {
			return nil
		}
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > 3*time.Second {
			return fmt.Errorf("%d of %d arrived, and then none for 3 s", now, n)
		}
	}
}

// measure measures Kamailio and prints its row: how fast it accepts subscriptions, and how fast it sends NOTIFYs when one
// extension changes. The arguments are the number of subscriptions, of that extension's watchers, and of its changes.
func (k *kamailio) measure(subscriptions, watchers, changes int) error {
	subscribe := func(user, id string) error {
		return k.send("SUBSCRIBE", user, id, "Accept: application/dialog-info+xml\r\n", "")
	}
	for ready := time.Now(); k.accepted.Load() == 0; time.Sleep(100 * time.Millisecond) { // until it listens
		if time.Since(ready) > 10*time.Second {
			return errors.New("it did not answer a SUBSCRIBE within 10 s")
		}
		if err := subscribe("first", fmt.Sprintf("first-%d", time.Since(ready))); err != nil {
			return err
		}
	}
	for len(k.slots) > 0 { // requests that it did not get before it listened
		select {
		case <-k.slots:
		default:
		}
	}
	begun, cpu, base := time.Now(), k.cpu(), k.accepted.Load()
	for i := range subscriptions {
		if err := subscribe(fmt.Sprint("x", i/20), fmt.Sprintf("s%d", i)); err != nil {
			return err
		}
	}
	if err := waitForCount(&k.accepted, base+int64(subscriptions)); err != nil {
		return fmt.Errorf("accepted: %w", err)
	}
	took, used := time.Since(begun), k.cpu()-cpu
	for i := range watchers {
		if err := subscribe("watched", fmt.Sprintf("w%d", i)); err != nil {
			return err
		}
	}
	if err := waitForCount(&k.accepted, base+int64(subscriptions+watchers)); err != nil {
		return err
	}
	time.Sleep(time.Second) // Kamailio sends the first NOTIFYs after its answers, and nothing says when it has sent all
	begun, cpu, base = time.Now(), k.cpu(), k.notified.Load()
	for i := range changes {
		state := []string{"early", "confirmed", "terminated"}[i%3]
		body := fmt.Sprintf(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" state="full" entity="sip:watched@peers.invalid"><dialog id="c" call-id="c" direction="recipient"><state>%s</state></dialog></dialog-info>`, i, state)
		if err := k.send("PUBLISH", "watched", fmt.Sprintf("p%d", i), "Content-Type: application/dialog-info+xml\r\n", body); err != nil {
			return err
		}
		// Some of so many datagrams at once may be lost. Kamailio repeats them half a second later, which is not waited for.
		if err := waitForCount(&k.notified, k.expectedNotifies(base, i+1, watchers)); err != nil {
			return fmt.Errorf("NOTIFYs after %d changes: %w", i+1, err)
		}
	}
	told := float64(k.notified.Load() - base)
	elapsed := time.Since(begun)
	printRow("Kamailio, memory mode, 2 children", float64(subscriptions)/took.Seconds(), told/elapsed.Seconds(),
		used/time.Duration(subscriptions), time.Duration(float64(k.cpu()-cpu)/told))
	return nil
}

// expectedNotifies is how many NOTIFYs must have arrived after so many changes: all but one in fifty.
func (k *kamailio) expectedNotifies(base int64, changes, watchers int) int64 {
	return base + int64(changes*watchers*49/50)
}

// cpu is the CPU time that the server and its children have used.
func (k *kamailio) cpu() time.Duration {
	total := int64(0)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		var state string
		var parent, group, skip, user, system int64
		_, _ = fmt.Sscan(rest, &state, &parent, &group, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &system)
		if group == int64(k.cmd.Process.Pid) {
			total += user + system
		}
	}
	return time.Duration(total) * time.Second / 100 // a clock tick is 1/100 s
}
