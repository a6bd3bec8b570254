package freeswitch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTime    = 5 * time.Second         // how long a connection may take
	answerTime  = 30 * time.Second        // how long the switch may take to answer a command
	greetTime   = 10 * time.Second        // how long it may take to greet and to check the password
	maxEvents   = 10000                   // events that wait for the nodes
	maxChannels = maxEvents / 10 * 8      // of them, as long as events of channels come: what is lost of those can be asked for again
	longestBeat = 10 * time.Minute        // the longest time between two heartbeats that is taken
	missedBeats = 2500 * time.Millisecond // how long a switch may be silent for each second between its heartbeats
)

// What may be wrong with a switch.
var (
	errPassword   = errors.New("the switch does not take the password")
	errRejected   = errors.New("the switch refuses this address (apply-inbound-acl in its event_socket.conf)")
	errDisconnect = errors.New("the switch has ended the connection (disconnect notice)")
	errSilent     = errors.New("the switch sends no heartbeats")
)

// subscription is what the bridge listens to. Subclasses stand behind CUSTOM.
const subscription = "event json PRESENCE_IN PRESENCE_OUT CHANNEL_CALLSTATE CHANNEL_HANGUP_COMPLETE MESSAGE_WAITING HEARTBEAT SHUTDOWN " +
	"CUSTOM sofia::register sofia::unregister sofia::expire"

// socket is one connection to the event socket of a switch. A goroutine of it reads all the time, whether the nodes take documents or not:
// a switch that can't get rid of its events ends the connection. So events wait in a bounded buffer.
type socket struct {
	conn    net.Conn
	reader  *bufio.Reader
	silence time.Duration // how long no heartbeat may come
	answers chan frame    // to the command that waits
	events  chan *event   // closed when the connection has ended
	ended   chan struct{} // closed then too; err says why
	err     error
	lost    atomic.Bool // events were dropped, because the buffer was full

	log       *slog.Logger
	clockSaid bool // that the clock is wrong was logged
	refused   func(reason, sample string)
	heard     func()
}

// connect connects to a switch and authenticates. Nobody reads from the socket yet.
func connect(ctx context.Context, address, password string, silence time.Duration) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, reader: bufio.NewReaderSize(conn, maxLine), silence: silence, answers: make(chan frame, 1), events: make(chan *event, maxEvents), ended: make(chan struct{})}
	_ = conn.SetDeadline(time.Now().Add(greetTime))
	if err := s.login(password); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return s, nil
}

// login reads the greeting and authenticates.
func (s *socket) login(password string) error {
	greeting, err := readFrame(s.reader)
	switch {
	case err != nil:
		return fmt.Errorf("the switch does not greet: %w", err)
	case greeting.kind == rudeRejection:
		return errRejected
	case greeting.kind != authRequest:
		return fmt.Errorf("%w: it greets with the Content-Type %.60q instead of %s", errFrame, greeting.kind, authRequest)
	}
	if _, err := s.conn.Write([]byte("auth " + password + "\n\n")); err != nil {
		return err
	}
	answer, err := readFrame(s.reader)
	switch {
	case err != nil:
		return fmt.Errorf("the switch does not answer the password: %w", err)
	case answer.kind == commandReply && strings.HasPrefix(answer.reply, "+OK"):
		return nil
	case answer.kind == commandReply:
		return fmt.Errorf("%w: it says %.100q", errPassword, answer.reply)
	}
	return fmt.Errorf("%w: it answers the password with the Content-Type %.60q", errFrame, answer.kind)
}

// read reads frames until the connection ends. It moves the deadline only when a heartbeat comes: a switch whose core stands still may
// have an event socket that still speaks.
func (s *socket) read() {
	defer close(s.events)
	defer close(s.ended)
	defer func() { _ = s.conn.Close() }()
	_ = s.conn.SetReadDeadline(time.Now().Add(s.silence))
	for {
		f, err := readFrame(s.reader)
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				err = fmt.Errorf("%w for %v", errSilent, s.silence)
			}
			s.err = err
			return
		}
		s.heard()
		switch f.kind {
		case eventJSON:
			s.event(f.body)
		case commandReply, apiResponse:
			select {
			case s.answers <- f:
			default:
				s.err = fmt.Errorf("%w: it answers a command that was not sent", errFrame)
				return
			}
		case disconnectNotice:
			s.err = fmt.Errorf("%w: %.200q", errDisconnect, f.body)
			return
		default:
			s.refused("a frame of another kind", f.kind)
		}
	}
}

// event puts an event into the buffer. When the buffer is nearly full, events of channels are dropped first.
func (s *socket) event(body []byte) {
	arrived := time.Now()
	e, err := readEvent(body)
	if err != nil {
		s.refused("an event that can't be read", fmt.Sprintf("%v: %.200q", err, body))
		return
	}
	if e.is[hEventName] == "HEARTBEAT" {
		if n, err := strconv.Atoi(e.is[hHeartbeatInterval]); err == nil && n > 0 {
			s.silence = max(s.silence, min(time.Duration(n)*missedBeats, longestBeat))
		}
		_ = s.conn.SetReadDeadline(arrived.Add(s.silence))
	}
	if err := e.date(arrived); err == nil {
		s.clockSaid = false
	} else if !s.clockSaid {
		s.clockSaid = true
		s.log.Warn("the timestamps of the switch are passed over, and the time of arrival counts instead: set the switch's clock by NTP", "err", err)
	}
	if e.channel() && len(s.events) >= maxChannels {
		s.lost.Store(true)
		return
	}
	select {
	case s.events <- e:
	default:
		s.lost.Store(true) // slots and conferences can be asked for
		s.refused("events that the nodes did not take fast enough", e.is[hEventName])
	}
}

// command sends a command and waits for its answer. Only one goroutine may send commands.
func (s *socket) command(ctx context.Context, line string) (frame, error) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(answerTime))
	if _, err := s.conn.Write([]byte(line + "\n\n")); err != nil {
		return frame{}, err
	}
	late := time.NewTimer(answerTime)
	defer late.Stop()
	select {
	case f := <-s.answers:
		return f, nil
	case <-late.C:
		return frame{}, fmt.Errorf("the switch does not answer %.60q within %v", line, answerTime)
	case <-s.ended:
		return frame{}, s.err
	case <-ctx.Done():
		return frame{}, ctx.Err()
	}
}

// api sends an API command and returns the body of the answer.
func (s *socket) api(ctx context.Context, line string) (string, error) {
	f, err := s.command(ctx, "api "+line)
	if err != nil {
		return "", err
	}
	if f.kind != apiResponse {
		return "", fmt.Errorf("the switch answers %.60q with %.100q", line, f.reply)
	}
	return string(f.body), nil
}
