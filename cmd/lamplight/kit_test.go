package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors/presence"
	"lamplight/cluster/subject"
	"lamplight/transport/client"
	"lamplight/transport/kazoo"
)

// The account of docs/examples/acme.json.
const (
	account = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"
	realm   = "acme.example.com"
)

// binary is the path of the built lamplight.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv("LAMPLIGHT_TEST_NATS") != "" {
		if err := natsClient(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if binary = os.Getenv("LAMPLIGHT_TEST_BINARY"); binary != "" { // a test that started itself again has one
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "lamplight")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "lamplight")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running `lamplight serve`, and the test's connection to its NATS server.
type process struct {
	t          *testing.T
	cmd        *exec.Cmd
	data       string
	http, nats string
	stdout     transcript
	stderr     transcript
	conn       *nats.Conn
	token      string
	ready      chan listening
	heard      *tap // what went over NATS since the sample was loaded
}

// listening is where a node prints that it listens.
type listening struct{ http, nats string }

// serve starts a node and waits until it is ready.
func serve(t *testing.T, data string, flags ...string) *process {
	t.Helper()
	p := start(t, data, flags...)
	p.await()
	return p
}

// serveWatched starts a node with the sample accounts and one watcher of the extension 1001 behind edge1. It returns the node, the
// edge's messages, and the first of them.
func serveWatched(t *testing.T) (p *process, messages *nats.Subscription, first notify) {
	t.Helper()
	p = serve(t, t.TempDir())
	p.sample()
	messages = p.edge("edge1")
	p.subscribe("1001", subscription("c1"))
	return p, messages, p.next(messages)
}

// start is serve without waiting until the node is ready.
func start(t *testing.T, data string, flags ...string) *process {
	t.Helper()
	return startWith(t, nil, data, flags...)
}

// startWith is start for a node whose command line stands behind another command, such as prlimit, which must run it in its own
// process.
func startWith(t *testing.T, before []string, data string, flags ...string) *process {
	t.Helper()
	p := &process{t: t, data: data, ready: make(chan listening, 1)}
	line := slices.Concat(before, []string{binary, "serve", "--drain-grace", "0", "--data", data, "--http", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--gossip", "127.0.0.1:0", "--node", "box"}, flags)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	for i, f := range flags {
		if f == "--nats" {
			p.nats = flags[i+1]
		}
	}
	go func() {
		s := bufio.NewScanner(out)
		var l listening
		for s.Scan() {
			line := s.Text()
			_, _ = p.stdout.Write([]byte(line + "\n"))
			if a, ok := strings.CutPrefix(line, "http listening on "); ok {
				l.http = "http://" + a
			}
			if a, ok := strings.CutPrefix(line, "nats listening on "); ok {
				l.nats = "nats://" + a
			}
			if strings.Contains(line, "is ready") {
				p.ready <- l
			}
		}
		close(p.ready)
	}()
	return p
}

// await waits until the node is ready.
func (p *process) await(o ...nats.Option) {
	p.t.Helper()
	select {
	case l, ok := <-p.ready:
		if !ok {
			_ = p.cmd.Wait()
			p.t.Fatalf("serve ended: %s", p.stderr.String())
		}
		p.http = l.http
		if l.nats != "" {
			p.nats = l.nats
		}
	case <-time.After(60 * time.Second):
		p.t.Fatalf("serve is not ready: %s", p.stderr.String())
	}
	var err error
	if p.conn, err = nats.Connect(p.nats, o...); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.conn.Close)
}

// lamplight runs a command, which must succeed, and returns what it printed.
func (p *process) lamplight(args ...string) string {
	p.t.Helper()
	var stderr bytes.Buffer
	c := exec.Command(binary, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		p.t.Fatalf("lamplight %v: %v: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// sample loads the sample accounts and makes a token. From then on the documents that go over NATS are checked.
func (p *process) sample() {
	p.lamplight("import", "../../docs/examples/acme.json", "--nats", p.nats)
	p.token = p.lamplight("token", "--account", account, "--data", p.data)
	if !strings.Contains(p.nats, "@") { // users may not hear everything
		p.heard = listen(p.t, p.nats)
	}
}

// answer is an answer of the HTTP API.
type answer struct {
	Data    json.RawMessage `json:"data"`
	Status  string          `json:"status"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
	Stale   bool            `json:"stale"`
	Report  string          `json:"report_id"`
	By      string          `json:"by"` // of a report, which has no envelope
}

// shell runs a documented line in a shell, with its placeholders filled in.
func (p *process) shell(line string) (a answer) {
	p.t.Helper()
	line = strings.NewReplacer("{SERVER}:8000", strings.TrimPrefix(p.http, "http://"), "BASE", p.http+"/v2/accounts/"+account, "{AUTH_TOKEN}", p.token,
		"{EXTENSION}", "*3101", "{DEVICE_ID}", "d1000000000000000000000000001001", "{USER_ID}", "a1000000000000000000000000001002",
		"{PRESENCE_STATE}", "confirmed").Replace(line)
	out, err := exec.Command("sh", "-c", line).Output()
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		p.t.Fatalf("%s: %v in %s", line, err, out)
	}
	return a
}

// get returns the data of a path of the account, which must be answered with success.
func (p *process) get(path string) map[string]any {
	p.t.Helper()
	a := p.shell(`curl -s -g -H "X-Auth-Token: {AUTH_TOKEN}" 'BASE` + path + `'`)
	if a.Status != "success" {
		p.t.Fatalf("GET %s: %s %s %s", path, a.Error, a.Message, a.Data)
	}
	var m map[string]any
	if err := json.Unmarshal(a.Data, &m); err != nil {
		p.t.Fatalf("GET %s: %v in %s", path, err, a.Data)
	}
	return m
}

// send sends a document as a request, which must be acknowledged, and returns the answer.
func (p *process) send(topic, event string, fields map[string]any) map[string]any {
	p.t.Helper()
	a := p.request(topic, event, fields)
	if a["Status"] != "ok" || a["Event-Name"] != event+"_ack" {
		p.t.Fatalf("%s %v: %v", topic, fields, a)
	}
	return a
}

// document encodes a document with the fields that every document has.
func document(event string, fields map[string]any) []byte {
	b, err := client.New(client.Config{App: "test", AppVersion: "1"}).Document(event, fields)
	if err != nil {
		panic(err)
	}
	return b
}

// subscribe sends a subscription to an extension of the realm.
func (p *process) subscribe(user string, doc map[string]any) {
	p.t.Helper()
	p.send(subject.Subscription(realm, user), "subscription", doc)
}

// set sets the manual state of an extension of the realm.
func (p *process) set(user, state string) {
	p.t.Helper()
	p.send(subject.Set(realm, user), "set", map[string]any{"Realm": realm, "Username": user, "State": state})
}

// request sends a document as a request and returns the answer, whatever it is.
func (p *process) request(topic, event string, fields map[string]any) map[string]any {
	p.t.Helper()
	m, err := p.conn.Request(topic, document(event, fields), 12*time.Second)
	if err != nil {
		p.t.Fatalf("%s: %v", topic, err)
	}
	var a map[string]any
	if err := json.Unmarshal(m.Data, &a); err != nil {
		p.t.Fatalf("%s: %v in %s", topic, err, m.Data)
	}
	return a
}

// publish publishes a document that nobody answers.
func (p *process) publish(topic string, doc any) {
	p.t.Helper()
	b, _ := json.Marshal(doc)
	if err := p.conn.Publish(topic, b); err != nil {
		p.t.Fatal(err)
	}
	_ = p.conn.Flush()
}

// edge listens to the NOTIFY messages for an edge.
func (p *process) edge(name string) *nats.Subscription {
	p.t.Helper()
	s, err := p.conn.SubscribeSync(subject.Notify(name))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.conn.Flush(); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// notify is a NOTIFY message.
type notify struct {
	Node, Incarnation string
	Presentity        string
	State, Body       string
	Sequence          int
	EdgeSeq           int    `json:"Edge-Seq"`
	Package           string `json:"Event-Package"`
	Targets           []map[string]any
}

// next returns the next NOTIFY message.
func (p *process) next(s *nats.Subscription) (n notify) {
	p.t.Helper()
	m, err := s.NextMsg(10 * time.Second)
	if err != nil {
		p.t.Fatalf("no NOTIFY: %v", err)
	}
	if err := json.Unmarshal(m.Data, &n); err != nil {
		p.t.Fatalf("%v in %s", err, m.Data)
	}
	return n
}

// reply tells the node how the watchers of a NOTIFY message answered. code returns the SIP status code by Call-ID; 0: the watcher
// does not answer. It may be called from any goroutine.
func (p *process) reply(m *nats.Msg, code func(callID string) int) {
	n, err := kazoo.ReadNotify(m.Data)
	if err != nil {
		p.t.Error(err)
		return
	}
	var replies []kazoo.Reply
	for _, target := range n.Targets {
		if c := code(target.CallID); c != 0 {
			replies = append(replies, kazoo.Reply{Presentity: n.Presentity, Package: presence.Dialog, CallID: target.CallID, Sequence: uint32(n.Sequence), Code: c})
		}
	}
	_ = p.conn.Publish(subject.Notified(n.Node, "edge1"), kazoo.AppendNotified(nil, "edge1", replies))
}

// subject1001 is where subscriptions to the extension 1001 go. It is written out for the tests that hold the contract to the letter.
const subject1001 = "omnipresence.subscribe.acme%2Eexample%2Ecom.1001"

// subscription returns the fields of a subscription to the extension 1001.
func subscription(callID string) map[string]any {
	return map[string]any{"User": "sip:1001@" + realm, "Expires": "1800", "From": "sip:1002@" + realm, "Call-ID": callID,
		"Server-ID": "edge1", "Contact": "<sip:1002@10.0.0.9:5060;c=" + callID + ">", "Event-Package": "dialog"}
}

// eventually waits until done returns true, and fails the test after some time.
func eventually(t *testing.T, what string, within time.Duration, done func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// fails wants a command to fail with an error that says want.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := exec.Command(binary, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("lamplight %v: %v, want an error that says %q:\n%s", args, err, want, out)
	}
}

// transcript is what a process has written so far.
type transcript struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(b)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
