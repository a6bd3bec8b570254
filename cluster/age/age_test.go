package age

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMark(t *testing.T) {
	var m Mark
	now := time.Now()
	if m.Age() != 0 || Of(now) <= 0 {
		t.Fatalf("a new mark has the age %v, and the process %v; want 0 and more", m.Age(), Of(now))
	}
	m.SetFirst(now)
	m.SetFirst(now.Add(time.Second))
	if m.Age() != Of(now) {
		t.Fatalf("the second SetFirst changed the mark to %v; want %v", m.Age(), Of(now))
	}
	m.Set(now.Add(time.Minute))
	if got := Of(now.Add(90*time.Second)) - m.Age(); got != 30*time.Second {
		t.Fatalf("30 s after the mark it is %v old", got)
	}
	if got, want := Time(m.Age(), now), now.Add(time.Minute); !got.Equal(want) {
		t.Fatalf("the time of the mark is %v; want %v", got, want)
	}
	if m.Clear(); m.Age() != 0 {
		t.Fatalf("a cleared mark has the age %v", m.Age())
	}
}

func TestTimeOfDayIsSet(t *testing.T) {
	var m Mark
	now := time.Now()
	m.Set(now)
	later := now.Add(time.Second).Round(0).Add(time.Hour) // only a time of day: an hour was added to it
	if shown := Time(m.Age(), now.Add(time.Second)); !shown.Equal(now) {
		t.Fatalf("a second later the mark is shown as %v; want %v", shown, now)
	}
	if Of(later)-m.Age() < time.Hour {
		t.Fatal("a time without a reading of the monotonic clock was compared by it")
	}
}

func TestTurn(t *testing.T) {
	var m Mark
	now := time.Now()
	var turns atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for step := range 100 {
				if m.Turn(50*time.Second, now.Add(time.Duration(step)*time.Second)) {
					turns.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := turns.Load(); n != 2 {
		t.Fatalf("in 100 s there were %d turns that are 50 s apart; want 2", n)
	}
}
