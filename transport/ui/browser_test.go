package ui_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/tools/need"
	"lamplight/transport/access"
	"lamplight/transport/client"
)

const acme = "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"

// chromium returns the path of a browser, and needs what drives it.
func chromium(t *testing.T) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	need.Met(t, err == nil, "chromium: apt-get install chromium")
	_, err = exec.LookPath("node")
	need.Met(t, err == nil, "node: apt-get install nodejs")
	_, err = os.Stat("js/node_modules")
	need.Met(t, err == nil, "npm ci --prefix transport/ui/js")
	return browser
}

// A person uses the page in a real browser: logs in, sees a lamp light with a call, opens it, reads why, sets and resets it, and goes on after
// the node was killed. No rule of accessibility is broken, at three sizes, light and dark. LAMPLIGHT_SCREENSHOTS names a folder for pictures.
func TestPageInABrowser(t *testing.T) {
	browser := chromium(t)
	config := nodetest.Config("a", t.TempDir())
	config.HTTP = freeAddress(t)
	n := nodetest.Start(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if _, _, err := n.Directory().CreateAccount(ctx, map[string]any{"name": "Carrier", "realm": "carrier.example.com"}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Directory().Import(ctx, directory.Import{Accounts: []map[string]any{{"id": acme, "name": "Acme", "realm": "acme.example.com",
		"users":   []any{map[string]any{"username": "ada", "password": "s3cret", "first_name": "Ada", "last_name": "Lovelace", "presence_id": "1001"}},
		"devices": []any{map[string]any{"name": "Charles's desk phone", "presence_id": "1002"}, map[string]any{"name": "Parking slot 1", "presence_id": "*3101"}}}}}); err != nil {
		t.Fatal(err)
	}
	use := exec.CommandContext(ctx, "node", "js/page.cjs", "http://"+config.HTTP, os.Getenv("LAMPLIGHT_SCREENSHOTS"))
	use.Env = append(os.Environ(), "CHROMIUM="+browser)
	var said strings.Builder
	use.Stderr = &said
	wants, err := use.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := use.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := use.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	tell := func(topic, event string, fields client.Fields) {
		if err := client.New(client.Config{Conn: n.Conn(), App: "test", AppVersion: "1"}).Ask(ctx, topic, event, fields, func(client.Answer) error { return nil }); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
	for lines := bufio.NewScanner(wants); lines.Scan(); {
		answer := "done"
		switch words := strings.Fields(lines.Text()); words[0] {
		case "call":
			tell(subject.DialogUpdate("acme.example.com", "k1"), "dialog_update", client.Fields{"From": words[1] + "@acme.example.com", "To": "1009@acme.example.com", "Call-ID": "k1", "State": words[2]})
		case "watch":
			tell(subject.Subscription("acme.example.com", words[1]), "subscription", client.Fields{"User": words[1] + "@acme.example.com", "From": "1009@acme.example.com", "Call-ID": "w1",
				"Server-ID": "edge1", "Expires": 1800, "Contact": "<sip:1009@10.0.0.9:5060>"})
		case "kill":
			n.Kill()
		case "start":
			n = nodetest.Start(t, config)
		case "master":
			key, err := access.LoadOrCreateKey(config.TokenKey)
			if err == nil {
				answer, err = access.Sign(key, n.Directory().Master(), time.Hour)
			}
			if err != nil {
				t.Error(err)
			}
		case "done":
			done = true
		default:
			t.Errorf("the page's test wants %q", words)
		}
		if _, err := fmt.Fprintln(answers, answer); err != nil {
			break
		}
	}
	if err := use.Wait(); err != nil || !done {
		t.Errorf("%v\n%s", err, said.String())
	}
	t.Log(said.String())
}

// freeAddress returns an address that a node can have again after it was killed.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestFrames measures how smooth the page is: 5,000 lamps, 500 changes a second. It is no test: it runs only with LAMPLIGHT_MEASURE, and
// prints the longest frame.
func TestFrames(t *testing.T) {
	if os.Getenv("LAMPLIGHT_MEASURE") == "" {
		return
	}
	const lamps, rate, seconds = 5000, 500, 15
	browser := chromium(t)
	config := nodetest.Config("a", t.TempDir())
	n := nodetest.Start(t, config)
	var devices []any
	for i := range lamps {
		devices = append(devices, map[string]any{"name": fmt.Sprint("Phone ", i), "presence_id": fmt.Sprint(10000 + i)})
	}
	if _, err := n.Directory().Import(t.Context(), directory.Import{Accounts: []map[string]any{{"id": acme, "name": "Acme", "realm": "acme.example.com", "devices": devices}}}); err != nil {
		t.Fatal(err)
	}
	key, err := access.LoadOrCreateKey(config.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	token, err := access.Sign(key, acme, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var changing sync.WaitGroup
	defer changing.Wait()
	defer cancel()
	changing.Go(func() {
		c := client.New(client.Config{Conn: n.Conn(), App: "test", AppVersion: "1"})
		every := time.NewTicker(time.Second / rate)
		defer every.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			<-every.C
			lamp, round := i%lamps, i/lamps
			id := fmt.Sprint("k", lamp, "-", round/3)
			doc, _ := c.Document("dialog_update", client.Fields{"From": fmt.Sprint(10000+lamp, "@acme.example.com"), "To": "1@acme.example.com", "Call-ID": id,
				"State": []string{"early", "confirmed", "terminated"}[round%3]})
			_ = n.Conn().Publish(subject.DialogUpdate("acme.example.com", id), doc)
		}
	})
	measure := exec.CommandContext(ctx, "node", "js/frames.cjs", "http://"+n.Addr(node.HTTP), token, fmt.Sprint(lamps), fmt.Sprint(seconds))
	measure.Env = append(os.Environ(), "CHROMIUM="+browser)
	said, err := measure.CombinedOutput()
	t.Logf("%d lamps, %d changes a second:\n%s", lamps, rate, said)
	if err != nil {
		t.Error(err)
	}
}
