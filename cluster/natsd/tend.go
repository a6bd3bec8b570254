package natsd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// A NATS server whose storage met an error, such as a full disk or too many open files, takes no more writes until it is
// started again, also when the cause is gone. tend notices that, waits until a file can be written again, and starts the
// server again in this process.
const (
	tendEvery   = 250 * time.Millisecond // the time between two looks
	probeSize   = 1 << 20                // bytes that must find room on the disk before the server is started again
	restartWait = 5 * time.Second        // the time between two starts
	giveUpAfter = 10                     // starts that fail, one after the other, although the directory can be written
	heldFor     = time.Minute            // how long a server must have run for its start not to count as one that failed
	stopTime    = 10 * time.Second       // how long a server whose storage failed may take to stop
)

// errGone says that the data directory was deleted, or replaced by another one.
var errGone = errors.New("the data directory was deleted or replaced while the node ran; what the NATS server still " +
	"writes would be lost")

// tend looks after the server until the context ends or the server can't go on.
func (s *Server) tend(ctx context.Context) {
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	var restarted time.Time
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !s.holdsDirectory() {
			s.failed(fmt.Errorf("%s: %w", s.cfg.Data, errGone))
			return
		}
		suspect := s.suspect.Load()
		if suspect == nil && s.nats.Load().JetStreamEnabled() {
			continue
		}
		err := probe(s.cfg.Data)
		if err != nil {
			s.note(err)
			continue
		}
		why := errors.New("the embedded NATS server stopped writing after an error, and is started again")
		if suspect != nil {
			why = fmt.Errorf("%w: %s", why, *suspect)
		}
		if s.Trouble() == nil {
			s.note(why)
		}
		if time.Since(restarted) < restartWait {
			continue
		}
		if time.Since(restarted) > heldFor {
			failures = 0
		}
		restarted = time.Now()
		err = s.restart()
		failures++
		switch final := failures > giveUpAfter || errors.Is(err, errStuck) || errors.Is(err, errDamaged); {
		case err == nil && !final:
		case err == nil: // it meets the same error each time
			s.failed(fmt.Errorf("%w, for the %dth time in a row", why, failures))
			return
		case !final: // for example file descriptors that ran out again
			s.note(fmt.Errorf("the embedded NATS server could not be started again: %w", err))
		default:
			s.failed(fmt.Errorf("the embedded NATS server's storage failed, and the server could not be started again: %w", err))
			return
		}
	}
}

// failed reports an error after which the server can't go on.
func (s *Server) failed(err error) {
	s.trouble.Store(&err)
	if s.cfg.Failed != nil {
		go s.cfg.Failed(err)
	}
}

// Trouble returns why the server takes no writes, and nil while it takes them.
func (s *Server) Trouble() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Usage returns the bytes that the server keeps in the data directory, and how many it may keep there.
func (s *Server) Usage() (used, most int64) {
	nats := s.nats.Load()
	if nats == nil {
		return 0, 0
	}
	info, err := nats.Jsz(nil)
	if err != nil {
		return 0, 0
	}
	return int64(info.Store), info.Config.MaxStore
}

// note keeps why the server takes no writes, and logs it when that changes.
func (s *Server) note(err error) {
	if was := s.Trouble(); was != nil && was.Error() == err.Error() {
		return
	}
	s.trouble.Store(&err)
	s.cfg.Log.Error("the embedded NATS server takes no writes, so changes are answered 503; it is started again as soon "+
		"as the data directory can be written", "data", s.cfg.Data, "err", err)
}

// errStuck says that a server whose storage failed does not stop, so that no other can start in its place.
var errStuck = fmt.Errorf("it did not stop within %v", stopTime)

// restart stops the server, whose storage failed, and starts it again on the same files and addresses.
func (s *Server) restart() error {
	s.cfg.Log.Warn("the data directory can be written again; the embedded NATS server is started again", "data", s.cfg.Data)
	old := s.nats.Load()
	stopped := make(chan struct{})
	go func() { old.Shutdown(); old.WaitForShutdown(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(stopTime):
		return errStuck
	}
	s.suspect.Store(nil)
	var nats *server.Server
	err := s.verify()
	if err == nil {
		nats, err = s.run()
	}
	if err != nil {
		return err
	}
	s.nats.Store(nats)
	s.trouble.Store(nil)
	s.cfg.Log.Warn("the embedded NATS server takes writes again", "data", s.cfg.Data)
	return nil
}

// holdsDirectory says whether the data directory still holds the lock file that this process has locked.
func (s *Server) holdsDirectory() bool {
	ours, err := s.lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(s.cfg.Data, "lock"))
	switch {
	case err == nil:
		return os.SameFile(ours, there)
	case errors.Is(err, os.ErrNotExist):
		return false
	}
	return true // for example too many open files: not known
}

// probe writes a file of probeSize to a directory, and removes it. The error says what the directory lacks and what the
// operator should do.
func probe(dir string) error {
	err := writeProbe(filepath.Join(dir, "probe"))
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("the disk of the data directory is full: free space there (%w)", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("the process has no file descriptors left: raise its limit (ulimit -n, LimitNOFILE) or close connections (%w)", err)
	case err != nil:
		return fmt.Errorf("the data directory can't be written: %w", err)
	}
	return nil
}

// writeProbe writes the file and syncs it, and removes it whatever happens.
func writeProbe(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	err = errors.Join(err, f.Sync(), f.Close())
	return errors.Join(err, os.Remove(name))
}
