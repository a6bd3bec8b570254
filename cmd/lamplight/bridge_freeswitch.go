package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/transport/source"
	"lamplight/transport/source/freeswitch"
)

// freeswitchCommand is bridge freeswitch.
type freeswitchCommand struct {
	ESL []string `name:"esl" required:"" placeholder:"HOST:PORT" help:"The event sockets of the switches, such as 127.0.0.1:8021."`
	freeswitchFlags
	bridgeFlags
}

// freeswitchFlags are the flags of bridge freeswitch that serve has too.
type freeswitchFlags struct {
	PasswordFile  string   `name:"esl-password-file" type:"existingfile" placeholder:"FILE" help:"A file with the password of the event sockets. Only its owner and group may be able to read it."`
	SwitchURI     []string `name:"switch-uri" placeholder:"URI" help:"The Switch-URI of the calls, one for each switch (default: sip:ADDRESS:5060, with the address that the switch says it has)."`
	CallerRinging string   `enum:"confirmed,trying" default:"confirmed" help:"The state of a caller whose call is not answered yet: confirmed, which lights the lamp, or trying, which leaves it dark."`
}

// Run implements bridge freeswitch. It runs the bridge until SIGTERM or SIGINT, or until a switch does not take the password.
func (c *freeswitchCommand) Run(out io.Writer, args commandLine, line *kong.Context) error {
	log := newLog(os.Stderr, c.LogLevel, c.LogFormat)
	sources, err := c.prepare(log)
	if err != nil {
		return err
	}
	return c.run(out, newReloader(args, line, log), "freeswitch", sources, func(now *commands) (string, error) {
		_, err := now.Bridge.Freeswitch.prepare(log)
		return now.Bridge.Freeswitch.LogLevel, err
	})
}

// prepare refuses flags with which the bridge could not work, and makes the bridges. It starts nothing.
func (c *freeswitchCommand) prepare(log *slog.Logger) ([]source.Make, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.sources("--esl", c.ESL, log)
}

// sources makes the bridges of the switches at some addresses, which came with a flag.
func (f *freeswitchFlags) sources(flag string, addresses []string, log *slog.Logger) (all []source.Make, err error) {
	if len(addresses) == 0 {
		if f.PasswordFile != "" || len(f.SwitchURI) > 0 {
			return nil, fmt.Errorf("%w: --esl-password-file and --switch-uri are about switches: give %s too, such as 127.0.0.1:8021", errUsage, flag)
		}
		return nil, nil
	}
	if f.PasswordFile == "" {
		return nil, fmt.Errorf("%w: %s needs the password of the event socket: give --esl-password-file", errUsage, flag)
	}
	password, err := readPassword("--esl-password-file", f.PasswordFile)
	if err != nil {
		return nil, usage(err)
	}
	if len(f.SwitchURI) > 0 && len(f.SwitchURI) != len(addresses) {
		return nil, fmt.Errorf("%w: %s has %d switches, and --switch-uri %d; give one for each switch, in the same order", errUsage, flag, len(addresses), len(f.SwitchURI))
	}
	ringing := presence.Confirmed
	if f.CallerRinging == "trying" {
		ringing = presence.Trying
	}
	names := map[string]string{}
	for i, a := range addresses {
		wrong := badAddress(a)
		if strings.HasPrefix(a, ":") {
			wrong = "the host is missing"
		}
		if wrong != "" {
			return nil, fmt.Errorf("%w: %s is %q: %s; it must be HOST:PORT, such as 127.0.0.1:8021", errUsage, flag, a, wrong)
		}
		c := freeswitch.Config{Address: a, Password: password, CallerRinging: ringing, Log: log}
		if len(f.SwitchURI) > 0 {
			c.SwitchURI = f.SwitchURI[i]
			if c.SwitchURI == "" || slices.Contains(f.SwitchURI[:i], c.SwitchURI) {
				return nil, fmt.Errorf("%w: --switch-uri is %q; it must be one of its own for each switch", errUsage, f.SwitchURI)
			}
		}
		s := freeswitch.New(c)
		if other, twice := names[s.Name()]; twice {
			return nil, fmt.Errorf("%w: %s has one switch twice: %s and %s", errUsage, flag, other, a)
		}
		names[s.Name()] = a
		all = append(all, func(*nats.Conn, *slog.Logger) source.Source { return s })
	}
	return all, nil
}

// readPassword reads a password in a file, without the end of its line.
func readPassword(flag, path string) (string, error) {
	if err := checkSecret(flag, path); err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" || len(password) > 256 || strings.ContainsFunc(password, unicode.IsControl) {
		return "", fmt.Errorf("%s: %s must hold one line of 1 to 256 bytes, the password", flag, path)
	}
	return password, nil
}
