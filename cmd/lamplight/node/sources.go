package node

import (
	"context"
	"fmt"
	"sync"

	"lamplight/transport/source"
)

// startSources starts the sources of calls inside the node, which need nodes that serve. A source that fails fails the node.
func (n *Node) startSources() {
	if len(n.cfg.Sources) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, make := range n.cfg.Sources {
		all.Go(func() {
			s := make(n.conn, n.log)
			if err := source.Run(ctx, source.Config{Conn: n.conn, Prefix: n.cfg.Prefix, Version: n.cfg.Version, Log: n.log, Registerer: n.registry}, s); err != nil {
				n.fail(fmt.Errorf("the source %s: %w", s.Name(), err))
			}
		})
	}
	n.teardown.add("sources of calls", func(context.Context) error { cancel(); all.Wait(); return nil })
}
