package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
	"lamplight/cluster/status"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
)

// oldestNATS is the oldest release of NATS servers that can keep a journal: it publishes atomic batches.
var oldestNATS = [2]int{2, 12}

// checkNATS connects to each NATS server, and looks at the journal and the nodes through one of them.
func (d *doctor) checkNATS() {
	urls := strings.Split(d.Nats, ",")
	if d.Nats == "embedded" {
		if d.node == 0 {
			d.note("nats", fine, "", "the embedded NATS server starts with the node")
			return
		}
		urls = []string{"nats://" + d.NatsListen}
	}
	var through *nats.Conn
	releases := map[string]bool{}
	for _, url := range urls {
		conn := d.connectTo(strings.TrimSpace(url))
		if conn == nil {
			continue
		}
		defer conn.Close()
		through = conn
		releases[conn.ConnectedServerVersion()] = true
	}
	if len(releases) > 1 {
		d.note("nats", warning, "bring all of them to the newest of these releases", "the NATS servers are of %d releases", len(releases))
	}
	if through != nil && d.checkJetStream(through) {
		d.checkJournal(through)
		d.checkNodes(through)
	}
}

// connectTo connects to one NATS server; nil: it can't.
func (d *doctor) connectTo(url string) *nats.Conn {
	o, shown := d.options(), client.Redacted(url)
	o.URL = url
	conn, err := client.Connect(o, "lamplight doctor", nats.Timeout(d.within))
	switch {
	case err != nil && d.Nats == "embedded" && errors.Is(err, nats.ErrAuthorization):
		d.note("nats", warning, "give the NATS user of a node in --nats, to have the journal and the nodes looked at", "the embedded NATS server wants a user of --nats-config")
		return nil
	case err != nil:
		what, do, _ := cutLast(err.Error(), "; ")
		d.note("nats", wrong, do, "%s", what)
		return nil
	}
	release := conn.ConnectedServerVersion()
	if old(release) {
		d.note("nats", wrong, fmt.Sprintf("run NATS %d.%d or newer there", oldestNATS[0], oldestNATS[1]), "%s has the release %s, which publishes no atomic batches", shown, release)
	} else {
		d.note("nats", fine, "", "%s answers, with the release %s", shown, release)
	}
	if err := client.CheckPayload(conn); err != nil {
		d.note("nats", wrong, fmt.Sprintf("raise max_payload of the server to %d at least", subject.MinPayload), "%s", err)
	}
	return conn
}

// cutLast cuts a text at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// old says whether a release of NATS can't keep a journal.
func old(release string) bool {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, e := strconv.Atoi(parts[1])
	return err == nil && e == nil && (major < oldestNATS[0] || major == oldestNATS[0] && minor < oldestNATS[1])
}

// checkJetStream says whether JetStream is on.
func (d *doctor) checkJetStream(conn *nats.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d.within)
	defer cancel()
	js, err := jetstream.New(conn)
	if err == nil {
		_, err = js.AccountInfo(ctx)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		d.note("nats", wrong, "give the server a jetstream block with a store_dir, as in deploy/nats.conf", "JetStream is off: %s", err)
	case errors.Is(err, context.DeadlineExceeded):
		d.note("nats", wrong, "see that more than half of the servers are up, and that the user may publish on $JS.API.INFO", "JetStream does not answer within %v", d.within)
	default:
		d.note("nats", wrong, "give the user the permissions of the user node in deploy/nats-users.conf", "JetStream does not answer: %s", err)
	}
	return false
}

// checkJournal looks at the streams of the journal.
func (d *doctor) checkJournal(conn *nats.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), d.within)
	defer cancel()
	all, err := journal.Streams(ctx, journal.Config{Conn: conn, Prefix: d.prefix()})
	if err != nil {
		do := "see that more than half of the NATS servers are up"
		if errors.Is(err, journal.ErrRestoring) {
			do = "run it again, to its end"
		}
		d.note("nats", wrong, do, "%s", err)
		return
	}
	if len(all) == 0 {
		d.note("nats", fine, "", "there is no journal yet: the first node makes it")
		return
	}
	for _, s := range all {
		d.findings = append(d.findings, streamFinding(s, conn.ConnectedClusterName() != ""))
	}
}

// streamFinding says how a stream of the journal is. clustered says that NATS is a cluster.
func streamFinding(s *jetstream.StreamInfo, clustered bool) finding {
	var away, behind []string
	if s.Cluster != nil {
		for _, r := range s.Cluster.Replicas {
			if r.Offline {
				away = append(away, r.Name)
			} else if !r.Current {
				behind = append(behind, r.Name)
			}
		}
	}
	found := fmt.Sprintf("the stream %s has %d messages in %s, in %d copies", s.Config.Name, s.State.Msgs, mib(s.State.Bytes), max(s.Config.Replicas, 1))
	switch {
	case clustered && s.Cluster != nil && s.Cluster.Leader == "":
		return finding{"nats", wrong, found + ", and no leader", "start the NATS servers that are down: more than half of the copies must be up"}
	case len(away) > 0:
		return finding{"nats", warning, found + "; no copy answers on " + strings.Join(away, ", "), "start these servers: the journal does not survive the loss of another one"}
	case len(behind) > 0:
		return finding{"nats", warning, found + "; behind are " + strings.Join(behind, ", "), "wait until they have caught up before you stop another server"}
	case clustered && s.Config.Replicas == 1:
		return finding{"nats", warning, found, "NATS is a cluster: save the journal with lamplight backup, and restore it with --replicas 3, so that the loss of a server loses nothing"}
	}
	return finding{"nats", fine, found, ""}
}

// checkNodes asks the nodes what they see, and compares their clocks.
func (d *doctor) checkNodes(conn *nats.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), d.within)
	defer cancel()
	asked := time.Now()
	all, err := client.New(client.Config{Conn: conn, Prefix: d.prefix()}).Status(ctx)
	switch {
	case errors.Is(err, client.ErrNoNode) && d.node == 0:
		d.note("nats", fine, "", "no node of this installation runs yet")
		return
	case err != nil:
		d.note("nats", warning, "see that the user may publish on lamplight.status", "no node answers the question for its state: %s", err)
		return
	}
	d.findings = append(d.findings, clocksApart(asked, time.Now(), all)...)
	o := status.Merge(nil, all, 0)
	if len(o.Unowned) > 0 {
		d.note("nats", wrong, "start the nodes that are down; lamplight cluster shows them", "%d shards have no owner", len(o.Unowned))
	}
	for _, text := range o.Disagreements {
		d.note("nats", warning, "lamplight cluster shows whether it is still so in some seconds", "%s", text)
	}
}

// checkGossip asks the nodes of --join over TCP and UDP.
func (d *doctor) checkGossip() {
	if len(d.Join) == 0 {
		d.note("gossip", fine, "", "the node joins no other one")
		return
	}
	host, _, _ := net.SplitHostPort(d.Gossip)
	routes := map[string]string{} // by node
	for _, peer := range d.Join {
		if d.own(peer) {
			continue
		}
		a, err := gossip.Ask(host, d.config.GossipKey, peer, d.within)
		d.findings = append(d.findings, peerFinding(peer, a, err))
		for _, m := range a.Members {
			if m.Route != "" && m.Name != d.Node {
				routes[m.Name] = m.Route
			}
		}
	}
	if d.NatsCluster == "" {
		return
	}
	for _, name := range sorted(routes) {
		conn, err := net.DialTimeout("tcp", routes[name], d.within)
		if err != nil {
			d.note("gossip", wrong, "let the firewalls pass TCP to that port: the embedded NATS servers replicate over it", "the node %s can't be reached at its --nats-cluster %s: %v", name, routes[name], err)
			continue
		}
		_ = conn.Close()
		d.note("gossip", fine, "", "the node %s is reached at its --nats-cluster %s", name, routes[name])
	}
}

// own says whether an address of --join is that of this node: its port, at an address of this machine.
func (d *doctor) own(peer string) bool {
	if peer == d.Gossip {
		return true
	}
	a, err := net.ResolveTCPAddr("tcp", peer)
	b, e := net.ResolveTCPAddr("tcp", d.Gossip)
	if err != nil || e != nil || a.Port != b.Port {
		return false
	}
	if b.IP != nil && !b.IP.IsUnspecified() {
		return b.IP.Equal(a.IP)
	}
	mine, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(mine, func(m net.Addr) bool { n, ok := m.(*net.IPNet); return ok && n.IP.Equal(a.IP) })
}

// peerFinding says what the answer of a peer means.
func peerFinding(peer string, a gossip.Answer, err error) finding {
	switch {
	case err != nil:
		return finding{"gossip", wrong, fmt.Sprintf("%s can't be asked: %v", peer, err), "see that the name in --join can be looked up"}
	case errors.Is(a.Stream, gossip.ErrNoConnection) && strings.Contains(a.Stream.Error(), "refused"):
		return finding{"gossip", warning, fmt.Sprintf("nobody listens at %s (TCP)", peer), "start the node there, unless it is yet to be started"}
	case errors.Is(a.Stream, gossip.ErrNoConnection):
		return finding{"gossip", wrong, fmt.Sprintf("%s can't be reached (TCP): %v", peer, a.Stream), "see that the machine is up, and that firewalls pass TCP and UDP to that port"}
	case errors.Is(a.Stream, gossip.ErrOtherKey):
		return finding{"gossip", wrong, fmt.Sprintf("the node at %s has another --gossip-key, or one of the two has none", peer), "give all nodes the same file"}
	case a.Stream != nil:
		return finding{"gossip", wrong, fmt.Sprintf("what listens at %s is no node: %v", peer, a.Stream), "give the gossip addresses of nodes in --join"}
	case a.Packet != nil:
		return finding{"gossip", wrong, fmt.Sprintf("the node at %s answers over TCP, and no UDP packet comes back", peer), "let the firewalls pass UDP to that port, and its answers"}
	}
	var names []string
	for _, m := range a.Members {
		names = append(names, m.Name)
	}
	return finding{"gossip", fine, fmt.Sprintf("the node at %s answers over TCP and UDP, with the same key, and sees %s", peer, strings.Join(names, ", ")), ""}
}
