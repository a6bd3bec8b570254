package freeswitch

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lamplight/tools/need"
	"lamplight/transport/source/freeswitch/freeswitchtest"
)

// script runs a script of js, with further environment variables.
func script(t *testing.T, name string, env ...string) (in io.WriteCloser, out *bufio.Scanner) {
	t.Helper()
	path, err := exec.LookPath("node")
	need.Met(t, err == nil, "Node.js (Debian: nodejs)")
	_, err = os.Stat("js/node_modules")
	need.Met(t, err == nil, "the npm packages of transport/source/freeswitch/js (npm ci --prefix transport/source/freeswitch/js)")
	cmd := exec.Command(path, "--no-deprecation", "js/"+name)
	cmd.Env = append(append(os.Environ(), "PASSWORD="+freeswitchtest.Password), env...)
	cmd.Stderr = os.Stderr
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // ends the lines
	t.Cleanup(func() { late.Stop(); _ = in.Close(); _ = cmd.Wait() })
	return in, bufio.NewScanner(stdout)
}

// modesl, a client of others, finds that the switch of our tests speaks the event socket's protocol.
func TestModeslAsClient(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "plain"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			fs := freeswitchtest.Start(t)
			id := fs.Leg("outbound", "1001@"+acme, "1002")
			fs.State(id, "RINGING")
			_, out := script(t, "client.cjs", "SERVER="+fs.Addr(), "FORMAT="+format)
			wants := map[string]string{"refused": "-ERR invalid", "authenticated": "", "status": "UP 0 years", "channels": id, "sent": "+OK",
				"event HEARTBEAT": "", "event PRESENCE_IN": "333@" + acme, "event CHANNEL_CALLSTATE": `Ada \"x\" Lovelace`, "event CUSTOM": "sip:1001@10.0.0.9:5060"}
			for len(wants) > 0 && out.Scan() {
				var heard struct{ What, Name string }
				line := out.Text()
				if err := json.Unmarshal([]byte(line), &heard); err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				what := strings.TrimSpace(heard.What + " " + heard.Name)
				if want, ok := wants[what]; ok && strings.Contains(line, want) {
					delete(wants, what)
				}
				if what == "sent" {
					fs.State(id, "ACTIVE")
					fs.Register("1001", acme, "desk", 600)
				}
			}
			if len(wants) > 0 {
				t.Errorf("modesl did not hear %v", wants)
			}
		})
	}
}

// The bridge follows a switch whose half of the event socket is modesl's.
func TestModeslAsServer(t *testing.T) {
	t.Parallel()
	in, out := script(t, "server.cjs")
	if !out.Scan() {
		t.Fatal("modesl does not listen")
	}
	b := start(t, func(_ *freeswitchtest.Server, s *Source) { s.cfg.Address = "127.0.0.1:" + out.Text() })
	channel := func(state string, quiet bool) {
		t.Helper()
		line, err := json.Marshal(map[string]any{"quiet": quiet, "channel": freeswitchtest.Headers{"Unique-ID": "u-1", "Call-Direction": "outbound",
			"Channel-Presence-ID": "1001@" + acme, "Channel-Call-State": state, "Caller-Caller-ID-Name": "Zoë \"Z\"", "Caller-Caller-ID-Number": "1002"}})
		if err == nil {
			_, err = fmt.Fprintf(in, "%s\n", line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.ready()
	channel("RINGING", false)
	b.lamp("1001", rings)
	if d := b.view("1001").Dialogs; d[0].ToName != "Zoë \"Z\"" || d[0].CallID != "u-1" {
		t.Errorf("%+v", d)
	}
	channel("ACTIVE", true)
	fmt.Fprintln(in, `{"cut":true}`)
	b.lamp("1001", talks)
	channel("HANGUP", false)
	b.lamp("1001", dark)
	fmt.Fprintln(in, `{"fire":{"Event-Name":"MESSAGE_WAITING","MWI-Messages-Waiting":"yes","MWI-Message-Account":"1001@`+acme+`","MWI-Voice-Message":"2/1 (0/0)"}}`)
	b.lamp("*981001", talks)
	if up := b.told("lamplight.source.up.")[0].Fields; up["Incarnation"] != "b0a7c0de-0000-4000-8000-000000000001" {
		t.Errorf("%v", up)
	}
}
