package edge_test

import (
	"context"
	"fmt"
	"time"

	"lamplight/cluster/subject"
	"lamplight/cmd/lamplight/node/nodetest"
	"lamplight/transport/client"
	"lamplight/transport/edge"
)

// An edge takes the NOTIFY messages for the phones behind it, and tells the node how the phones answered.
func Example() {
	sample := nodetest.Sample()
	conn := sample.Conn // elsewhere: client.Connect
	defer sample.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	messages := make(chan edge.Message, 100)
	e := edge.New(edge.Config{Conn: conn, Name: "edge1", Handle: func(m edge.Message) { messages <- m }})
	if err := e.Start(ctx); err != nil {
		fmt.Println(err)
	}

	// A phone subscribes to the extension 1001.
	sender := client.NewSender(conn, "")
	if err := sender.Start(ctx); err != nil {
		fmt.Println(err)
	}
	c := client.New(client.Config{Conn: conn, App: "example", AppVersion: "1"})
	doc, _ := c.Document("subscription", client.Fields{"User": "1001@acme.example.com", "From": "1002@acme.example.com",
		"Call-ID": "call-1@10.0.0.9", "Server-ID": "edge1", "Expires": 1800})
	if err := sender.Send(ctx, subject.Subscription("acme.example.com", "1001"), doc); err != nil {
		fmt.Println(err)
	}

	// The edge sends the NOTIFY to the phone, which answers 200.
	m := <-messages
	for _, phone := range m.Targets {
		fmt.Printf("NOTIFY in the SIP dialog %s, %s: %s is %s\n", phone.CallID, phone.SubscriptionState, m.Presentity, m.State)
	}
	e.ReplyAll(m, 200)

	fmt.Println(e.Stop(ctx), sender.Stop(ctx)) // Stop sends the replies that it still has
	// Output:
	// NOTIFY in the SIP dialog call-1@10.0.0.9, active: 1001@acme.example.com is terminated
	// <nil> <nil>
}
