package client_test

import (
	"context"
	"fmt"
	"time"

	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/client"
)

// A bridge or an edge sends a phone's subscription until the node has made it durable.
func ExampleSender() {
	conn, stop := nodetest.Sample() // elsewhere: client.Connect
	defer stop()
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

// A control program sets the manual state of an extension and reads it back.
func ExampleClient_Set() {
	conn, stop := nodetest.Sample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: conn, App: "example", AppVersion: "1"})
	if _, err := c.Set(ctx, "acme.example.com", "*3101", "confirmed"); err != nil {
		fmt.Println(err)
	}
	err := c.Show(ctx, "acme.example.com", "*3101", false, func(a client.Answer) error {
		fmt.Println(a.Text("extension"), "is", a.Text("state"))
		return nil
	})
	fmt.Println(err)
	// Output:
	// *3101 is confirmed
	// <nil>
}

// A program watches the lamps of a realm and stops at the first change.
func ExampleClient_Watch() {
	conn, stop := nodetest.Sample()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c := client.New(client.Config{Conn: conn, App: "example", AppVersion: "1"})
	ready := func() { // changes arrive from now on
		if _, err := c.Set(ctx, "acme.example.com", "1001", "early"); err != nil {
			fmt.Println(err)
		}
	}
	err := c.Watch(ctx, "acme.example.com", "", client.Watcher{Ready: ready, Change: func(change client.Change) error {
		fmt.Println(change.Extension, change.Previous, "->", change.State)
		cancel()
		return nil
	}})
	fmt.Println(err)
	// Output:
	// 1001 terminated -> early
	// <nil>
}
