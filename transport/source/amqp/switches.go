package amqp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lamplight/transport/kazoo"
)

const (
	defaultExpires = 15 * time.Second // of a heartbeat without Expires
	maxExpires     = time.Hour
	maxSwitches    = 10000 // media servers that are followed
	// lease is how long the bridge may be down before the calls and parking slots of its media servers end. Kazoo tells of a slot only when it
	// changes, and what changes meanwhile waits at the broker.
	lease     = 5 * time.Minute
	maxAnswer = 64 << 20 // bytes of an answer that lists calls
)

// switchURI returns the URI that Kazoo's documents have as Switch-URI for a switch, sip:HOST:PORT, when given one with a user or
// parameters, such as sip:mod_sofia@10.0.0.5:11000.
func switchURI(uri string) string {
	rest, ok := strings.CutPrefix(uri, "sip:")
	if !ok {
		return uri
	}
	rest, _, _ = strings.Cut(rest, ";")
	return "sip:" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// heard is something that the keeper is told: one of the types of this package that end with its methods below.
type heard interface{}

// aside is what the bridge reads of documents on its own queue: heartbeats of nodes, and answers.
type aside struct {
	EventCategory kazoo.Text                `json:"Event-Category"`
	EventName     kazoo.Text                `json:"Event-Name"`
	Node          kazoo.Text                `json:"Node"`
	Zone          kazoo.Text                `json:"Zone"`
	BrokerZone    kazoo.Text                `json:"AMQP-Broker-Zone"`
	MsgID         kazoo.Text                `json:"Msg-ID"`
	Expires       float64                   `json:"Expires"` // milliseconds
	MediaServers  map[string]mediaServer    `json:"Media-Servers"`
	Channels      map[string]jsontext.Value `json:"Channels"`
}

// mediaServer is what a heartbeat says of a media server.
type mediaServer struct {
	Startup    jsontext.Value `json:"Startup"`
	Instance   kazoo.Text     `json:"Instance-UUID"`
	Interfaces map[string]struct {
		Info struct {
			URL kazoo.Text `json:"url"`
		} `json:"info"`
		URL kazoo.Text `json:"URL"`
	} `json:"Interfaces"`
}

// readAside reads a heartbeat that names media servers, or an answer that lists calls. It returns nil for all else, of which the exchanges
// carry a lot.
func readAside(body []byte, self string) heard {
	var d aside
	if json.Unmarshal(body, &d) != nil || string(d.Node) == self {
		return nil
	}
	switch {
	case d.EventCategory == "nodes" && len(d.MediaServers) > 0:
		return heartbeatOf(&d)
	case d.EventName == "query_channels_resp":
		return answer{node: string(d.Node), id: string(d.MsgID), channels: d.Channels}
	}
	return nil
}

// beat is one media server of a heartbeat.
type beat struct {
	name, incarnation, startup string
	uris                       []string
}

// beats is a heartbeat of a node of Kazoo's.
type beats struct {
	node, zone string
	via        int // the number of the broker
	expires    time.Duration
	servers    []beat
}

// heartbeatOf returns what a heartbeat says.
func heartbeatOf(d *aside) beats {
	b := beats{node: string(d.Node), zone: string(d.Zone), expires: defaultExpires}
	if b.zone == "" {
		b.zone = string(d.BrokerZone)
	}
	if d.Expires > 0 {
		b.expires = min(time.Duration(d.Expires)*time.Millisecond, maxExpires)
	}
	for name, m := range d.MediaServers {
		one := beat{name: name, startup: strings.Trim(string(m.Startup), `"`)}
		for _, i := range m.Interfaces {
			for _, uri := range []kazoo.Text{i.Info.URL, i.URL} {
				if uri := switchURI(string(uri)); strings.HasPrefix(uri, "sip:") && !slices.Contains(one.uris, uri) {
					one.uris = append(one.uris, uri)
				}
			}
		}
		if one.incarnation = string(m.Instance); one.incarnation == "" {
			one.incarnation = one.startup
		}
		if one.incarnation != "" && len(one.uris) > 0 {
			b.servers = append(b.servers, one)
		}
	}
	return b
}

// mediaServerState is what the keeper knows of a media server.
type mediaServerState struct {
	beat
	zone  string
	until time.Time       // when it counts as silent
	nodes map[string]bool // who names it
	via   map[int]bool    // the numbers of the brokers over which somebody names it
}

// beaten notes a heartbeat.
func (k *keeper) beaten(ctx context.Context, b beats, now time.Time) {
	for _, one := range b.servers {
		old := k.servers[one.name]
		if old == nil && len(k.servers) >= maxSwitches {
			k.s.sink.Refused("too many media servers", one.name)
			continue
		}
		m := &mediaServerState{beat: one, zone: b.zone, until: now.Add(b.expires + k.s.times.silent), nodes: map[string]bool{}, via: map[int]bool{}}
		if old != nil {
			m.nodes, m.via = old.nodes, old.via
		}
		m.nodes[b.node], m.via[b.via] = true, true
		k.servers[one.name] = m
		switch {
		case old == nil || old.incarnation != one.incarnation || !slices.Equal(slices.Sorted(slices.Values(old.uris)), slices.Sorted(slices.Values(one.uris))):
			k.s.cfg.Log.Info("a media server is new or was started again: its older calls end, and Kazoo is asked which run", "source", k.s.Name(),
				"media_server", one.name, "switch", one.uris)
			k.s.work.Go(func() {
				for _, uri := range one.uris {
					if err := k.s.sink.UpOf(ctx, uri, one.incarnation, lease); err != nil && ctx.Err() == nil {
						k.s.sink.Refused("the switch was not taken", uri+": "+err.Error())
					}
				}
				k.s.tell(resyncSoon{})
			})
		case old.startup != one.startup: // Kazoo has connected to it anew, and may have missed something
			k.soon(now)
		}
	}
}

// silent ends the calls of the media servers that nobody has named for too long.
func (k *keeper) silent(ctx context.Context, now time.Time) {
	for name, m := range k.servers {
		if now.Before(m.until) {
			continue
		}
		delete(k.servers, name)
		k.s.cfg.Log.Warn("no heartbeat of Kazoo's names a media server any more: its calls end", "source", k.s.Name(), "media_server", name, "switch", m.uris)
		k.s.work.Go(func() {
			for _, uri := range m.uris {
				_ = k.s.sink.DownOf(ctx, uri)
				for ctx.Err() == nil {
					if _, err := k.s.sink.SwitchGone(ctx, uri, now); err == nil {
						break
					}
					wait(ctx, time.Second)
				}
			}
		})
	}
}

// postpone gives each media server its whole time again that is named over a broker.
func (k *keeper) postpone(broker int, now time.Time) {
	for _, m := range k.servers {
		if m.via[broker] {
			m.until = now.Add(defaultExpires + k.s.times.silent)
		}
	}
}

// named is the question which switches a name means: that of a zone, of a host, of a media server, or * for all.
type named struct {
	name string
	uris chan []string
}

// switchesNamed returns the switches that the Username of a reset of the realm * names.
func (s *Source) switchesNamed(ctx context.Context, name string) []string {
	if strings.HasPrefix(name, "sip:") {
		return []string{switchURI(name)}
	}
	q := named{name, make(chan []string, 1)}
	select {
	case s.heard <- q:
	case <-ctx.Done():
		return nil
	}
	select {
	case uris := <-q.uris:
		if len(uris) == 0 {
			s.sink.Refused(reasonReset, "no switch is known under the name "+name)
		}
		return uris
	case <-ctx.Done():
		return nil
	}
}

// find answers it.
func (k *keeper) find(name string) (uris []string) {
	host := func(node string) string { return node[strings.LastIndexByte(node, '@')+1:] }
	for _, m := range k.servers {
		hit := name == "*" || name == m.zone || name == m.name || name == host(m.name)
		for node := range m.nodes { // what this node of Kazoo's has told
			hit = hit || name == node || name == host(node)
		}
		if hit {
			uris = append(uris, m.uris...)
		}
	}
	return uris
}
