package sip

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxUnsent  = 64 << 10        // bytes that wait for one connection; past it the connection is closed
	unsentTime = 5 * time.Second // how long they may wait
)

var errTooSlow = errors.New("the other side reads too slowly")

// outbox is a TCP connection whose Write never waits for the other side. What the kernel does not take at once waits in memory, and a
// goroutine writes it. When too much waits, or for too long, the connection is closed. So one phone that does not read holds up
// nobody else. Reads go to the connection as they are.
type outbox struct {
	net.Conn
	raw syscall.RawConn

	mu     sync.Mutex
	unsent []byte // a goroutine writes it
	failed error
}

// newOutbox makes the outbox of a TCP connection.
func newOutbox(c *net.TCPConn) (*outbox, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &outbox{Conn: c, raw: raw}, nil
}

// Write implements net.Conn. It takes all of data, or fails.
func (o *outbox) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return 0, o.failed
	}
	rest := data
	if o.unsent == nil {
		n, err := o.try(data)
		if err != nil {
			return 0, o.failLocked(err)
		}
		if rest = data[n:]; len(rest) == 0 {
			return len(data), nil
		}
		o.unsent = append(make([]byte, 0, max(2*len(rest), 4096)), rest...)
		go o.drain()
		return len(data), nil
	}
	if len(o.unsent)+len(rest) > maxUnsent {
		return 0, o.failLocked(errTooSlow)
	}
	o.unsent = append(o.unsent, rest...)
	return len(data), nil
}

// try writes what the kernel takes at once.
func (o *outbox) try(data []byte) (n int, err error) {
	var wrong error
	err = o.raw.Write(func(fd uintptr) bool {
		for {
			n, wrong = unix.Write(int(fd), data)
			if wrong != unix.EINTR {
				return true
			}
		}
	})
	n = max(n, 0)
	if wrong == unix.EAGAIN {
		return 0, nil
	}
	if err == nil {
		err = wrong
	}
	return n, err
}

// drain writes what waits, until nothing does.
func (o *outbox) drain() {
	for {
		o.mu.Lock()
		todo := o.unsent
		o.mu.Unlock()
		_ = o.SetWriteDeadline(time.Now().Add(unsentTime))
		n, err := o.Conn.Write(todo)
		o.mu.Lock()
		if err != nil {
			_ = o.failLocked(err)
		}
		if o.unsent = o.unsent[n:]; len(o.unsent) == 0 || o.failed != nil {
			o.unsent = nil
			_ = o.SetWriteDeadline(time.Time{})
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
	}
}

// failLocked closes the connection. The caller holds o.mu.
func (o *outbox) failLocked(err error) error {
	if o.failed == nil {
		o.failed = err
		_ = o.Conn.Close()
	}
	return o.failed
}
