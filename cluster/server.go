// Package cluster makes one node out of its parts: the embedded NATS server, membership, placement and the router.
package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// ServerConfig is what an embedded NATS server needs.
type ServerConfig struct {
	Listen string        // HOST:PORT; loopback only, unless ConfigFile brings authentication
	Data   string        // the data directory
	Config string        // a NATS configuration file, read first; "": none
	Sync   time.Duration // how much a power cut may take; 0: nothing, every write is synced
	Name   string
	Log    *slog.Logger
}

// Server is an embedded NATS server with JetStream. It holds a lock on its data directory.
type Server struct {
	nats *server.Server
	lock *os.File
}

// StartServer starts a NATS server on a data directory that no other process uses.
func StartServer(c ServerConfig) (*Server, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w; give another one with --data", err)
	}
	lock, err := lockDirectory(c.Data)
	if err != nil {
		return nil, err
	}
	s, err := startServer(c)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Server{nats: s, lock: lock}, nil
}

func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s can't be written: %w; give another one with --data", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another lamplight process: stop that one, or give this one its own --data", dir)
	}
	const mode = "standalone\n"
	name := filepath.Join(dir, "mode")
	switch was, err := os.ReadFile(name); {
	case os.IsNotExist(err):
		err = os.WriteFile(name, []byte(mode), 0o600)
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("data directory %s can't be written: %w", dir, err)
		}
	case err != nil || string(was) != mode:
		_ = f.Close()
		return nil, fmt.Errorf("data directory %s belongs to a clustered server (%s): starting it standalone would delete its streams; use another --data", dir, name)
	}
	return f, nil
}

func startServer(c ServerConfig) (*server.Server, error) {
	opts := &server.Options{}
	if c.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(c.Config); err != nil {
			return nil, fmt.Errorf("--nats-config: %w", err)
		}
	}
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("--nats-listen: %w", err)
	}
	if !loopback(host) && opts.Users == nil && opts.Nkeys == nil && opts.Username == "" && opts.Authorization == "" && len(opts.TrustedOperators) == 0 {
		return nil, fmt.Errorf("--nats-listen %s is not loopback, and no authentication is configured: give users in --nats-config, or listen on 127.0.0.1", c.Listen)
	}
	opts.Host, opts.Port = host, port
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.ServerName = c.Name
	opts.NoSigs, opts.JetStream = true, true
	opts.StoreDir = filepath.Join(c.Data, "nats")
	opts.SyncInterval, opts.SyncAlways = c.Sync, c.Sync == 0
	if opts.JetStreamMaxStore <= 0 {
		opts.JetStreamMaxStore = diskLimit(c.Data)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s.SetLoggerV2(natsLog{c.Log.With("part", "nats")}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("embedded NATS server did not start on %s: is the port taken? give another one with --nats-listen", c.Listen)
	}
	return s, nil
}

// diskLimit leaves a tenth of what is free, so that the journal refuses writes before the disk is full: NATS
// survives its own limit, but turns JetStream off when a write hits the end of the disk.
func diskLimit(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 1 << 40
	}
	var used int64
	_ = filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil && i.Mode().IsRegular() {
			used += i.Size()
		}
		return nil
	})
	return max(used+int64(st.Bavail)*st.Bsize*9/10, 1<<20)
}

func splitAddress(a string) (string, int, error) {
	host, p, err := net.SplitHostPort(a)
	if err != nil {
		return "", 0, err
	}
	port, err := net.LookupPort("tcp", p)
	return host, port, err
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL is where clients connect.
func (s *Server) URL() string { return s.nats.ClientURL() }

// Close stops the server and releases its data directory.
func (s *Server) Close() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	_ = s.lock.Close()
}

// natsLog hands the NATS server's log lines on.
type natsLog struct{ log *slog.Logger }

func (l natsLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l natsLog) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l natsLog) Fatalf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l natsLog) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l natsLog) Debugf(f string, v ...any)  {}
func (l natsLog) Tracef(f string, v ...any)  {}
