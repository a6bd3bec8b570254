package freeswitch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/transport/source"
)

// maxName is how many bytes a Core-UUID and an address of a switch may have.
const maxName = 256

// errRestarted says that the switch was started again.
var errRestarted = errors.New("the switch was started again: its events have another Core-UUID")

// session is one connection to a switch, from the login to its end.
type session struct {
	*Source
	sink source.Sink
	sock *socket
	uri  string // Switch-URI

	began   time.Time // when the last resync began
	floor   time.Time // news that arrives now counts as no older than that: the end of the switch's older calls must not take it along
	telling bool      // the resync asks and tells
	waits   *batch    // of the documents that the resync has sent; nil: they are durable
	ending  context.CancelFunc
	waiting sync.WaitGroup // for the goroutine of end
	early   []*event       // that came while the identity was not known
}

// batch counts documents until all of them are acknowledged.
type batch struct {
	left atomic.Int64
	all  chan struct{} // closed when none is left
}

// done notes that a document was acknowledged or refused.
func (b *batch) done(error) {
	if b.left.Add(-1) == 0 {
		close(b.all)
	}
}

// session connects to the switch and follows it until the connection ends.
func (s *Source) session(ctx context.Context, sink source.Sink) error {
	sock, err := connect(ctx, s.cfg.Address, s.cfg.Password, s.silence)
	if err != nil {
		if errors.Is(err, errPassword) {
			return final{err}
		}
		return err
	}
	sock.log, sock.refused, sock.heard = s.cfg.Log, sink.Refused, sink.Heard
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(sock.read)
	n := &session{Source: s, sink: sink, sock: sock}
	defer func() {
		cancel()
		_ = sock.conn.Close()
		reading.Wait()
		n.waiting.Wait()
	}()
	return n.run(ctx)
}

// run says that the source lives, tells which channels live, and then what happens.
func (n *session) run(ctx context.Context) error {
	if f, err := n.sock.command(ctx, subscription); err != nil {
		return err
	} else if !strings.HasPrefix(f.reply, "+OK") {
		return fmt.Errorf("the switch answers the subscription to events with %.100q", f.reply)
	}
	core, address, err := n.identity(ctx)
	if err != nil {
		return err
	}
	if n.uri = n.cfg.SwitchURI; n.uri == "" {
		n.uri = "sip:" + address + ":5060"
	}
	n.sink.Connected(true, nil)
	if err := n.sink.Up(ctx, n.uri, core); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return final{fmt.Errorf("the nodes refuse the source: %w", err)}
	}
	if n.core != "" && n.core != core {
		if err := n.restarted(ctx); err != nil {
			return err
		}
	}
	n.core = core
	if err := n.resync(ctx); err != nil {
		return err
	}
	for _, e := range n.early {
		if err := n.handle(ctx, e); err != nil {
			return err
		}
	}
	n.early = nil
	again := time.NewTicker(n.resyncPause)
	defer again.Stop()
	last := time.Now()
	for {
		select {
		case e, ok := <-n.sock.events:
			if !ok {
				return n.sock.err
			}
			if err := n.handle(ctx, e); err != nil {
				return err
			}
		case <-again.C:
			// Events that wait are handled first: more could be lost meanwhile.
			if (n.sock.lost.Load() && len(n.sock.events) < maxChannels/2 || time.Since(last) > resyncEvery) && n.waits == nil {
				if err := n.resync(ctx); err != nil {
					return err
				}
				last = time.Now()
			}
		case <-n.resynced():
			n.waits = nil
			n.end(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resynced returns a channel that is closed when what the last resync has told is durable.
func (n *session) resynced() <-chan struct{} {
	if n.waits == nil {
		return nil
	}
	return n.waits.all
}

// identity asks the switch for its Core-UUID and its address. When it does not say, the first event that has both does.
func (n *session) identity(ctx context.Context) (core, address string, err error) {
	for name, into := range map[string]*string{"core_uuid": &core, "local_ip_v4": &address} {
		answer, err := n.sock.api(ctx, "global_getvar "+name)
		if err != nil {
			return "", "", err
		}
		if answer = strings.TrimSpace(answer); len(answer) <= maxName && !strings.HasPrefix(answer, "-") && answer != "_undef_" && !strings.ContainsAny(answer, " \r\n") {
			*into = answer
		}
	}
	for core == "" || address == "" {
		select {
		case e, ok := <-n.sock.events:
			if !ok {
				return "", "", n.sock.err
			}
			n.early = append(n.early, e)
			if e.is[hCoreUUID] != "" && e.is[hIPv4] != "" {
				core, address = e.is[hCoreUUID], e.is[hIPv4]
			}
		case <-ctx.Done():
			return "", "", ctx.Err()
		}
	}
	return core, address, nil
}

// restarted forgets what the switch no longer knows, since it was started again: channels, whose calls the nodes have ended, and what its
// own applications held. What scripts keep in a database lives on.
func (n *session) restarted(ctx context.Context) error {
	clear(n.channels)
	for extension, l := range n.lit {
		if forgotten[l.proto] {
			if err := n.putOut(ctx, extension, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// resync tells every call that lives. When all of that is durable, end ends the calls of the switch that were not told.
func (n *session) resync(ctx context.Context) error {
	n.sock.lost.Store(false)
	n.began = time.Now()
	n.floor, n.telling = n.began, true
	defer func() { n.telling = false }()
	n.waits = &batch{all: make(chan struct{})}
	n.waits.left.Store(1) // until all are sent
	answer, err := n.sock.api(ctx, "show channels as json")
	if err != nil {
		return err
	}
	rows, err := readRows([]byte(answer))
	if err != nil {
		return fmt.Errorf("the answer to show channels: %w: %.100q", err, answer)
	}
	live := make(map[string]*event, len(rows)+len(n.channels))
	for _, row := range rows {
		if row.UUID != "" && row.Presence != "" {
			live[row.UUID] = row.event()
		}
	}
	for uuid := range n.channels { // the list lags: a channel may be missing that has just begun
		if live[uuid] == nil {
			live[uuid] = nil
		}
	}
	for uuid, row := range live {
		if err := n.ask(ctx, uuid, row); err != nil {
			return err
		}
	}
	if err := n.resyncRegistrations(ctx); err != nil {
		return err
	}
	if err := n.resyncPlaces(ctx); err != nil {
		return err
	}
	n.waits.done(nil)
	return nil
}

// ask asks the switch what a channel is and tells its call. The list of channels has neither the SIP Call-ID nor tags, and it lags. row is
// what the list says, and counts for switches that can't be asked.
func (n *session) ask(ctx context.Context, uuid string, row *event) error {
	if !isToken(uuid) {
		n.sink.Refused("a channel whose UUID is no token", uuid)
		return nil
	}
	answer, err := n.sock.api(ctx, "uuid_dump "+uuid+" json")
	if err != nil {
		return err
	}
	e := row
	switch {
	case strings.HasPrefix(answer, "{"):
		if e, err = readEvent([]byte(answer)); err != nil {
			n.sink.Refused("a channel that can't be read", fmt.Sprintf("%v: %.200q", err, answer))
			e = row
		}
	case strings.Contains(answer, "No such channel"), row == nil:
		e = &event{}
		e.is[hCallState] = "HANGUP"
	}
	if e == nil {
		return nil
	}
	if row != nil {
		for _, h := range []header{hChannelPresence, hCallDirection, hCallState} {
			e.set(h, row.is[h])
		}
	}
	e.is[hUniqueID] = uuid
	e.at = time.Now()
	return n.call(ctx, e, true)
}

// end ends the calls of the switch that were last heard of before the resync began. It waits on a goroutine of its own, and tries until it
// is done or the session ends.
func (n *session) end(ctx context.Context) {
	if n.ending != nil {
		n.ending()
	}
	ctx, n.ending = context.WithCancel(ctx)
	before := n.began
	n.waiting.Go(func() {
		for {
			ended, err := n.sink.SwitchGone(ctx, n.uri, before)
			if err == nil {
				if ended > 0 {
					n.cfg.Log.Info("calls that the switch no longer has were ended", "source", n.Name(), "switch", n.uri, "calls", ended)
				}
				return
			}
			if ctx.Err() != nil {
				return
			}
			n.cfg.Log.Warn("calls that the switch no longer has could not be ended; that is tried again", "source", n.Name(), "switch", n.uri, "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	})
}

// handle tells what an event means.
func (n *session) handle(ctx context.Context, e *event) error {
	if core := e.is[hCoreUUID]; core != "" && core != n.core {
		return errRestarted
	}
	if e.at.Before(n.floor) {
		n.floor = n.floor.Add(time.Microsecond) // so that such events keep their order
		e.at = n.floor
	}
	switch name := e.is[hEventName]; {
	case e.channel():
		return n.call(ctx, e, false)
	case e.presence():
		return n.feature(ctx, e)
	case name == "MESSAGE_WAITING":
		return n.mailbox(ctx, e)
	case name == "CUSTOM":
		return n.registration(ctx, e)
	case name == "SHUTDOWN":
		return errors.New("the switch shuts down")
	}
	return nil
}

// send sends a document. During a resync it counts it, so that the end of older calls comes after it.
func (n *session) send(ctx context.Context, d source.Document) error {
	var done func(error)
	if n.telling {
		n.waits.left.Add(1)
		done = n.waits.done
	}
	return n.sink.Send(ctx, d, done)
}

// row is a line of the answer to show channels.
type row struct {
	UUID      string `json:"uuid"`
	Direction string `json:"direction"`
	Presence  string `json:"presence_id"`
	State     string `json:"callstate"`
	Number    string `json:"cid_num"`
	Name      string `json:"cid_name"`
	Dest      string `json:"dest"`
}

// readRows reads the answer to show channels. An empty list has no rows.
func readRows(data []byte) ([]row, error) {
	var list struct {
		Rows []row `json:"rows"`
	}
	err := json.Unmarshal(data, &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	return list.Rows, err
}

// event returns the line as an event.
func (r *row) event() *event {
	e := &event{}
	for h, value := range map[header]string{hCallState: r.State, hCallDirection: r.Direction, hChannelPresence: r.Presence, hCallerNumber: r.Number,
		hCallerName: r.Name, hDestination: r.Dest} {
		e.set(h, value)
	}
	return e
}

// isToken says whether a name that came from the switch may stand in a command.
func isToken(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
