// Package natsd runs the NATS server that is embedded in a node: standalone, or as one of a cluster of servers that
// replicate their streams. It owns the data directory: one process at a time locks it, and it belongs for good either to
// a standalone or to a clustered server. It refuses damaged files before the NATS server cuts them off (verify.go), and
// starts the server again when a full disk or a lack of file descriptors has stopped its storage (tend.go). It also makes
// a clustered server stand for election as soon as gossip has lost the leader of a stream. It knows nothing of shards,
// records or requests.
//
// One goroutine calls New, Start and Stop, in this order and once each. The other methods are for any goroutine, after
// Start.
package natsd

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"lamplight/cluster/loglimit"
)

// Config is what an embedded NATS server needs.
type Config struct {
	Listen string        // HOST:PORT for clients; loopback only, unless the file Config brings authentication
	Data   string        // the data directory
	Config string        // the name of a NATS configuration file, whose settings the other fields override; "": none
	Sync   time.Duration // the time between two syncs to disk: a power cut may lose so much; 0: every write is synced
	Name   string        // the node's name
	Routes *Routes       // nil: the server is standalone
	Log    *slog.Logger

	// MaxClients is how many clients may be connected, unless the file Config says it; 0: 65,536. An address may have half of them.
	// A quarter as many, and at least 16, may be connected besides that have sent nothing yet.
	MaxClients int
	// AcceptLoss lets Start go on with files of which a part can't be read. NATS drops that part.
	AcceptLoss bool
	// Failed is called at most once, on a goroutine of its own, when the server can't go on: its data directory is gone, or
	// it could not be started again. nil: it is not wanted.
	Failed func(error)
}

// Routes makes the embedded servers of several nodes a cluster that replicates its streams.
type Routes struct {
	Listen    string   // HOST:PORT for the other servers
	Advertise string   // HOST:PORT at which the other servers reach this one; "": Listen
	Peers     []string // HOST:PORT of all servers, this one among them
	Key       []byte   // the gossip key, from which the password of the routes is derived; nil: they have none
	// MaxStrangers is how many connections may be open of which it is not proved yet that a server made them. Servers may have half
	// as many. 0: 256.
	MaxStrangers int

	Members func() []string // the nodes that gossip shows, this one among them; called every 100 ms from the elector's goroutine
}

// Server is an embedded NATS server with JetStream. From Start to Stop it holds a lock on its data directory.
type Server struct {
	cfg      Config
	password string        // of ownUser
	addr     string        // for clients, HOST:PORT; Config.Listen with the port that the server got
	wayIn    []nats.Option // how the node itself connects
	lock     *os.File      // open and locked
	clients  *clientPort
	routes   *routePort // nil: the server is standalone
	cancel   context.CancelFunc
	done     sync.WaitGroup // the goroutines of tend and of the elector

	nats    atomic.Pointer[server.Server] // replaced by tend
	suspect atomic.Pointer[string]        // the line with which the server has logged that its storage failed; nil: it has not
	trouble atomic.Pointer[error]         // why the server takes no writes; nil: it takes them
	lost    atomic.Bool                   // files were damaged, and what they held is given up (Config.AcceptLoss)
	said    atomic.Pointer[string]        // the newest warning or error of the server; nil: it has logged none
}

// New makes a Server. It starts nothing.
func New(c Config) *Server { return &Server{cfg: c, password: rand.Text()} }

// Start locks the data directory, starts the server on it, and blocks until clients can connect. After a kill -9 the
// server first reads its files, which takes seconds for each million records. Start does not end earlier when its
// context does. Errors say which flag the operator should change.
func (s *Server) Start(context.Context) error {
	c := s.cfg
	if err := CheckData(c.Data); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w; give another one with --data", err)
	}
	mode := Standalone
	if c.Routes != nil {
		mode = Clustered
	}
	lock, err := lockDirectory(c.Data, mode)
	if err != nil {
		return err
	}
	fail := func(err error) error { _ = lock.Close(); return err }
	if err := s.verify(); err != nil {
		return fail(err)
	}
	if err := s.openPorts(); err != nil {
		return fail(err)
	}
	started, err := s.run()
	if err != nil {
		s.closePorts()
		return fail(err)
	}
	s.nats.Store(started)
	s.clients.accept(s.clients.serve)
	ctx, cancel := context.WithCancel(context.Background())
	s.lock, s.cancel = lock, cancel
	s.done.Go(func() { s.tend(ctx) })
	if c.Routes != nil {
		e := &elector{nats: s.nats.Load, members: c.Routes.Members, stood: map[string]time.Time{}, log: c.Log}
		s.done.Go(func() { e.run(ctx) })
	}
	return nil
}

// openPorts opens the public ports.
func (s *Server) openPorts() (err error) {
	c, log := &s.cfg, loglimit.Limit(s.cfg.Log).With("part", "nats")
	opts, _, err := s.options()
	if err != nil {
		return err
	}
	if s.clients, err = openClientPort(c.Listen, opts.MaxConn-ownClients, s.nats.Load, log); err != nil {
		return err
	}
	s.clients.tls = opts.TLSConfig != nil
	s.addr = s.clients.listener.Addr().String()
	c.Listen = s.addr // what the server tells its clients
	if r := c.Routes; r != nil {
		if s.routes, err = openRoutePort(r.Listen, r.password(), cmp.Or(r.MaxStrangers, maxStrangers), s.nats.Load, log); err != nil {
			s.clients.close()
		}
	}
	return err
}

// closePorts closes the public ports and their connections.
func (s *Server) closePorts() {
	s.clients.close()
	if s.routes != nil {
		s.routes.close()
	}
}

// The modes of a data directory.
const (
	Standalone = "standalone"
	Clustered  = "clustered"
)

// Mode returns how the server of a data directory was first started, Standalone or Clustered; "": the directory is new. Another text
// says that the file is damaged.
func Mode(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "mode"))
	mode := strings.TrimSpace(string(b))
	if _, used := os.Stat(filepath.Join(dir, "nats")); err == nil && mode == "" && used == nil {
		return "nothing"
	}
	return mode
}

// lockDirectory locks a data directory until the returned file is closed or the process ends. It refuses a directory
// that another process has locked or that belongs to a server of the other mode.
func lockDirectory(dir, mode string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s can't be written: %w; give another one with --data", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another lamplight process: stop that one, or give this "+
			"one its own --data", dir)
	}
	err = belongs(dir, mode)
	if err == nil && Mode(dir) == "" {
		if err = os.WriteFile(filepath.Join(dir, "mode"), []byte(mode+"\n"), 0o600); err != nil {
			err = fmt.Errorf("data directory %s: %w", dir, err)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// belongs refuses a data directory that belongs to a server of another mode.
func belongs(dir, mode string) error {
	switch was := Mode(dir); {
	case was == mode || was == "":
		return nil
	case was != Clustered && was != Standalone:
		return fmt.Errorf("data directory %s: the file mode is damaged: it holds %.40q, and must hold standalone or clustered. Write into it what the server "+
			"of this directory was: clustered if the node was started with --nats-cluster, standalone if not. A server of the wrong kind deletes the streams", dir, was)
	case was == Clustered:
		return fmt.Errorf("data directory %s: it belongs to a clustered server; a standalone server would delete its streams: give "+
			"--nats-cluster, or another --data", dir)
	}
	return fmt.Errorf("data directory %s: it belongs to a standalone server; a clustered server would delete its streams: "+
		"save it with lamplight backup, start the cluster with empty data directories, and load the backup there "+
		"with lamplight restore", dir)
}

// Check returns why Start would refuse the configuration or the data directory. It changes nothing. inUse says that another process
// has locked the directory now, which is all that Start would object to.
func Check(c Config) (inUse bool, err error) {
	mode := Standalone
	if c.Routes != nil {
		mode = Clustered
	}
	opts, _, err := New(c).options()
	if err != nil {
		return false, err
	}
	if _, err := server.NewServer(opts); err != nil { // which looks at the options together, and starts nothing
		return false, fmt.Errorf("embedded NATS server: %w", err)
	}
	if err := belongs(c.Data, mode); err != nil {
		return false, err
	}
	if err := CheckData(c.Data); err != nil {
		return false, err
	}
	f, err := os.OpenFile(filepath.Join(c.Data, "lock"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("data directory %s: %w; give another one with --data", c.Data, err)
	}
	defer f.Close() // which unlocks it
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil, nil
}

// CheckData returns why a directory can't be the data directory of a node.
func CheckData(dir string) error {
	if err := Writable(dir); err != nil {
		return fmt.Errorf("data directory %s: %w; give another one with --data", dir, err)
	}
	return nil
}

// Writable returns why a directory can't be written, or can't be made. It writes nothing.
func Writable(dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	i, err := os.Stat(at)
	for errors.Is(err, os.ErrNotExist) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
		i, err = os.Stat(at)
	}
	var st unix.Statfs_t
	switch {
	case err != nil:
		return err
	case !i.IsDir():
		return fmt.Errorf("%s is not a directory", at)
	case unix.Access(at, unix.W_OK|unix.X_OK) != nil:
		return fmt.Errorf("%s can't be written: %w", at, unix.Access(at, unix.W_OK|unix.X_OK))
	case unix.Statfs(at, &st) == nil && slices.Contains(kernelFiles, int64(st.Type)):
		return fmt.Errorf("%s can't be written: the kernel makes the files there", at)
	}
	return nil
}

// kernelFiles are the types of file systems that take no files, though root may write there.
var kernelFiles = []int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC}

// options returns the options of the NATS server, and how the node itself connects.
func (s *Server) options() (*server.Options, []nats.Option, error) {
	c := s.cfg
	opts := &server.Options{}
	if c.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(c.Config); err != nil {
			return nil, nil, fmt.Errorf("--nats-config: %w", err)
		}
		if err := checkFile(opts, c.Routes != nil); err != nil {
			return nil, nil, err
		}
	}
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("--nats-listen: %w", err)
	}
	if !Loopback(host) && opts.Users == nil && opts.Nkeys == nil && opts.Username == "" && opts.Authorization == "" && len(opts.TrustedOperators) == 0 {
		return nil, nil, fmt.Errorf("--nats-listen %s is not loopback, and no authentication is configured: give users in "+
			"--nats-config, or listen on 127.0.0.1", c.Listen)
	}
	// The server itself listens on a port of the loopback address, for the node itself; clientPort listens for all others.
	opts.Host, opts.Port, opts.ClientAdvertise = "127.0.0.1", server.RANDOM_PORT, cmp.Or(opts.ClientAdvertise, net.JoinHostPort(host, strconv.Itoa(port)))
	opts.ServerName = c.Name
	opts.NoSigs, opts.JetStream = true, true
	opts.StoreDir = filepath.Join(c.Data, "nats")
	opts.SyncInterval, opts.SyncAlways = c.Sync, c.Sync == 0
	wayIn, err := s.makeWayIn(opts)
	if err != nil {
		return nil, nil, err
	}
	if opts.MaxConn == 0 {
		opts.MaxConn = cmp.Or(c.MaxClients, server.DEFAULT_MAX_CONNECTIONS)
	}
	opts.MaxConn += ownClients
	if opts.JetStreamMaxStore <= 0 {
		opts.JetStreamMaxStore = diskLimit(c.Data)
	}
	if c.Routes != nil {
		if err := c.Routes.apply(opts); err != nil {
			return nil, nil, err
		}
	}
	return opts, wayIn, nil
}

// run starts a NATS server and blocks until clients can connect.
func (s *Server) run() (*server.Server, error) {
	c := s.cfg
	opts, wayIn, err := s.options()
	if err != nil {
		return nil, err
	}
	if s.wayIn == nil { // a server that is started again has the same
		s.wayIn = wayIn
	}
	made, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	log := natsLog{loglimit.Limit(c.Log).With("part", "nats"), &s.suspect, &s.said}
	made.SetLoggerV2(log, false, false, false)
	started := make(chan struct{})
	go func() { made.Start(); close(started) }()
	for waiting := true; waiting; {
		select {
		case <-started:
			waiting = false
		case <-time.After(5 * time.Second):
			c.Log.Info("the embedded NATS server still reads its files; after a crash this takes seconds for each "+
				"million records", "data", opts.StoreDir)
		}
	}
	if !made.ReadyForConnections(10 * time.Second) {
		made.Shutdown()
		why := "it is not ready after 10 s, and says nothing"
		if said := s.Said(); said != "" {
			why = said
		}
		return nil, fmt.Errorf("the embedded NATS server did not start: %s", why)
	}
	if c.Routes == nil { // a server that could not open a stream's files goes on without the stream, as if there were none
		if h := made.Healthz(nil); h.Status != "ok" {
			made.Shutdown()
			made.WaitForShutdown()
			return nil, fmt.Errorf("the embedded NATS server could not open all of its files: %s. Bring back the stream's files from a copy "+
				"of the data directory (meta.inf and meta.sum among them), or restore a backup into an empty --data (lamplight restore)", h.Error)
		}
	}
	return made, nil
}

// routesUser is the user of the routes, when they have a password.
const routesUser = "lamplight"

// password returns the password of the routes; "": they have none.
func (r *Routes) password() string {
	if r.Key == nil {
		return ""
	}
	mac := hmac.New(sha256.New, r.Key)
	mac.Write([]byte("lamplight nats routes"))
	return hex.EncodeToString(mac.Sum(nil))
}

// apply sets the options that make the server one of a cluster. The server itself listens for routes on a port of the loopback
// address; routePort listens for the other nodes' servers.
func (r *Routes) apply(opts *server.Options) error {
	if _, _, err := splitAddress(r.Listen); err != nil {
		return fmt.Errorf("--nats-cluster: %w", err)
	}
	opts.Cluster = server.ClusterOpts{Name: "lamplight", Host: "127.0.0.1", Port: server.RANDOM_PORT, Advertise: cmp.Or(r.Advertise, r.Listen), NoAdvertise: true, PoolSize: -1}
	var user *url.Userinfo
	if password := r.password(); password != "" {
		opts.Cluster.Username, opts.Cluster.Password = routesUser, password
		user = url.UserPassword(routesUser, password)
	}
	for _, p := range r.Peers {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: p, User: user})
	}
	opts.LameDuckDuration, opts.LameDuckGracePeriod = 200*time.Millisecond, 50*time.Millisecond
	return nil
}

// diskLimit returns how many bytes JetStream may use: what it uses already, and nine tenths of what is free. NATS refuses
// writes past its own limit and accepts them again when there is room. When a write meets a full disk instead, NATS takes
// no more writes until it is started again, which tend does.
func diskLimit(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 1 << 40 // no limit worth the name
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

// splitAddress splits HOST:PORT. The port may be the name of a service.
func splitAddress(a string) (string, int, error) {
	host, p, err := net.SplitHostPort(a)
	if err != nil {
		return "", 0, err
	}
	port, err := net.LookupPort("tcp", p)
	return host, port, err
}

// Loopback says whether a host is localhost or a loopback address, which can be reached from this machine only.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL returns the address for the node itself, which connects with the options of WayIn.
func (s *Server) URL() string { return "nats://" + s.addr }

// Said returns the newest warning or error that the server has logged; "": it has logged none. It is for any goroutine, also before
// Start.
func (s *Server) Said() string {
	if said := s.said.Load(); said != nil {
		return *said
	}
	return ""
}

// Lost says whether files were damaged, and what they held was given up (Config.AcceptLoss).
func (s *Server) Lost() bool { return s.lost.Load() }

// Addr returns the HOST:PORT on which the server listens for clients.
func (s *Server) Addr() string { return s.addr }

// Stop stops the server, blocks until it has stopped, and unlocks the data directory. A clustered server first lets the
// other servers lead the streams that it leads. Stop does nothing before Start.
func (s *Server) Stop(context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.done.Wait()
	s.clients.refuse() // the server leaves a connection open that it gets now
	running := s.nats.Load()
	if running.ClusterName() != "" {
		running.LameDuckShutdown()
	}
	running.Shutdown()
	running.WaitForShutdown()
	s.closePorts()
	_ = unix.Syncfs(int(s.lock.Fd())) // NATS has left its files to the system, and the node notes all that was acknowledged
	return s.lock.Close()
}

// natsLog writes the NATS server's log lines to our log. Its notices become debug lines; it has no debug lines. When a
// line says that the server's storage failed, natsLog sets suspect: the server says it nowhere else.
type natsLog struct {
	log     *slog.Logger
	suspect *atomic.Pointer[string]
	said    *atomic.Pointer[string] // the newest warning or error
}

func (l natsLog) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l natsLog) Debugf(f string, v ...any)  {}
func (l natsLog) Tracef(f string, v ...any)  {}

func (l natsLog) Warnf(f string, v ...any) {
	line := fmt.Sprintf(f, v...)
	l.said.Store(&line)
	l.log.Warn(line)
}

func (l natsLog) Fatalf(f string, v ...any) {
	line := fmt.Sprintf(f, v...)
	l.said.Store(&line)
	l.log.Error(line)
}

func (l natsLog) Errorf(f string, v ...any) {
	line := fmt.Sprintf(f, v...)
	if strings.Contains(strings.ToLower(line), "write error") {
		l.suspect.Store(&line)
	}
	l.said.Store(&line)
	l.log.Error(line)
}
