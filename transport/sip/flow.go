package sip

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/cluster/age"
)

// Transport is how SIP messages travel.
type Transport uint8

// The transports.
const (
	UDP Transport = iota
	TCP
	TLS
	WS
	WSS
	transports // how many there are
)

// names of the transports: as a URI's parameter has it (RFC 3261 §19.1.1), and as Via has it.
var (
	transportNames = [transports]string{UDP: "udp", TCP: "tcp", TLS: "tls", WS: "ws", WSS: "wss"}
	viaNames       = [transports]string{UDP: "UDP", TCP: "TCP", TLS: "TLS", WS: "WS", WSS: "WSS"}
)

// String is the transport's name in lower case.
func (t Transport) String() string { return transportNames[t] }

// connection is a connection to a phone or a proxy.
type connection struct {
	listener *listener // that accepted it, or that it was made for
	remote   netip.AddrPort
	number   uint64                  // unique in this process
	write    func(data []byte) error // sends one whole message; it does not wait for the other side
	close    func()
	certs    []string // the names in the other side's certificate

	proven atomic.Bool // a request that came on the connection was authenticated
	heard  age.Mark    // when something last came
}

// flow is one way on which messages come and go (RFC 5626 §3.1): a connection, or on UDP a socket and the address of the other side.
type flow struct {
	listener   *listener
	remote     netip.AddrPort
	connection *connection // nil: UDP
}

// send sends one whole message. It does not wait for the other side.
func (f flow) send(data []byte) error {
	if f.connection == nil {
		_, err := f.listener.packets.WriteToUDPAddrPort(data, f.remote)
		return err
	}
	return f.connection.write(data)
}

// flows are the connections that are open. It bounds how many there are, in all and of one address.
type flows struct {
	most, mostOfOne int

	mu      sync.RWMutex
	last    uint64
	open    map[uint64]*connection
	sources map[netip.Addr]int
	remotes map[netip.AddrPort]*connection // the newest of each address
}

func newFlows(most, mostOfOne int) *flows {
	return &flows{most: most, mostOfOne: mostOfOne, open: map[uint64]*connection{}, sources: map[netip.Addr]int{}, remotes: map[netip.AddrPort]*connection{}}
}

// add adds a connection and gives it its number. It returns false when a bound is reached. At the bound of all it first closes the
// connection that has been open for longest of those on which nobody was authenticated.
func (f *flows) add(c *connection, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	source := c.remote.Addr()
	if f.sources[source] >= f.mostOfOne {
		return false
	}
	if len(f.open) >= f.most && !f.evictLocked() {
		return false
	}
	f.last++
	c.number = f.last
	c.heard.Set(now)
	f.open[c.number] = c
	f.remotes[c.remote] = c
	f.sources[source]++
	return true
}

// evictLocked closes one of some connections on which nobody was authenticated. The caller holds f.mu.
func (f *flows) evictLocked() bool {
	var worst *connection
	looked := 0
	for _, c := range f.open { // in no order: which one does not matter
		if looked++; looked > 256 {
			break
		}
		if !c.proven.Load() && (worst == nil || c.number < worst.number) {
			worst = c
		}
	}
	if worst == nil {
		return false
	}
	f.removeLocked(worst)
	go worst.close()
	return true
}

// remove forgets a connection.
func (f *flows) remove(c *connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removeLocked(c)
}

func (f *flows) removeLocked(c *connection) {
	if f.open[c.number] != c {
		return
	}
	delete(f.open, c.number)
	if f.remotes[c.remote] == c {
		delete(f.remotes, c.remote)
	}
	source := c.remote.Addr()
	if f.sources[source]--; f.sources[source] <= 0 {
		delete(f.sources, source)
	}
}

// get returns the connection with a number; nil: it is closed.
func (f *flows) get(number uint64) *connection {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.open[number]
}

// at returns the newest connection to an address; nil: there is none.
func (f *flows) at(remote netip.AddrPort) *connection {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.remotes[remote]
}

// all returns the connections.
func (f *flows) all() []*connection {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]*connection, 0, len(f.open))
	for _, c := range f.open {
		all = append(all, c)
	}
	return all
}

// count returns the number of connections by transport.
func (f *flows) count() (by [transports]int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, c := range f.open {
		by[c.listener.transport]++
	}
	return by
}

const (
	unprovenLife = time.Minute   // how long a connection may stay on which nobody was authenticated
	idleLife     = 2 * time.Hour // how long a connection may stay on which nothing comes
)

// sweep closes the connections whose time is over. When none is open it makes the maps anew: a map keeps the memory of all that it held.
func (f *flows) sweep(now time.Time) {
	f.mu.Lock()
	if len(f.open) == 0 {
		f.open, f.sources, f.remotes = map[uint64]*connection{}, map[netip.Addr]int{}, map[netip.AddrPort]*connection{}
	}
	f.mu.Unlock()
	for _, c := range f.all() {
		quiet := age.Of(now) - c.heard.Age()
		if quiet > idleLife || !c.proven.Load() && quiet > unprovenLife {
			f.remove(c)
			c.close()
		}
	}
}

// appendToken appends the name of the flow, as the edge's own entry in a subscription's route set has it. incarnation is that of the
// edge's process, whose connections no other process has.
func (f flow) appendToken(dst []byte, incarnation string) []byte {
	dst = append(append(dst, transportNames[f.listener.transport]...), '.')
	if f.connection != nil {
		dst = append(append(dst, incarnation...), '.')
		return strconv.AppendUint(dst, f.connection.number, 10)
	}
	dst = append(strconv.AppendInt(dst, int64(f.listener.index), 10), '.')
	return f.remote.AppendTo(dst)
}

// appendVia appends the edge's own Via.
func (l *listener) appendVia(dst, branch []byte) []byte {
	dst = append(append(append(dst, "Via: SIP/2.0/"...), viaNames[l.transport]...), ' ')
	dst = append(append(append(dst, l.advertise...), ";branch="...), branch...)
	return append(dst, ";rport\r\n"...)
}

// appendContact appends the edge's own Contact for an extension.
func (l *listener) appendContact(dst []byte, user string) []byte {
	dst = append(append(append(dst, "Contact: <sip:"...), user...), '@')
	dst = append(dst, l.advertise...)
	if l.transport != UDP {
		dst = append(append(dst, ";transport="...), transportNames[l.transport]...)
	}
	return append(dst, ">\r\n"...)
}
