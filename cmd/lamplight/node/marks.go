package node

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
	"lamplight/cluster/marks"
)

// A store that has lost what it acknowledged looks like one that never had it. So each node keeps marks of the journal and of
// the directory in its data directory, and the two keep marks of each other for nodes whose data directory is new
// (docs/contract/journal.md, rule 10). Stores in memory have none: they are lost whenever NATS is started again.
const (
	keepEvery      = time.Second
	keepOtherEvery = time.Minute       // in the other store
	natsSync       = 130 * time.Second // a NATS server of the user's own syncs to disk every 2 minutes by default
)

func (n *Node) journalConfig() journal.Config {
	return journal.Config{Conn: n.conn, Prefix: n.cfg.Prefix, Replicas: n.cfg.Replicas, Log: n.log}
}

// checkStores returns an error that says what is missing if a store shows less than its marks. With Config.AcceptLoss it logs
// that instead.
func (n *Node) checkStores(ctx context.Context) error {
	c := &n.cfg
	if c.Memory {
		return nil
	}
	missing, err := n.missing(ctx)
	for end := time.Now().Add(catchUp); err == nil && len(missing) > 0 && !c.AcceptLoss && n.conn.ConnectedClusterName() != "" && time.Now().Before(end); {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		missing, err = n.missing(ctx)
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	list := strings.Join(missing, "; ")
	if !c.AcceptLoss {
		return fmt.Errorf("NATS shows less than it has acknowledged: %s. Nothing was changed. Find out whether this is the right NATS (--nats, --prefix, --data); "+
			"bring back the files that are missing, or restore a backup (lamplight restore); or start once with --accept-loss, which gives up what is missing", list)
	}
	n.doubtful = true
	n.log.Error("NATS shows less than it has acknowledged, and the node goes on without what is missing (--accept-loss)", "missing", list)
	return nil
}

// catchUp is how long the stores of a cluster of NATS servers may show less than their marks: a server that has just become the leader of a stream
// shows what was acknowledged only when it has read it.
const catchUp = 10 * time.Second

// missing says what the stores show less than their marks.
func (n *Node) missing(ctx context.Context) (missing []string, err error) {
	c := &n.cfg
	// The journal is looked at first: another node that starts at this moment makes the directory before the journal.
	found, ofDirectory, err := journal.Look(ctx, n.journalConfig())
	if err != nil {
		return nil, err
	}
	directoryFound, ofJournal, err := directory.Look(ctx, directory.Config{Conn: n.conn, Prefix: c.Prefix, Log: n.log}, journal.MadeByKey)
	if err != nil {
		return nil, err
	}
	if len(directoryFound) == 0 && len(found) > 0 && len(ofDirectory) == 0 {
		missing = append(missing, "the journal holds messages, but the directory, which is always made before it, is not there")
	}
	maps.Copy(found, directoryFound)
	ours, err := marks.Load(c.Data)
	if err != nil {
		missing = append(missing, err.Error())
	}
	return append(missing, marks.Newest(ours, ofJournal, ofDirectory).Missing(found)...), nil
}

// keeping is the goroutine that writes marks.
type keeping struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// seen returns what the node has seen acknowledged of all stores.
func (n *Node) seen() marks.Marks {
	m := n.journal.Seen()
	maps.Copy(m, n.directory.Seen())
	return m
}

// startKeeping starts it.
func (n *Node) startKeeping() {
	if n.cfg.Memory {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	n.keeping.stop = stop
	if n.doubtful { // each store still keeps marks of what is given up
		n.keepInOther(ctx, n.seen())
	}
	n.keeping.done.Go(func() { n.keepMarks(ctx) })
}

// stopKeeping stops it, if it was started, and waits for its end.
func (n *Node) stopKeeping(context.Context) error {
	if n.keeping.stop != nil {
		n.keeping.stop()
		n.keeping.done.Wait()
	}
	return nil
}

// synced returns how long after it has acknowledged something NATS has it on its disk, so that it survives a power cut.
func (n *Node) synced() time.Duration {
	if e := n.cfg.Embedded; e != nil {
		return 2 * e.Sync
	}
	return natsSync
}

// keepMarks writes the marks until ctx ends. A mark says what was acknowledged so long ago that NATS has synced it to its disk
// since: a power cut is no reason to refuse the store.
func (n *Node) keepMarks(ctx context.Context) {
	behind := n.synced()
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	var history marks.History
	if before, err := marks.Load(n.cfg.Data); err == nil {
		history.Add(time.Time{}, before)
	}
	var written string
	var other time.Time // of the last marks in the other store
	for {
		now := time.Now()
		seen := n.seen()
		history.Add(now, seen)
		safe := history.Before(now.Add(-behind))
		if text := string(safe.Encode()); text != written {
			if err := safe.Save(n.cfg.Data); err != nil {
				n.log.Warn("the marks of what NATS has acknowledged could not be written; it is tried again", "data", n.cfg.Data, "err", err)
			} else {
				written = text
			}
		}
		if n.journal.Mine(0) && now.Sub(other) >= keepOtherEvery {
			other = now
			n.keepInOther(ctx, safe)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// keepLast writes what was acknowledged until now. It is called when the embedded NATS server has stopped, which has written
// everything to its disk.
func (n *Node) keepLast(context.Context) error {
	if n.keeping.stop == nil {
		return nil // the node did not get so far
	}
	return n.seen().Save(n.cfg.Data)
}

// keepInOther has the directory keep the marks of the journal, and the journal those of the directory.
func (n *Node) keepInOther(ctx context.Context, safe marks.Marks) {
	ctx, cancel := context.WithTimeout(ctx, 2*keepEvery)
	defer cancel()
	ofJournal, ofDirectory := maps.Clone(safe), n.directory.Seen()
	for name := range ofDirectory {
		ofDirectory[name] = safe[name]
		delete(ofJournal, name)
	}
	if err := n.directory.Keep(ctx, ofJournal); err != nil {
		n.log.Debug("the directory did not keep the journal's marks; it is tried again in a minute", "err", err)
	}
	if err := n.journal.Keep(ctx, ofDirectory); err != nil {
		n.log.Debug("the journal did not keep the directory's marks; it is tried again in a minute", "err", err)
	}
}
