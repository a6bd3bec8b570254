package actors

import "sync/atomic"

// workers run the shards' turns. protoactor's own dispatcher makes a goroutine for each turn, whose stack has to grow
// anew every time (8 % of a refresh); one of these waits for another turn instead.
type workers struct {
	turns chan func()
	idle  atomic.Int32
	quit  chan struct{}
}

// maxIdle is how many goroutines may wait for turns.
const maxIdle = 256

func newWorkers() *workers { return &workers{turns: make(chan func()), quit: make(chan struct{})} }

// Schedule implements actor.Dispatcher.
func (w *workers) Schedule(turn func()) {
	select {
	case w.turns <- turn: // to one who waits
	default:
		go w.work(turn)
	}
}

// Throughput implements actor.Dispatcher: how many messages a shard may handle before others get a turn.
func (w *workers) Throughput() int { return 300 }

func (w *workers) work(turn func()) {
	for {
		turn()
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case turn = <-w.turns:
			w.idle.Add(-1)
		case <-w.quit:
			return
		}
	}
}

// close ends those that wait, and each other one after its turn.
func (w *workers) close() { close(w.quit) }
