package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"lamplight/cluster/loglevel"
	"lamplight/cmd/lamplight/node"
)

// commandLine is the command line as run got it, which a reload reads again.
type commandLine []string

// hangUps returns a channel that gets the SIGHUPs of this process from now on, which would otherwise end it.
func hangUps() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// reloadTime is how long a reload may wait for NATS.
const reloadTime = 10 * time.Second

// The flags of which a reload takes something over. Of those in nextConnection NATS's client reads the files when it connects again.
var (
	reloaded       = []string{"http-tls-cert", "http-tls-key", "sip-tls-cert", "sip-tls-key", "sip-tls-ca", "log-level", "rate-limit", "token-key", "jwks", "jwks-audience"}
	nextConnection = []string{"creds", "nats-tls-ca", "nats-tls-cert", "nats-tls-key"}
)

// reloader finds out what has changed in the flags, the configuration file, and the files that they name. One goroutine uses it.
type reloader struct {
	args   commandLine
	log    *slog.Logger
	before map[string]setting // by flag
}

// setting is the value of a flag, and the checksum of the file that it names.
type setting struct {
	value string
	sum   [sha256.Size]byte
}

// newReloader notes what a command line and the files stand for now. The command must have filled its defaults in, as it does on a reload.
func newReloader(args commandLine, line *kong.Context, log *slog.Logger) *reloader {
	return &reloader{args, log, settingsOf(line)}
}

// settingsOf returns the settings of a command line that was read.
func settingsOf(line *kong.Context) map[string]setting {
	all := map[string]setting{}
	note := func(name, value, file string) {
		s := setting{value: value}
		if text, err := os.ReadFile(file); err == nil {
			s.sum = sha256.Sum256(text)
		}
		all[name] = s
	}
	for _, f := range line.Flags() {
		value, file := fmt.Sprint(f.Target.Interface()), ""
		if f.Tag.Type == "existingfile" {
			file = value
		}
		note(f.Name, value, file)
	}
	if serve, ok := line.Selected().Target.Addr().Interface().(*serveCommand); ok {
		note("token-key", serve.TokenKey, serve.tokenKeyPath())
	}
	return all
}

// read reads the command line and the files again. apply gets the commands and takes over what can be taken; it returns what it did not take
// besides, or an error after which nothing has changed. read logs the outcome.
func (r *reloader) read(apply func(*commands) (left []string, err error)) {
	var c commands
	parser, err := newParser(&c, kong.Configuration(yamlFile), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	var line *kong.Context
	if err == nil {
		line, err = parser.Parse(negatives(r.args))
	}
	var left []string
	if err == nil {
		left, err = apply(&c)
	}
	if err != nil {
		r.log.Error("the configuration is not taken over, and nothing has changed; mend it and send SIGHUP again", "err", err)
		return
	}
	now := settingsOf(line)
	var taken, later, restart []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		switch was := r.before[name]; {
		case was == now[name]:
		case slices.Contains(left, name):
			restart = append(restart, name)
		case slices.Contains(reloaded, name):
			taken = append(taken, name)
			r.before[name] = now[name]
		case slices.Contains(nextConnection, name) && was.value == now[name].value:
			later = append(later, name)
			r.before[name] = now[name]
		default:
			restart = append(restart, name)
		}
	}
	r.log.Info("the configuration is read again", "taken", list(taken))
	if len(later) > 0 {
		r.log.Info("the next connection to NATS uses the new files", "flags", list(later))
	}
	if len(restart) > 0 {
		r.log.Warn("these flags have changed, and a running process can't take them: restart it to take them", "flags", list(restart))
	}
}

// list returns names as a log line has them.
func list(names []string) string {
	if len(names) == 0 {
		return "nothing has changed that can be taken"
	}
	return strings.Join(names, ", ")
}

// setLevel takes over a new --log-level. A level that lamplight log-level has set stays while the flag does not change.
func (r *reloader) setLevel(level string) {
	if level == r.before["log-level"].value {
		return
	}
	if l, err := loglevel.Parse(level); err == nil {
		_ = loglevel.Of(r.log).Set("", l)
	}
}

// swapped is a TLS configuration that can be replaced while connections are made with it. Connections that stand are not touched.
type swapped struct{ now atomic.Pointer[tls.Config] }

// swap makes a configuration replaceable; nil: there is none, and there will be none.
func swap(c *tls.Config) *swapped {
	s := &swapped{}
	s.now.Store(c)
	return s
}

// server returns the configuration for a listener; nil without one.
func (s *swapped) server() *tls.Config {
	if s.now.Load() == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load(), nil }}
}

// client returns the configuration for connections that this side makes; nil without one.
func (s *swapped) client() *tls.Config {
	if s.now.Load() == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // the check below takes its place
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &s.now.Load().Certificates[0], nil },
		VerifyConnection:     func(c tls.ConnectionState) error { return s.now.Load().VerifyConnection(c) }}
}

// replace takes another configuration over, and says whether it could: a listener that speaks TLS can't stop, nor begin.
func (s *swapped) replace(by *tls.Config) bool {
	if (s.now.Load() == nil) != (by == nil) {
		return false
	}
	s.now.Store(by)
	return true
}

// reloadNode reads the configuration of a node again and takes over what can be taken.
func reloadNode(ctx context.Context, r *reloader, n *node.Node, http, phones, calls *swapped) {
	r.read(func(now *commands) (left []string, err error) {
		next, _, err := now.Serve.settings(slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, reloadTime)
		defer cancel()
		if err := n.Reload(ctx, next); err != nil {
			return nil, err
		}
		if !http.replace(next.HTTPTLS) {
			left = append(left, "http-tls-cert", "http-tls-key")
		}
		var sipTLS, sipClient *tls.Config
		if next.SIP != nil {
			sipTLS, sipClient = next.SIP.TLS, next.SIP.TLSClient
		}
		if !phones.replace(sipTLS) || !calls.replace(sipClient) {
			left = append(left, "sip-tls-cert", "sip-tls-key", "sip-tls-ca")
		}
		r.setLevel(now.Serve.LogLevel)
		return left, nil
	})
}

// reloadEdge reads the configuration of an edge again and takes over what can be taken.
func reloadEdge(r *reloader, phones, calls *swapped) {
	r.read(func(now *commands) (left []string, err error) {
		next, err := now.Edge.check()
		if err != nil {
			return nil, err
		}
		if !phones.replace(next.TLS) || !calls.replace(next.TLSClient) {
			left = append(left, "sip-tls-cert", "sip-tls-key", "sip-tls-ca")
		}
		r.setLevel(now.Edge.LogLevel)
		return left, nil
	})
}

// onHangUp reads the configuration of a program again on each SIGHUP, until ctx ends, and takes the log level over: nothing else of bridges and
// shadow can be taken. check refuses flags with which the program could not work, and returns the level.
func (r *reloader) onHangUp(ctx context.Context, hangUp <-chan os.Signal, check func(*commands) (level string, err error)) {
	for {
		select {
		case <-hangUp:
			r.read(func(now *commands) ([]string, error) {
				level, err := check(now)
				if err == nil {
					r.setLevel(level)
				}
				return nil, err
			})
		case <-ctx.Done():
			return
		}
	}
}
