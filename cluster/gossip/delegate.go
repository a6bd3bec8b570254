package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/hashicorp/memberlist"
)

// metadata is what a node says of itself to the others, as JSON of at most 512 bytes. Fields that a release does not
// know are ignored.
type metadata struct {
	Schema int    `json:"schema"` // the newest that the node can read
	Oldest int    `json:"oldest"` // the oldest that the node can read
	Prefix string `json:"prefix,omitzero"`
	Route  string `json:"route,omitzero"`
}

var errForeign = errors.New("not a node of this installation")

// readMetadata decodes a node's metadata and checks the route, which other nodes write to a file.
func readMetadata(b []byte) (d metadata, err error) {
	if len(b) > memberlist.MetaMaxSize {
		return d, errForeign
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%w: %w", errForeign, err)
	}
	if _, _, err := net.SplitHostPort(d.Route); d.Route != "" && (err != nil || strings.ContainsFunc(d.Route, unprintable)) {
		return d, fmt.Errorf("%w: its route is %.60q", errForeign, d.Route)
	}
	return d, nil
}

// unprintable says whether a character may not stand in a name or an address. A line break would begin another entry of
// the peers' file.
func unprintable(r rune) bool { return r <= 0x20 || r > 0x7e }

// NotifyJoin implements memberlist.EventDelegate.
func (m *Membership) NotifyJoin(n *memberlist.Node) { m.update(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (m *Membership) NotifyLeave(n *memberlist.Node) { m.update(n, false) }

// NotifyUpdate implements memberlist.EventDelegate.
func (m *Membership) NotifyUpdate(n *memberlist.Node) { m.update(n, true) }

// update copies what memberlist tells of a node, or removes the node when it is not there any more. memberlist's lock is
// held, so the node does not change meanwhile.
func (m *Membership) update(n *memberlist.Node, there bool) {
	d, err := readMetadata(n.Meta)
	m.mu.Lock()
	if delete(m.members, n.Name); there && err == nil {
		m.members[n.Name] = Member{Name: n.Name, Address: n.Address(), Route: d.Route, Schema: d.Schema}
	}
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// NotifyAlive implements memberlist.AliveDelegate: its error keeps a peer from being a member. It refuses nodes of
// another installation, nodes of a release too far away, and metadata that no node of ours sends. memberlist calls it for
// nodes that are members already, too, and for this node itself.
func (m *Membership) NotifyAlive(peer *memberlist.Node) error {
	d, err := readMetadata(peer.Meta)
	switch {
	case err != nil:
	case d.Prefix == askerPrefix:
		return fmt.Errorf("%w: it only asks", errForeign) // which is nothing to warn of
	case d.Prefix != m.cfg.Prefix:
		err = fmt.Errorf("%w: its --prefix is %.60q, this node's is %.60q", errForeign, d.Prefix, m.cfg.Prefix)
	case d.Schema < OldestSchema || d.Oldest > m.cfg.Schema:
		err = fmt.Errorf("%w: it reads schemas %d to %d, this release %d to %d: upgrade one release at a time",
			errForeign, d.Oldest, d.Schema, OldestSchema, m.cfg.Schema)
	case peer.Name == "" || len(peer.Name) > 128 || strings.ContainsFunc(peer.Name, unprintable):
		err = fmt.Errorf("%w: a node's name has 1 to 128 printable ASCII characters and no space", errForeign)
	}
	if err == nil && m.crowded(peer.Name) {
		err = fmt.Errorf("%w: without --gossip-key at most %d nodes are members", errForeign, maxKeyless)
	}
	if err != nil {
		m.cfg.Log.Warn("a peer on the gossip port is refused", "peer", fmt.Sprintf("%.60q", peer.Name), "address", peer.Address(), "err", err)
	}
	return err
}

// maxKeyless is the number of members without a key. Gossip without a key listens on loopback only, where any local program can
// pretend to be any number of nodes, all of which memberlist would remember and probe.
const maxKeyless = 64

// crowded says whether a peer that is no member is one too many.
func (m *Membership) crowded(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.members[name]
	return m.cfg.Key == nil && !known && len(m.members) >= maxKeyless
}

// NotifyConflict implements memberlist.ConflictDelegate. The lease under the name decides which of the two nodes goes
// on: the other one refuses to start (docs/contract/journal.md, rule 1).
func (m *Membership) NotifyConflict(existing, other *memberlist.Node) {
	m.cfg.Log.Error("two nodes have the same name; start one of them with another --node", "node", existing.Name, "at", existing.Address(), "and", other.Address())
}

// NodeMeta implements memberlist.Delegate.
func (m *Membership) NodeMeta(int) []byte { return m.meta }

// NotifyMsg implements memberlist.Delegate: nodes send each other no messages by gossip.
func (m *Membership) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (m *Membership) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (m *Membership) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (m *Membership) MergeRemoteState([]byte, bool) {}

// gossipLog writes memberlist's log lines to ours. Its errors become warnings, because gossip goes on after them; all
// else becomes debug lines.
type gossipLog struct{ log *slog.Logger }

// Write takes one line.
func (g gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	switch {
	case strings.Contains(text, "Conflicting address"): // NotifyConflict logs it
	case strings.Contains(text, "[ERR]") && strings.Contains(text, "crypt"):
		g.log.Warn(text + "; is --gossip-key the same on all nodes?")
	case strings.Contains(text, "[ERR]"):
		g.log.Warn(text)
	default:
		g.log.Debug(text)
	}
	return len(line), nil
}
