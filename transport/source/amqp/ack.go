package amqp

import "context"

// acknowledger is what acknowledge needs of a channel.
type acknowledger interface {
	Ack(tag uint64, multiple bool) error
}

// acknowledge acknowledges the messages of one channel to the broker, in the order in which they came and never past one that is not done. So
// the broker delivers again, after the connection is lost or the bridge is killed, all messages from the first on that is not done, in
// their order: the last state of each register and mailbox then comes last again. done gets the tag of each message that is done, and
// acknowledge returns when ctx ends.
func acknowledge(ctx context.Context, ch acknowledger, done <-chan uint64) {
	next := uint64(1) // the first tag that is not acknowledged
	finished := map[uint64]bool{}
	for {
		select {
		case tag := <-done:
			finished[tag] = true
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case tag := <-done:
				finished[tag] = true
			default:
				more = false
			}
		}
		first := next
		for ; finished[next]; next++ {
			delete(finished, next)
		}
		if next > first {
			if ch.Ack(next-1, true) != nil { // the channel is closed, and all of it is delivered again
				return
			}
		}
	}
}
