package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"lamplight/cluster/status"
	"lamplight/cluster/subject"
)

// violations is a log for NATS servers. It keeps the lines about users who do what they are not permitted to.
type violations struct {
	mu    sync.Mutex
	all   []string
	other []string // the other lines, for when the test fails
}

func (v *violations) add(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	v.mu.Lock()
	defer v.mu.Unlock()
	if strings.Contains(strings.ToLower(line), "violation") {
		v.all = append(v.all, line)
	} else if len(v.other) < 1000 {
		v.other = append(v.other, time.Now().Format("15:04:05.000 ")+line)
	}
}

// logOthers logs the other lines of the servers, if the test failed.
func (v *violations) logOthers(t *testing.T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t.Failed() {
		t.Logf("the servers' warnings:\n%s", strings.Join(v.other, "\n"))
	}
}

// none wants that there has been no violation.
func (v *violations) none(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, line := range v.all {
		t.Errorf("a permission is missing: %s", line)
	}
}

func (v *violations) Noticef(string, ...any)    {}
func (v *violations) Warnf(f string, a ...any)  { v.add(f, a...) }
func (v *violations) Errorf(f string, a ...any) { v.add(f, a...) }
func (v *violations) Fatalf(f string, a ...any) { v.add(f, a...) }
func (v *violations) Debugf(string, ...any)     {}
func (v *violations) Tracef(string, ...any)     {}

// deployed starts a NATS server with a configuration file of deploy/. Only addresses and directories are replaced.
func deployed(t *testing.T, seen *violations, name string, replace ...string) *server.Server {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{name, "nats-users.conf"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer(append([]string{`"/var/lib/nats"`, `"` + t.TempDir() + `"`}, replace...)...).Replace(string(text))
		if err := os.WriteFile(filepath.Join(dir, file), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := server.ProcessConfigFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetLoggerV2(seen, false, false, false)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// as returns the URLs of servers for a user of deploy/nats-users.conf.
func as(user, password string, servers ...*server.Server) string {
	urls := make([]string, len(servers))
	for i, s := range servers {
		urls[i] = "nats://" + user + ":" + password + "@" + s.Addr().String()
	}
	return strings.Join(urls, ",")
}

// controlClient opens a connection for a user, with inboxes of its own. The channel receives what NATS refuses it.
func controlClient(t *testing.T, url, inbox string) (*nats.Conn, chan string) {
	t.Helper()
	refused := make(chan string, 64)
	c, err := nats.Connect(url, nats.CustomInboxPrefix(inbox), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err.Error() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, refused
}

// mayNot wants NATS to refuse that a user does something with subjects: publishes to them, or listens on them.
func mayNot(t *testing.T, who string, refused chan string, verb string, do func(subject string) error, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if err := do(subject); err != nil {
			t.Fatal(err)
		}
		select {
		case why := <-refused:
			if !strings.Contains(strings.ToLower(why), "permissions violation") || !strings.Contains(why, subject) {
				t.Errorf("%s, to %s %s: %s", who, verb, subject, why)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s may %s %s", who, verb, subject)
		}
	}
}

// many is a number of subscriptions whose listing comes in parts.
const many = 300

// With the permissions of deploy/nats-users.conf, on three NATS servers with deploy/nats-cluster.conf, nodes, an edge and a control
// client can do everything that they must do, and nothing else.
func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	addresses := ports(t, 6)
	var seen violations
	t.Cleanup(func() { seen.logOthers(t) })
	var servers []*server.Server
	for i := range 3 {
		servers = append(servers, deployed(t, &seen, "nats-cluster.conf", "$NATS_NAME", fmt.Sprintf("nats-%d", i+1),
			"0.0.0.0:4222", addresses[i], "0.0.0.0:6222", addresses[3+i],
			"nats-1:6222", addresses[3], "nats-2:6222", addresses[4], "nats-3:6222", addresses[5]))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(30 * time.Second) {
			t.Fatal("NATS did not start")
		}
	}
	url := as("node", "change-me-node", servers...)
	gossip := ports(t, 2)
	var nodes []*process
	for i, name := range []string{"a", "b"} {
		p := start(t, t.TempDir(), "--node", name, "--nats", url, "--gossip", gossip[i], "--join", strings.Join(gossip, ","))
		p.await()
		nodes = append(nodes, p)
	}
	a, b := nodes[0], nodes[1]
	a.sample()
	eventually(t, "both nodes hold shards", 30*time.Second, func() bool {
		o, code := overview(t, url)
		return code == 0 && nodeOf(o, "a").Shards > 0 && nodeOf(o, "b").Shards > 0 && len(o.Disagreements) == 0
	})

	edge, edgeRefused := controlClient(t, as("edge1", "change-me-edge", servers...), "_INBOX_edge1")
	a.conn.Close() // from here on the documents come from an edge
	a.conn = edge
	notifies := a.edge("edge1")
	if _, err := edge.QueueSubscribeSync(subject.Notify(subject.AnyEdge), subject.Queue); err != nil {
		t.Fatal(err)
	}
	a.send(subject1001, "subscription", subscription("c1"))
	if n := a.next(notifies); n.State != "terminated" || n.EdgeSeq != 1 {
		t.Errorf("the first NOTIFY: %+v", n)
	}
	a.send("presence.dialog.acme%2Eexample%2Ecom.k1", "dialog_update", map[string]any{"From": "1001@" + realm, "To": "x@" + realm, "State": "early"})
	if n := a.next(notifies); n.State != "early" {
		t.Errorf("a call's NOTIFY: %+v", n)
	}
	for i := range many {
		doc := subscription(fmt.Sprintf("many-%d", i))
		doc["User"], doc["From"] = fmt.Sprintf("%d@%s", 5000+i, realm), strings.Repeat("x", 1000)+"@"+realm
		eventually(t, "a subscription is taken", 60*time.Second, func() bool { // a bridge repeats what was answered 503
			return a.request("presence.subscriptions.acme%2Eexample%2Ecom", "subscription", doc)["Status"] == "ok"
		})
	}
	a.send("presence.update.acme%2Eexample%2Ecom.k2", "update", map[string]any{"Presence-ID": "1002@" + realm, "State": "confirmed", "From": "1002@" + realm, "To": "x@" + realm})
	a.send("presence.mwi_updates.acme%2Eexample%2Ecom.1003", "mwi_update", map[string]any{"To": "1003@" + realm, "Messages-New": 1, "Messages-Saved": 0})
	a.send("presence.publications.acme%2Eexample%2Ecom.1003", "publication", map[string]any{"Username": "1003", "Realm": realm, "Publisher": "edge1", "Expires": 60,
		"Content-Type": "application/dialog-info+xml", "Body": `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:1003@` + realm + `"/>`})
	a.publish("omnipresence.notify.acme%2Eexample%2Ecom.1001", map[string]any{"Event-Name": "notify", "Call-ID": "c1"})
	a.publish("lamplight.edge.up.edge1", map[string]any{"Edge": "edge1", "Incarnation": "e1", "Seen": map[string]int{}})
	a.publish("lamplight.notified.b.edge1", map[string]any{"Edge": "edge1", "Replies": []any{}})
	for _, topic := range []string{"lamplight.credentials.acme%2Eexample%2Ecom.1001", "lamplight.edge.secret"} {
		if m, err := edge.Request(topic, nil, 10*time.Second); err != nil || !strings.Contains(string(m.Data), "_resp") {
			t.Errorf("%s: %v", topic, err)
		}
	}
	if got := a.request("presence.probes.dialog", "probe", map[string]any{"Username": "1001", "Realm": realm, "Event-Package": "dialog"}); got["State"] != "early" {
		t.Errorf("a probe: %v", got)
	}

	control := []string{"--nats", as("control", "change-me-control", servers...), "--nats-inbox", "_INBOX_control"}
	at := func(args ...string) string { return a.lamplight(append(append(args, "--realm", realm), control...)...) }
	if list := at("presence", "list", "-o", "json"); strings.Count(list, "many-") < many { // comes in parts
		t.Errorf("a listing over both nodes has %d of %d", strings.Count(list, "many-"), many)
	}
	at("presence", "set", "1004", "confirmed")
	if show := at("presence", "show", "1004", "--explain"); !strings.Contains(show, "confirmed") {
		t.Errorf("shown: %s", show)
	}
	at("presence", "reset", "1004")
	reset := a.shell(`curl -s -g -X POST -H "X-Auth-Token: {AUTH_TOKEN}" 'BASE/presence/1004'`)
	if key := a.shell(`curl -s -g -X PUT -H "X-Auth-Token: {AUTH_TOKEN}" BASE/api_key`); key.Status != "success" { // the audit is told
		t.Errorf("a new API key: %+v", key)
	}
	if report := a.shell(`curl -s -g -H "X-Auth-Token: {AUTH_TOKEN}" 'BASE/presence/report-` + reset.Report + `'`); report.By == "" {
		t.Errorf("the report %q of a reset: %+v", reset.Report, report)
	}
	at("presence", "reset", "--all", "--yes")
	for _, flags := range [][]string{control, {"--nats", url}} {
		if table := a.lamplight(append([]string{"cluster"}, flags...)...); !strings.Contains(table, "serving") {
			t.Errorf("lamplight cluster: %s", table)
		}
	}
	if table := a.lamplight("watchers", "--nats", url); !strings.Contains(table, "EDGE") {
		t.Errorf("lamplight watchers: %s", table)
	}
	if table := a.lamplight("top", "--interval", "10ms", "--nats", url); !strings.Contains(table, realm) {
		t.Errorf("lamplight top: %s", table)
	}
	watch, controlRefused := controlClient(t, control[1], control[3])
	lamps, err := watch.SubscribeSync("lamplight.state.acme%2Eexample%2Ecom.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Flush(); err != nil {
		t.Fatal(err)
	}
	at("presence", "set", "1005", "early")
	if _, err := lamps.NextMsg(10 * time.Second); err != nil {
		t.Errorf("the state feed: %v", err)
	}
	file := filepath.Join(t.TempDir(), "lamplight.backup")
	a.lamplight("backup", file, "--nats", url)

	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	eventually(t, "a serves all", 60*time.Second, func() bool {
		o, code := overview(t, url)
		return code == 0 && nodeOf(o, "b").State == status.Expelled && nodeOf(o, "a").Open == 1024
	})
	if m := a.get("/presence/1005"); m["state"] != "early" {
		t.Errorf("after the takeover: %v", m)
	}
	seen.none(t)
	for _, p := range nodes {
		if text := strings.ToLower(p.stderr.String()); strings.Contains(text, "violation") {
			t.Errorf("a node lacks permissions: %s", text)
		}
	}
	if len(edgeRefused)+len(controlRefused) > 0 {
		t.Errorf("refused: %d times an edge, %d times a control client", len(edgeRefused), len(controlRefused))
	}

	publishBy := func(c *nats.Conn) func(string) error {
		return func(subject string) error { return c.Publish(subject, []byte(`{}`)) }
	}
	listenBy := func(c *nats.Conn) func(string) error {
		return func(subject string) error { _, err := c.SubscribeSync(subject); return err }
	}
	mayNot(t, "an edge", edgeRefused, "publish to", publishBy(edge), "lamplight.edge.up.edge2", "lamplight.notified.a.edge2", "presence.reset.acme%2Eexample%2Ecom.%2A",
		"presence.set.acme%2Eexample%2Ecom.1001", "presence.search_req.acme%2Eexample%2Ecom", "lamplight.notify.edge1", "lamplight.state.acme%2Eexample%2Ecom.1001",
		"lamplight.journal.0.17.claim", "lamplight.claims.0", "lamplight.node.a", "lamplight.answers.a.0", "lamplight.status", "lamplight.detail", "lamplight.log_level", "lamplight.reports.4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10", "lamplight.audit.account.x", "$SRV.PING", "$KV.lamplight_directory.key.x",
		"$JS.API.STREAM.NAMES", "$JS.API.DIRECT.GET.LAMPLIGHT_JOURNAL_0", "_INBOX.x")
	mayNot(t, "an edge", edgeRefused, "listen on", listenBy(edge), ">", "lamplight.credentials.*.*", "lamplight.edge.secret", "lamplight.notify.edge2", "lamplight.notify.*", "lamplight.notify.any", "presence.dialog.*.*", "lamplight.journal.>", "lamplight.node.a",
		"lamplight.state.>", "_INBOX.>", "_INBOX_control.>", "$KV.>")
	mayNot(t, "an edge", edgeRefused, "listen in another queue group on", func(topic string) error { _, err := edge.QueueSubscribeSync(topic, "other"); return err }, "lamplight.notify.any")
	mayNot(t, "a control client", controlRefused, "publish to", publishBy(watch), "presence.set.other%2Eexample%2Ecom.1001", "presence.reset.other%2Eexample%2Ecom.%2A", "presence.probes.dialog",
		subject1001, "presence.dialog.acme%2Eexample%2Ecom.k1", "lamplight.edge.up.edge1", "lamplight.journal.0.17.claim", "lamplight.node.a", "lamplight.notify.edge1", "$SRV.PING",
		"lamplight.credentials.acme%2Eexample%2Ecom.1001", "lamplight.edge.secret", "lamplight.log_level", "lamplight.detail",
		"$KV.lamplight_directory.key.x", "$JS.API.STREAM.NAMES")
	mayNot(t, "a control client", controlRefused, "listen on", listenBy(watch), ">", "lamplight.state.*.*", "lamplight.notify.edge1", "_INBOX.>", "_INBOX_edge1.>", "presence.>", "lamplight.journal.>")
	node, nodeRefused := controlClient(t, url, "_INBOX")
	mayNot(t, "a node", nodeRefused, "publish to", publishBy(node), "$JS.API.STREAM.DELETE.LAMPLIGHT_JOURNAL_0", "$JS.API.STREAM.PURGE.LAMPLIGHT_JOURNAL_0", "$JS.API.STREAM.MSG.DELETE.LAMPLIGHT_JOURNAL_0",
		"$JS.API.STREAM.UPDATE.LAMPLIGHT_JOURNAL_0", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.DIRECT.GET.OTHER", "$KV.other.x", "presence.dialog.acme%2Eexample%2Ecom.k1", subject1001,
		"lamplight.edge.up.edge1", "orders.new")
	mayNot(t, "a node", nodeRefused, "listen on", listenBy(node), ">", "_INBOX_edge1.>", "_INBOX_control.>", "orders.>")

	t.Run("one server, and a restore", func(t *testing.T) { restoreWith(t, file) })
}

// restoreWith restores a backup on one server with deploy/nats.conf, with the permissions for a restore that stand there as
// comments.
func restoreWith(t *testing.T, file string) {
	var seen violations
	s := deployed(t, &seen, "nats.conf", "127.0.0.1:4222", "127.0.0.1:-1", `# "$JS`, `"$JS`)
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS did not start")
	}
	url := as("node", "change-me-node", s)
	p := start(t, t.TempDir(), "--nats", url, "--await-restore")
	for again := range 2 { // a second one is refused, by lamplight and not by NATS
		if again == 0 {
			p.lamplight("restore", file, "--nats", url)
			p.await()
		} else {
			fails(t, "node box serves", "restore", file, "--nats", url)
		}
	}
	list := p.lamplight("presence", "list", "--realm", realm, "-o", "json", "--nats", as("control", "change-me-control", s), "--nats-inbox", "_INBOX_control")
	if n := strings.Count(list, "many-"); n < many {
		t.Errorf("%d of %d subscriptions are back", n, many)
	}
	seen.none(t)
}

// --nats-inbox must be subject tokens without wildcards, below which nodes answer.
func TestInboxFlag(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a b", "a.*", ">", "$JS", "a..b", ".a", "inbox", "lamplight.journal", "_INBOXES", "_INBOX."} {
		fails(t, "--nats-inbox", "presence", "list", "--realm", realm, "--nats-inbox", bad)
	}
}
