package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/client"
)

// stop ends the node of the examples, if one of them has started it.
var stop = func() {}

// theNode is the node of all examples. Programs of others have a connection of client.Connect, and an address and a token for REST.
var theNode = sync.OnceValue(func() nodetest.Sampled {
	s := nodetest.Sample()
	stop = s.Close
	return s
})

func TestMain(m *testing.M) {
	code := m.Run()
	stop()
	os.Exit(code)
}

// A bridge or an edge sends a phone's subscription until the node has made it durable.
func ExampleSender() {
	conn := theNode().Conn                                                   // elsewhere: client.Connect
	ctx, cancel := context.WithTimeout(context.Background(), 32*time.Second) // as long as a phone waits for the answer
	defer cancel()

	sender := client.NewSender(conn, "")
	if err := sender.Start(ctx); err != nil {
		fmt.Println(err)
	}
	defer func() { _ = sender.Stop(ctx) }()

	c := client.New(client.Config{Conn: conn, App: "example", AppVersion: "1"})
	doc, _ := c.Document("subscription", client.Fields{"User": "1001@acme.example.com", "From": "1002@acme.example.com",
		"Call-ID": "call-1@10.0.0.9", "Event-Package": "dialog", "Server-ID": "edge1", "Expires": 1800})
	fmt.Println(sender.Send(ctx, subject.Subscription("acme.example.com", "1001"), doc))

	wrong, _ := c.Document("subscription", client.Fields{"User": "1001@acme.example.com"})
	fmt.Println(sender.Send(ctx, subject.Subscription("acme.example.com", "1001"), wrong))
	// Output:
	// <nil>
	// validation error: User or Expires is missing
}

// A bridge tells of a call, and hears what was wrong with its document.
func ExampleClient_Ask() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: theNode().Conn, App: "example", AppVersion: "1"})
	tell := func(realm, state string) error {
		return c.Ask(ctx, subject.DialogUpdate(realm, "k-1"), "dialog_update", client.Fields{"From": "1003@" + realm, "To": "2125550100@" + realm,
			"Call-ID": "k-1", "Direction": "recipient", "State": state}, func(a client.Answer) error {
			fmt.Println(a.Text("Event-Name"), a.Text("Status"))
			return nil
		})
	}
	fmt.Println(tell("acme.example.com", "early"), tell("acme.example.com", "terminated"))
	err := tell("nowhere.example.com", "early")
	var refused *client.Refusal
	fmt.Println(errors.As(err, &refused), refused.Code, refused.Details)
	// Output:
	// dialog_update_ack ok
	// dialog_update_ack ok
	// <nil> <nil>
	// true 404 no account has the realm nowhere.example.com
}

// A control program sets the manual state of an extension and reads it back.
func ExampleClient_Set() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: theNode().Conn, App: "example", AppVersion: "1"})
	if _, err := c.Set(ctx, "acme.example.com", "*3101", "confirmed"); err != nil {
		fmt.Println(err)
	}
	err := c.Show(ctx, "acme.example.com", "*3101", false, func(a client.Answer) error {
		fmt.Println(a.Text("extension"), "is", a.Text("state"))
		return nil
	})
	fmt.Println(err)
	_, err = c.Reset(ctx, "acme.example.com", "*3101")
	fmt.Println(err)
	// Output:
	// *3101 is confirmed
	// <nil>
	// <nil>
}

// An operator's program asks why a lamp is lit. The findings are sentences for people.
func ExampleClient_Show() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: theNode().Conn, App: "example", AppVersion: "1"})
	if _, err := c.Set(ctx, "acme.example.com", "*3102", "early"); err != nil {
		fmt.Println(err)
	}
	err := c.Show(ctx, "acme.example.com", "*3102", true, func(a client.Answer) error {
		var explain struct {
			Findings []struct {
				Kind string `json:"kind"`
				Text string `json:"text"`
			} `json:"findings"`
		}
		if err := json.Unmarshal(a["explain"], &explain); err != nil {
			return err
		}
		for _, f := range explain.Findings {
			fmt.Println(f.Kind)
		}
		return nil
	})
	fmt.Println(err)
	_, err = c.Reset(ctx, "acme.example.com", "*3102")
	fmt.Println(err)
	// Output:
	// manual_state
	// no_watchers
	// <nil>
	// <nil>
}

// A program lists the lamps that are lit by hand.
func ExampleClient_Lamps() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: theNode().Conn, App: "example", AppVersion: "1"})
	if _, err := c.Set(ctx, "acme.example.com", "*3103", "confirmed"); err != nil {
		fmt.Println(err)
	}
	err := c.Lamps(ctx, "acme.example.com", client.Lit{Source: "manual"}, func(a client.Answer) error {
		var lamps map[string]struct {
			State string `json:"state"`
		}
		err := json.Unmarshal(a["Lamps"], &lamps)
		fmt.Println(lamps)
		return err
	})
	fmt.Println(err)
	_, err = c.Reset(ctx, "acme.example.com", "*3103")
	fmt.Println(err)
	// Output:
	// map[*3103:{confirmed}]
	// <nil>
	// <nil>
}

// A program watches the lamps of a realm and stops at the first change.
func ExampleClient_Watch() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: theNode().Conn, App: "example", AppVersion: "1"})
	ready := func() { // changes arrive from now on
		if _, err := c.Set(ctx, "acme.example.com", "1001", "early"); err != nil {
			fmt.Println(err)
		}
	}
	err := c.Watch(ctx, "acme.example.com", "1001", client.Watcher{Ready: ready, Change: func(change client.Change) error {
		fmt.Println(change.Extension, change.Previous, "->", change.State)
		cancel()
		return nil
	}})
	fmt.Println(err)
	// Output:
	// 1001 terminated -> early
	// <nil>
}

// A program uses the HTTP API: it sets a lamp, reads it, and is refused another account.
func ExampleREST() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	rest := theNode().REST // elsewhere: client.REST{Base: "http://127.0.0.1:8000", Token: token}
	lamp := "/v2/accounts/" + nodetest.SampleAccount + "/presence/1004"
	for _, command := range []map[string]any{{"action": "set", "state": "confirmed"}, {"action": "reset"}} {
		if _, err := rest.Do(ctx, "POST", lamp, command); err != nil {
			fmt.Println(err)
		}
		e, err := rest.Do(ctx, "GET", lamp, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		var shown struct {
			State string `json:"state"`
		}
		fmt.Println(json.Unmarshal(e.Data, &shown), shown.State)
	}
	_, err := rest.Do(ctx, "GET", "/v2/accounts/00000000000000000000000000000000", nil)
	var failed *client.Failed
	fmt.Println(errors.As(err, &failed), failed.Envelope.Code, failed.Envelope.Message)
	// Output:
	// <nil> confirmed
	// <nil> terminated
	// true 404 bad_identifier
}
