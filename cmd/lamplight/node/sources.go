package node

import (
	"context"
	"sync"

	"lamplight/transport/source"
)

// startSources starts the bridges inside the node. They send their documents over NATS, as bridges do that run alone. A bridge that gives up
// does not end the node.
func (n *Node) startSources() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, make := range n.cfg.Sources {
		s := make(n.conn, n.log)
		running.Go(func() {
			err := source.Run(ctx, source.Config{Conn: n.conn, Prefix: n.cfg.Prefix, Version: n.cfg.Version, Log: n.log, Registerer: n.registry}, s)
			if err != nil {
				n.log.Error("a bridge has given up, and its calls end: mend what was wrong and start the node again", "source", s.Name(), "err", err)
			}
		})
	}
	n.teardown.add("bridges", func(context.Context) error {
		cancel()
		running.Wait() // each ends within some seconds
		return nil
	})
}
