// Package freeswitchtest is a small FreeSWITCH for tests: it speaks the event socket's protocol and plays channels, applications,
// mailboxes and registrations as a script says. It was written from FreeSWITCH's source and public documentation. No part of it has been
// compared with a FreeSWITCH that runs.
package freeswitchtest

import (
	"bufio"
	"encoding/json"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Password is what the server wants of clients at first.
const Password = "ClueCon"

// Headers are the headers of an event, or what a channel has.
type Headers map[string]string

// Server is the switch. Its methods may be called from any goroutine.
type Server struct {
	Beat time.Duration // the time between two heartbeats; it is read when a client connects

	listener net.Listener
	done     sync.WaitGroup

	mu            sync.Mutex
	password      string
	core          string
	skew          time.Duration
	stalled       bool
	reject        bool
	silentGetvar  bool
	sequence      int
	channels      map[string]Headers
	registrations []Headers
	answers       map[string]string // to API commands, which a test has set
	clients       map[*client]bool
	commands      []string
}

// client is one connection.
type client struct {
	conn   net.Conn
	write  sync.Mutex
	events map[string]bool // names and subclasses; ALL
	format string
	authed bool
}

// Start starts a switch on a free port of the loopback address. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Beat: 100 * time.Millisecond, listener: l, password: Password, core: uuid.NewString(), channels: map[string]Headers{}, answers: map[string]string{}, clients: map[*client]bool{}}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.Cut()
		s.done.Wait()
	})
	return s
}

// Addr is where the event socket listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &client{conn: conn, events: map[string]bool{}}
		s.mu.Lock()
		s.clients[c] = true
		s.mu.Unlock()
		s.done.Go(func() { s.serve(c) })
	}
}

// frame sends a frame to a client. A client that does not read is cut off.
func (c *client) frame(header, body string) {
	c.write.Lock()
	defer c.write.Unlock()
	if body != "" {
		header += "Content-Length: " + strconv.Itoa(len(body)) + "\n"
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write([]byte(header + "\n" + body)); err != nil {
		_ = c.conn.Close()
	}
}

func (c *client) reply(text string) {
	c.frame("Content-Type: command/reply\nReply-Text: "+text+"\n", "")
}

// serve answers the commands of a client.
func (s *Server) serve(c *client) {
	defer func() {
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
		_ = c.conn.Close()
	}()
	if s.locked(func() bool { return s.reject }) {
		c.frame("Content-Type: text/rude-rejection\n", "Access Denied, go away.\n")
		return
	}
	c.frame("Content-Type: auth/request\n", "")
	stop := make(chan struct{})
	defer close(stop)
	s.done.Go(func() {
		for {
			select {
			case <-time.After(s.Beat):
				if !s.locked(func() bool { return s.stalled }) {
					s.to(c, s.event("HEARTBEAT", Headers{"Event-Info": "System Ready"}))
				}
			case <-stop:
				return
			}
		}
	})
	r := bufio.NewReader(c.conn)
	for {
		var lines []string
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				lines = append(lines, line)
			} else if len(lines) > 0 {
				break
			}
		}
		s.mu.Lock()
		s.commands = append(s.commands, lines[0])
		s.mu.Unlock()
		if !s.command(c, lines) {
			return
		}
	}
}

// locked asks something with the lock held.
func (s *Server) locked(ask func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ask()
}

// command answers one command. It returns false when the connection is to end.
func (s *Server) command(c *client, lines []string) bool {
	verb, rest, _ := strings.Cut(lines[0], " ")
	if !c.authed {
		s.mu.Lock()
		c.authed = verb == "auth" && rest == s.password
		authed := c.authed
		s.mu.Unlock()
		switch {
		case authed:
			c.reply("+OK accepted")
		case verb == "auth":
			c.reply("-ERR invalid")
			return false
		default:
			c.reply("-ERR command not found")
		}
		return true
	}
	switch verb {
	case "event":
		words := strings.Fields(rest)
		s.mu.Lock()
		for i, w := range words {
			if i == 0 && (w == "plain" || w == "json") {
				c.format = w
				continue
			}
			c.events[strings.ToUpper(w)] = true
		}
		s.mu.Unlock()
		c.reply("+OK event listener enabled " + c.format)
	case "api":
		answer := s.api(rest)
		c.frame("Content-Type: api/response\n", answer)
	case "sendevent":
		h := Headers{}
		for _, line := range lines[1:] {
			name, value, _ := strings.Cut(line, ": ")
			h[name] = value
		}
		s.Fire(rest, h)
		c.reply("+OK " + uuid.NewString())
	case "exit":
		c.reply("+OK bye")
		c.frame("Content-Type: text/disconnect-notice\n", "Disconnected, goodbye.\n")
		return false
	default:
		c.reply("-ERR command not found")
	}
	return true
}

// api answers an API command.
func (s *Server) api(line string) string {
	verb, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	s.mu.Lock()
	said, ok := s.answers[line]
	s.mu.Unlock()
	switch {
	case ok:
		return said
	case verb == "status":
		return "UP 0 years, 0 days, 0 hours, 0 minutes, 1 second\n"
	case verb == "global_getvar":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.silentGetvar {
			return "-ERR no such command\n"
		}
		return map[string]string{"core_uuid": s.core, "local_ip_v4": "10.9.8.7"}[rest]
	case rest == "channels as json":
		return s.list()
	case rest == "registrations as json":
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.registrations) == 0 {
			return `{"row_count":0}`
		}
		b, _ := json.Marshal(map[string]any{"row_count": len(s.registrations), "rows": s.registrations})
		return string(b)
	case verb == "uuid_dump" && len(words) > 0:
		s.mu.Lock()
		ch, ok := s.channels[words[0]]
		h := maps.Clone(ch)
		s.mu.Unlock()
		if !ok {
			return "-ERR No such channel!\n"
		}
		b, _ := json.Marshal(s.event("CHANNEL_DATA", h))
		return string(b)
	case verb == "originate":
		return s.originate(rest)
	case verb == "uuid_hold" && len(words) == 2 && words[0] == "off":
		return s.change(words[1], "ACTIVE")
	case verb == "uuid_hold" && len(words) == 1:
		return s.change(words[0], "HELD")
	case verb == "uuid_kill" && len(words) > 0:
		return s.change(words[0], "HANGUP")
	}
	return "-ERR " + verb + " Command not found!\n"
}

// change changes the state of a channel by an API command.
func (s *Server) change(id, state string) string {
	if !s.locked(func() bool { return s.channels[id] != nil }) {
		return "-ERR No such channel!\n"
	}
	s.State(id, state)
	return "+OK Success\n"
}

// originate makes a channel from {variable=value,…}endpoint &application and answers it.
func (s *Server) originate(rest string) string {
	vars, _, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "}")
	if !ok {
		return "-USAGE: <call url> <exten>|&<application_name>(<app_args>)\n"
	}
	h := Headers{"Call-Direction": "outbound", "Presence-Call-Direction": "outbound"}
	for v := range strings.SplitSeq(vars, ",") {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "origination_uuid":
			h["Unique-ID"] = value
		case "presence_id":
			h["Channel-Presence-ID"] = value
		case "origination_caller_id_number":
			h["Caller-Caller-ID-Number"] = value
		}
	}
	id := s.Channel(h)
	s.State(id, "RINGING")
	s.State(id, "ACTIVE")
	return "+OK " + id + "\n"
}

// list is the answer to show channels as json.
func (s *Server) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.channels) == 0 {
		return `{"row_count":0}`
	}
	rows := []Headers{}
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		ch := s.channels[id]
		rows = append(rows, Headers{"uuid": id, "direction": ch["Call-Direction"], "callstate": ch["Channel-Call-State"], "presence_id": ch["Channel-Presence-ID"],
			"cid_num": ch["Caller-Caller-ID-Number"], "cid_name": ch["Caller-Caller-ID-Name"], "dest": ch["Caller-Destination-Number"], "hostname": "fake"})
	}
	b, _ := json.Marshal(map[string]any{"row_count": len(rows), "rows": rows})
	return string(b)
}

// event makes an event with the headers that every one has.
func (s *Server) event(name string, h Headers) Headers {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	e := Headers{"Event-Name": name, "Core-UUID": s.core, "FreeSWITCH-Hostname": "fake", "FreeSWITCH-Switchname": "fake", "FreeSWITCH-IPv4": "10.9.8.7",
		"Event-Date-Timestamp": strconv.FormatInt(time.Now().Add(s.skew).UnixMicro(), 10), "Event-Sequence": strconv.Itoa(s.sequence)}
	maps.Copy(e, h)
	return e
}

// to sends an event to a client that listens to it.
func (s *Server) to(c *client, e Headers) {
	s.mu.Lock()
	name := e["Event-Name"]
	listens := c.events["ALL"] || c.events[name] && (name != "CUSTOM" || c.events[strings.ToUpper(e["Event-Subclass"])])
	format := c.format
	s.mu.Unlock()
	if !listens {
		return
	}
	if format == "plain" {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(e)) {
			b.WriteString(name + ": " + url.PathEscape(e[name]) + "\n")
		}
		c.frame("Content-Type: text/event-plain\n", b.String()+"\n")
		return
	}
	b, _ := json.Marshal(e)
	c.frame("Content-Type: text/event-json\n", string(b))
}

// Fire sends an event to all clients that listen to it.
func (s *Server) Fire(name string, h Headers) {
	e := s.event(name, h)
	for _, c := range s.all() {
		s.to(c, e)
	}
}

func (s *Server) all() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.clients))
}
