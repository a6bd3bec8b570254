package amqp

import (
	"sync"
	"time"

	"lamplight/actors/presence"
)

// maxCalls is how many calls the source remembers. Calls past it are not compared with those that run.
const maxCalls = 1 << 20

// calls are the calls that the source has told of and that it did not hear the end of.
type calls struct {
	mu    sync.Mutex
	known map[callKey]knownCall
}

// callKey names a call of an extension.
type callKey struct {
	of        presence.Address
	callID    string
	direction presence.Direction
}

// knownCall is what is remembered of a call.
type knownCall struct {
	onSwitch string
	since    time.Time // when it was first heard of
	missed   int       // answers in a row that did not list it
}

// note remembers a call, or forgets one that has ended.
func (c *calls) note(of presence.Address, e *presence.CallEvent, now time.Time) {
	k := callKey{of, e.CallID, e.Direction}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, known := c.known[k]; {
	case e.State == presence.Terminated:
		delete(c.known, k)
		if e.Undirected {
			delete(c.known, callKey{of, e.CallID, presence.Initiator})
			delete(c.known, callKey{of, e.CallID, presence.Recipient})
		}
	case !known && e.State != presence.None && len(c.known) < maxCalls:
		c.known[k] = knownCall{onSwitch: switchURI(e.SwitchURI), since: now}
	}
}

// ended compares the calls with an answer: those that run, by Call-ID, and the switches that the answer is about. It forgets and returns the
// calls of these switches that two answers in a row did not list and that are older than grace.
func (c *calls) ended(running map[string]bool, about map[string]bool, grace time.Duration, now time.Time) (all []callKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, call := range c.known {
		missed := call.missed
		switch {
		case running[k.callID]:
			missed = 0
		case about[call.onSwitch]:
			missed++
		}
		if missed >= 2 && now.Sub(call.since) > grace {
			all = append(all, k)
			delete(c.known, k)
		} else if missed != call.missed {
			call.missed = missed
			c.known[k] = call
		}
	}
	return all
}
