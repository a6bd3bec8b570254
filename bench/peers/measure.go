package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/bench/phones"
	"lamplight/transport/sip"
)

// server is a presence server that runs.
type server struct {
	name    string
	address string // HOST:PORT on UDP
	group   int    // its process group, or with alone its process
	alone   bool
	stop    func()
}

// figures are what was measured of a server.
type figures struct {
	name                  string
	subscribe, notify     time.Duration // CPU of each
	subscribes            float64       // a second
	notifies              float64       // a second
	last                  time.Duration // to the last of 1000 watchers, p50
	resting, full, settle int64         // Pss in bytes: before, after the subscriptions, and 40 s later
}

// work is what each server gets to do.
type work struct {
	subscriptions, inFlight      int
	watchers, changes            int
	manyWatchers, manyChanges    int
	settle                       time.Duration
	manyFirst, watchedFirst, all int // the first phones of the extensions that change, and the number of phones
}

const patience = 60 * time.Second

// measure gives a server the work.
func (s *server) measure(w work) (f figures, err error) {
	f.name = s.name
	w.watchedFirst, w.manyFirst = w.subscriptions, w.subscriptions+w.watchers
	w.all = w.manyFirst + w.manyWatchers
	target := func(i int) string {
		switch {
		case i >= w.all: // asks whether the server answers
			return "first@" + realm
		case i >= w.manyFirst:
			return "many@" + realm
		case i >= w.watchedFirst:
			return "watched@" + realm
		}
		return "x" + strconv.Itoa(i/20) + "@" + realm
	}
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	c := phones.Config{Servers: []string{s.address}, Transport: sip.UDP, Flows: 8, Local: "127.0.0.1", Count: w.all + 1,
		Phone: func(i int32) phones.Phone {
			return phones.Phone{CallID: strconv.Itoa(int(i)) + "-" + run, Watcher: "w" + strconv.Itoa(int(i)) + "@" + realm, Target: target(int(i))}
		},
		Find: func(callID string) int32 {
			number, of, _ := strings.Cut(callID, "-")
			if i, err := strconv.Atoi(number); err == nil && of == run && i <= w.all {
				return int32(i)
			}
			return -1
		}}
	fleet, err := phones.Dial(context.Background(), c)
	if err != nil {
		return f, err
	}
	defer fleet.Close()
	if err := subscribe(fleet, w.all, w.all+1, 1); err != nil { // it is repeated until the server listens
		return f, err
	}
	time.Sleep(2 * time.Second) // what a server does when it starts is not to be in the figures
	f.resting = s.pss()
	begun, cpu := time.Now(), s.cpu()
	if err := subscribe(fleet, 0, w.subscriptions, w.inFlight); err != nil {
		return f, err
	}
	if err := told(fleet, int64(w.subscriptions)+1); err != nil {
		return f, err
	}
	took := time.Since(begun)
	f.subscribe, f.subscribes = (s.cpu()-cpu)/time.Duration(w.subscriptions), float64(w.subscriptions)/took.Seconds()
	f.full = s.pss()
	time.Sleep(w.settle)
	f.settle = s.pss()
	if err := subscribe(fleet, w.watchedFirst, w.all, w.inFlight); err != nil {
		return f, err
	}
	if err := told(fleet, int64(w.all)+1); err != nil {
		return f, err
	}
	begun, cpu = time.Now(), s.cpu()
	if _, err = change(fleet, "watched@"+realm, w.watchers, w.changes); err != nil {
		return f, err
	}
	n := w.watchers * w.changes
	f.notify, f.notifies = (s.cpu()-cpu)/time.Duration(n), float64(n)/time.Since(begun).Seconds()
	each, err := change(fleet, "many@"+realm, w.manyWatchers, w.manyChanges)
	if err != nil {
		return f, err
	}
	slices.Sort(each)
	f.last = each[len(each)/2]
	return f, nil
}

// subscribe has the phones from one number to another subscribe, so many at a time.
func subscribe(fleet *phones.Fleet, from, to, inFlight int) error {
	var failed atomic.Pointer[error]
	slots := make(chan struct{}, inFlight)
	var all sync.WaitGroup
	for i := from; i < to; i++ {
		slots <- struct{}{}
		all.Add(1)
		fleet.Subscribe(int32(i), 3600, time.Now().Add(patience), func(a phones.Answer) {
			if a.Err != nil {
				failed.Store(&a.Err)
			}
			<-slots
			all.Done()
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", *err)
	}
	return nil
}

// told waits until so many NOTIFYs have come in all.
func told(fleet *phones.Fleet, n int64) error {
	for since := time.Now(); fleet.NOTIFYs() < n; time.Sleep(200 * time.Microsecond) {
		if time.Since(since) > patience {
			return fmt.Errorf("%d of %d NOTIFYs came", fleet.NOTIFYs(), n)
		}
	}
	return nil
}

// change publishes changes of an extension, and waits after each until all its watchers were told. Three changes are a call: early,
// confirmed, and the removal of its publication, so that nothing of it remains. It returns how long each took, from the PUBLISH to the last
// NOTIFY.
func change(fleet *phones.Fleet, target string, watchers, changes int) (each []time.Duration, err error) {
	var p *phones.Publication
	for i := range changes {
		document, expires := "", 0
		switch i % 3 {
		case 0:
			p, expires = phones.NewPublication(target), 3600
			document = phones.Document(target, "c"+strconv.Itoa(i), "early")
		case 1:
			document, expires = phones.Document(target, "c"+strconv.Itoa(i-1), "confirmed"), 3600
		}
		base, begun := fleet.NOTIFYs(), time.Now()
		answered := make(chan phones.Answer, 1)
		fleet.Publish(p, document, expires, begun.Add(patience), func(a phones.Answer) { answered <- a })
		if err := told(fleet, base+int64(watchers)); err != nil {
			return nil, errors.Join(err, (<-answered).Err)
		}
		each = append(each, time.Since(begun))
		if a := <-answered; a.Err != nil {
			return nil, fmt.Errorf("PUBLISH: %w", a.Err)
		}
	}
	return each, nil
}

// processes calls do with the directory in /proc of each process of the server.
func (s *server) processes(do func(dir string)) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		var state string
		var parent, group int
		_, _ = fmt.Sscan(rest, &state, &parent, &group)
		if dir := filepath.Dir(file); !s.alone && group == s.group || s.alone && filepath.Base(dir) == strconv.Itoa(s.group) {
			do(dir)
		}
	}
}

// cpu is the CPU time that the server's threads have used, in ns as the kernel's scheduler counts it.
func (s *server) cpu() (total time.Duration) {
	s.processes(func(dir string) {
		threads, _ := filepath.Glob(dir + "/task/*/schedstat")
		for _, file := range threads {
			var ns int64
			if b, err := os.ReadFile(file); err == nil {
				_, _ = fmt.Sscan(string(b), &ns)
			}
			total += time.Duration(ns)
		}
	})
	return total
}

// pss is the memory of the server without the files of its programs: what is shared counts once.
func (s *server) pss() (total int64) {
	s.processes(func(dir string) {
		b, _ := os.ReadFile(dir + "/smaps_rollup")
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); name == "Pss_Anon" || name == "Pss_Shmem" {
				var kb int64
				_, _ = fmt.Sscan(value, &kb)
				total += kb << 10
			}
		}
	})
	return total
}
