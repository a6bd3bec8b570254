package node

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Descriptors returns how many file descriptors the process may open. The Go runtime raises the soft limit to the hard one
// when the process starts.
func Descriptors() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}

// storeTrouble returns why the embedded NATS server takes no writes; nil: it takes them, or there is none.
func (n *Node) storeTrouble() error {
	if n.server == nil {
		return nil
	}
	return n.server.Trouble()
}

// trouble returns what the node's machine lacks so that the node can't keep changes; nil: nothing that the node knows of. It
// names the disk of the embedded NATS server, or file descriptors.
func (n *Node) trouble() error {
	if err := n.storeTrouble(); err != nil {
		return err
	}
	f, err := os.Open(os.DevNull)
	if err == nil {
		_ = f.Close()
		return nil
	}
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return fmt.Errorf("the process has no file descriptors left: raise its limit (ulimit -n, LimitNOFILE), or lower --max-connections: %w", err)
	}
	return nil
}
