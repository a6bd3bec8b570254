package actors

import "sync/atomic"

// workers are the goroutines that run the shards' turns. protoactor's own dispatcher makes a goroutine for each turn, and
// the stack of each has to grow anew (8 % of the cost of a refresh). A worker waits for another turn instead.
type workers struct {
	turns chan func()
	idle  atomic.Int32
	quit  chan struct{}
}

// maxIdle is how many workers may wait for a turn.
const maxIdle = 256

func newWorkers() *workers { return &workers{turns: make(chan func()), quit: make(chan struct{})} }

// Schedule implements actor.Dispatcher. It hands the turn to a worker that waits for one, or starts a worker. It does not
// block.
func (w *workers) Schedule(turn func()) {
	select {
	case w.turns <- turn:
	default:
		go w.work(turn)
	}
}

// Throughput implements actor.Dispatcher. It is how many messages protoactor handles for one shard before it lets other
// goroutines run.
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

// close ends the workers that wait for a turn at once, and each other one after its turn. It does not wait for them.
func (w *workers) close() { close(w.quit) }
