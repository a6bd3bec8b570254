// Package age notes moments by the age that this process had then. Whoever waits for something, or asks how long something has been so, compares
// ages and not times of day: the time of day jumps when somebody sets it, and an age does not (package time, "Monotonic Clocks").
//
// It may be used from any goroutine. It knows nothing of what it measures.
package age

import (
	"sync/atomic"
	"time"
)

var began = time.Now().Add(-time.Nanosecond) // so that no age is 0

// Of returns the age of the process at a time that it read from the clock.
func Of(at time.Time) time.Duration { return at.Sub(began) }

// Time returns the time of day at which the process had an age, by the clock as it goes now.
func Time(age time.Duration, now time.Time) time.Time { return now.Add(age - Of(now)) }

// Mark is an age that several goroutines note and read. Its zero value says that nothing was noted.
type Mark struct{ at atomic.Int64 }

// Set notes a time that was read from the clock.
func (m *Mark) Set(at time.Time) { m.at.Store(int64(Of(at))) }

// SetFirst is Set if nothing is noted.
func (m *Mark) SetFirst(at time.Time) { m.at.CompareAndSwap(0, int64(Of(at))) }

// Clear forgets what was noted.
func (m *Mark) Clear() { m.at.Store(0) }

// Age returns what was noted; 0: nothing.
func (m *Mark) Age() time.Duration { return time.Duration(m.at.Load()) }

// Turn says whether nothing was noted, or that was at least so long before now. If so, it notes now. Of several callers at the same time one gets true.
func (m *Mark) Turn(apart time.Duration, now time.Time) bool {
	last := m.Age()
	return (last == 0 || Of(now)-last >= apart) && m.at.CompareAndSwap(int64(last), int64(Of(now)))
}
