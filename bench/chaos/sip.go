package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lamplight/bench/local"
	sipedge "lamplight/transport/sip"
	sipphone "lamplight/transport/sip/phone"
)

const (
	sipEdges     = 2                      // SIP edges, in processes of their own
	sipPhones    = 24                     // phones that watch through them
	sipExpires   = 600                    // s
	sipRefresh   = 4 * time.Second        // how often a phone refreshes
	sipPatience  = 5 * time.Second        // how long it waits for an answer, until it tries again
	sipRetry     = 300 * time.Millisecond // how long it waits until it connects again
	sipCallBegin = "sip-"                 // what the Call-IDs of its subscriptions begin with
)

// sipEdge is a `lamplight edge`. Its process may end and start again.
type sipEdge struct {
	name, address, log string // address: of UDP and TCP
	argv               []string

	mu   sync.Mutex
	proc *local.Process
}

// start starts the edge's process and waits until it is ready.
func (e *sipEdge) start() error {
	p, err := local.Launch(e.name, e.log, e.argv...)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.proc = p
	e.mu.Unlock()
	return p.Await(startTimeout)
}

func (e *sipEdge) process() *local.Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.proc
}

// sipPhone is a SIP phone that watches one extension through an edge. It refreshes, answers every NOTIFY with 200, and connects and
// subscribes again when its connection is gone. It notes what no phone may see.
type sipPhone struct {
	number    int
	extension *extension
	edge      *sipEdge
	transport sipedge.Transport
	proxied   bool // there is a proxy in its route set: the phone's own address
	history   *history

	mu       sync.Mutex
	callID   string
	latest   *sipphone.Notify // of the present subscription
	accepted int              // NOTIFYs
	lost     int              // refreshes that were answered 481
}

// startSIP starts the edges and the phones.
func (r *run) startSIP(ctx context.Context, working *sync.WaitGroup) error {
	random := rand.New(rand.NewPCG(r.seed, 5060))
	for i := range sipEdges {
		address := net.JoinHostPort(r.cluster.layout.http(i+1), "5060")
		name := fmt.Sprintf("sip-%d", i+1)
		e := &sipEdge{name: name, address: address, log: filepath.Join(r.cluster.dir, name+".log")}
		e.argv = []string{r.cluster.product, "edge", "--name", name, "--sip-udp", address, "--sip-tcp", address, "--sip-auth", "none",
			"--http", net.JoinHostPort(r.cluster.layout.http(i+1), "5080"), "--nats", strings.Join(r.cluster.natsURLs, ",")}
		r.sipEdges = append(r.sipEdges, e)
		if err := e.start(); err != nil {
			return err
		}
	}
	for i := range sipPhones {
		p := &sipPhone{number: i, extension: r.world.pick(random), edge: r.sipEdges[i%sipEdges], transport: []sipedge.Transport{sipedge.UDP, sipedge.TCP}[i/sipEdges%2],
			proxied: i%3 == 0, history: r.history}
		r.sipPhones = append(r.sipPhones, p)
		working.Go(func() { p.run(ctx) })
	}
	return nil
}

// run watches until ctx ends. The subscription stays: the checker looks at what its last NOTIFY shows.
func (p *sipPhone) run(ctx context.Context) {
	for dialogs := 1; ctx.Err() == nil; dialogs++ {
		if err := p.watch(ctx, dialogs); err == nil {
			return
		}
		select {
		case <-time.After(sipRetry):
		case <-ctx.Done():
		}
	}
}

// watch connects, subscribes, and refreshes until ctx ends (nil), or the connection or the SIP dialog is gone.
func (p *sipPhone) watch(ctx context.Context, dialog int) error {
	open, cancel := context.WithTimeout(ctx, sipPatience)
	defer cancel()
	c, err := sipphone.Dial(open, sipphone.Config{Server: p.edge.address, Transport: p.transport})
	if err != nil {
		return err
	}
	callID := fmt.Sprintf("%s%d-%d", sipCallBegin, p.number, dialog)
	p.mu.Lock()
	p.callID, p.latest = callID, nil
	p.mu.Unlock()
	ask := sipphone.Subscribe{Watcher: fmt.Sprintf("phone%d@%s", p.number, realm), Target: p.extension.address(), Package: "dialog", Expires: sipExpires, CallID: callID,
		Instance: fmt.Sprintf("urn:uuid:00000000-0000-0000-0000-%012d", p.number), Handle: func(n *sipphone.Notify) { p.hear(callID, n) }}
	if p.proxied && p.transport == sipedge.UDP {
		ask.Headers = "Record-Route: <sip:" + c.Local() + ";lr>\r\n"
	}
	s, err := c.Subscribe(open, ask)
	if err != nil {
		_ = c.Close()
		return err
	}
	for {
		select {
		case <-time.After(sipRefresh):
		case <-c.Done():
			return errors.New("the connection is gone")
		case <-ctx.Done():
			// The connection stays open: what is told from now on counts.
			return nil
		}
		soon, cancel := context.WithTimeout(ctx, sipPatience)
		err := s.Refresh(soon, sipExpires)
		cancel()
		if refused, ok := errors.AsType[*sipphone.Refused](err); ok && refused.Code == 481 {
			p.mu.Lock()
			p.lost++
			p.mu.Unlock()
			if p.transport == sipedge.UDP { // a phone on TCP that was away for long may have lost its subscription by three failures
				p.history.wrong(fmt.Sprintf("the SIP phone %d behind %s has lost its subscription %s to %s: its refresh was answered 481", p.number, p.edge.name, callID, p.extension.name))
			}
			_ = c.Close()
			return err
		}
	}
}

// hear notes a NOTIFY. Within a SIP dialog the CSeq and the version must rise.
func (p *sipPhone) hear(callID string, n *sipphone.Notify) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.callID != callID {
		return
	}
	if last := p.latest; last != nil && (n.CSeq <= last.CSeq || n.Version() <= last.Version()) {
		p.history.wrong(fmt.Sprintf("the SIP phone %d got the CSeq %d and the version %d after %d and %d in the dialog %s", p.number, n.CSeq, n.Version(), last.CSeq, last.Version(), callID))
	}
	p.latest = n
	p.accepted++
}

// behind says how the phone's last NOTIFY differs from what its lamp shows now, or "" if it does not.
func (p *sipPhone) behind(lamp *shown) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.latest == nil:
		return "it was never told"
	case p.latest.State != "active":
		return fmt.Sprintf("it was told that its subscription is %s (%s)", p.latest.State, p.latest.Reason)
	}
	state := "terminated"
	if _, rest, found := strings.Cut(p.latest.Body, "<state>"); found {
		state, _, _ = strings.Cut(rest, "<")
	}
	if state != lamp.State {
		return fmt.Sprintf("it was told %s (CSeq %d), and the lamp is %s", state, p.latest.CSeq, lamp.State)
	}
	return ""
}

// sipBehind returns the SIP phones whose last NOTIFY is not what is there.
func (r *run) sipBehind(lamps map[*extension]*shown) (all []string) {
	for _, p := range r.sipPhones {
		if lamp := lamps[p.extension]; lamp != nil {
			if why := p.behind(lamp); why != "" {
				all = append(all, fmt.Sprintf("the SIP phone %d of %s on %s behind %s: %s", p.number, p.extension.name, p.transport, p.edge.name, why))
			}
		}
	}
	return all
}

// sipFaults can happen to the SIP edges.
var sipFaults = []fault{
	{name: "kill -9 a SIP edge", run: killSIPEdge},
	{name: "SIGSTOP a SIP edge", run: freezeSIPEdge},
}

// killSIPEdge kills an edge and starts it again.
func killSIPEdge(r *run, machine int, hold time.Duration) error {
	e := r.sipEdges[machine%sipEdges]
	e.process().Kill()
	time.Sleep(hold)
	return e.start()
}

// freezeSIPEdge stops an edge's process for a time.
func freezeSIPEdge(r *run, machine int, hold time.Duration) error {
	p := r.sipEdges[machine%sipEdges].process()
	p.Signal(syscall.SIGSTOP)
	time.Sleep(hold)
	p.Signal(syscall.SIGCONT)
	return nil
}
