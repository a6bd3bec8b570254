package bench

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// withPacer runs f with a running pacer, on synctest's clock.
func withPacer(t *testing.T, f func(p *pacer)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		p := newPacer()
		ended := make(chan struct{})
		go func() { p.run(ctx); close(ended) }()
		f(p)
		stop()
		<-ended
	})
}

// TestStreamKeepsItsRate checks that arrivals come at the rate that was asked for, and at random distances.
func TestStreamKeepsItsRate(t *testing.T) {
	withPacer(t, func(p *pacer) {
		begin := time.Now()
		var came []time.Time
		p.stream(1000, rand.New(rand.NewPCG(1, 2)), begin, begin.Add(10*time.Second), func(at time.Time) { came = append(came, at) })
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := len(came); n < 9500 || n > 10500 {
			t.Errorf("%d arrivals in 10 s at 1000 a second", n)
		}
		short := 0
		for i := 1; i < len(came); i++ {
			if came[i].Sub(came[i-1]) < 100*time.Microsecond {
				short++
			}
		}
		if part := float64(short) / float64(len(came)); part < 0.05 || part > 0.15 { // 1 - e^-0.1
			t.Errorf("%.2f of the arrivals follow within a tenth of the mean distance", part)
		}
		if !p.idle() {
			t.Error("arrivals come after the end")
		}
	})
}

// TestHeldUpPacerCatchesUp checks that a pacer that was held up runs every task, and gives each the time that it was meant for.
func TestHeldUpPacerCatchesUp(t *testing.T) {
	withPacer(t, func(p *pacer) {
		begin := time.Now()
		var meant, happened []time.Duration
		for i := range 5 {
			p.schedule(begin.Add(time.Duration(i)*time.Second), func(at time.Time) {
				if len(meant) == 0 {
					time.Sleep(10 * time.Second)
				}
				meant, happened = append(meant, at.Sub(begin)), append(happened, time.Since(begin))
			})
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for i := range 5 {
			if meant[i] != time.Duration(i)*time.Second || happened[i] != 10*time.Second {
				t.Errorf("arrival %d, meant for %v, came after %v", i, meant[i], happened[i])
			}
		}
		if late := p.takeMaxLate(); late != 9*time.Second {
			t.Errorf("it was %v late", late)
		}
		p.schedule(begin, func(time.Time) {}) // scheduled after its time, which is not the pacer's fault
		synctest.Wait()
		if late := p.takeMaxLate(); late != 0 {
			t.Errorf("it was %v late for what came to it late", late)
		}
	})
}
